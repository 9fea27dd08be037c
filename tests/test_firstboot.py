# SPDX-License-Identifier: Apache-2.0
"""First boot gives a machine its identity once; later boots change nothing of it."""

import json
import os
import stat
from pathlib import Path

import pytest

from agent import files
from agent.identity import identity_of_seed
from agent.record import encode as encode_record
from firstboot.inventory import main as take_facts
from firstboot.main import main
from firstboot.plan import Observed, Step, decide, render
from tests.machine import make_machine, start_again, write

IDENTITY = identity_of_seed(bytes(32))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_machine(tmp_path)


@pytest.fixture
def state(root: Path) -> Path:
    return root / "var/lib/cluster-os"


def boot(root: Path) -> int:
    """Run what a boot runs; return the worse of the two exit statuses."""
    return max(main([str(root)]), take_facts([str(root)]))


def node_id(state: Path) -> str:
    text = json.loads((state / "identity.json").read_bytes())["node_id"]
    assert isinstance(text, str)
    return text


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return inode, time of the last change and content of every file."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_ctime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


COMPLETE = Observed(
    leftovers=(),
    identity=IDENTITY,
    record=encode_record(IDENTITY),
    record_path="/var/lib/cluster-os/firstboot.json",
    kernel_hostname=IDENTITY.hostname,
    rendered=render(IDENTITY, b""),
)


def test_a_complete_machine_has_nothing_left_to_do() -> None:
    assert decide(COMPLETE) == ()


def test_a_new_machine_needs_every_step_but_tidying() -> None:
    new = COMPLETE._replace(identity=None, record=None, kernel_hostname=None, rendered=())
    assert decide(new) == (Step.IDENTITY, Step.HOSTNAME, Step.RECORD)


@pytest.mark.parametrize(
    ("seen", "step"),
    [
        (COMPLETE._replace(leftovers=(".identity.json.new",)), Step.TIDY),
        (COMPLETE._replace(kernel_hostname="localhost"), Step.HOSTNAME),
        (COMPLETE._replace(rendered=COMPLETE.rendered[1:]), Step.HOSTNAME),
        (COMPLETE._replace(record=None), Step.RECORD),
        (COMPLETE._replace(record=b"\0\0\0"), Step.RECORD),
    ],
)
def test_only_what_is_missing_is_done(seen: Observed, step: Step) -> None:
    assert decide(seen) == (step,)


def test_first_boot_sets_the_machine_up_and_says_so(
    root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(root)]) == 0
    output = capsys.readouterr().out
    name = f"n-{node_id(state)[:10].lower()}"
    assert (root / "etc/hostname").read_text() == f"{name}\n"
    assert (root / "proc/sys/kernel/hostname").read_text().rstrip() == name
    assert f"127.0.1.1 {name}\n" in (root / "etc/hosts").read_text()
    assert node_id(state) in (root / "run/issue.d/10-cluster-os.issue").read_text()
    for line in (
        "1/3 identity: made a node key",
        f"2/3 host name: {name}",
        "3/3 completion: recorded in ",
    ):
        assert f"{line}" in output
    for line in (f"node ID     {node_id(state)}", "fingerprint SHA256:", f"host name   {name}"):
        assert line in output


def test_no_secret_is_shown(root: Path, state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(root)])
    secret = json.loads((state / "identity.json").read_bytes())["secret"]
    captured = capsys.readouterr()
    assert secret not in captured.out + captured.err
    for path in root.rglob("*"):
        if path.is_file() and secret in path.read_bytes().decode(errors="replace"):
            assert path == state / "identity.json"


def test_the_state_is_for_root_only_and_the_names_are_for_all(root: Path, state: Path) -> None:
    old = os.umask(0o077)
    try:
        boot(root)
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    assert modes == {"identity.json": 0o600, "facts.json": 0o600, "firstboot.json": 0o600}
    for name in ("etc/hostname", "etc/hosts", "run/issue.d/10-cluster-os.issue"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o644


def test_running_again_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boot(root)
    before = snapshot(root)
    capsys.readouterr()
    assert boot(root) == 0
    assert snapshot(root) == before
    assert capsys.readouterr().out.startswith("this node is set up\n")


def test_a_second_boot_changes_nothing_of_the_state_and_names_the_machine_again(
    root: Path, state: Path
) -> None:
    boot(root)
    before = snapshot(state)
    name = (root / "etc/hostname").read_text()
    start_again(root)
    assert boot(root) == 0
    assert snapshot(state) == before
    assert (root / "etc/hostname").read_text() == name
    assert (root / "proc/sys/kernel/hostname").read_text().rstrip() == name.rstrip()


def test_the_facts_are_told_and_whether_they_are_new(
    root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for change in (" (new)", "", " (changed)"):
        if change == " (changed)":
            (state / "facts.json").write_bytes(b"\0")
        assert take_facts([str(root)]) == 0
        assert capsys.readouterr().out.startswith(f"hardware{change}: 2 cores (4 threads), 2.0 GiB memory, ")


def test_new_hardware_changes_the_facts_and_nothing_else(root: Path, state: Path) -> None:
    boot(root)
    before = snapshot(state)
    write(root, {"sys/class/tpm/tpm0/tpm_version_major": "2\n"})
    boot(root)
    after = snapshot(state)
    changed = {Path(path).name for path in after if after[path] != before[path]}
    assert changed == {"facts.json"}
    assert json.loads((state / "facts.json").read_bytes())["tpm"] == "2.0"


def test_a_lost_facts_file_or_record_is_written_again(root: Path, state: Path) -> None:
    boot(root)
    before = {path: content for path, (_, _, content) in snapshot(state).items()}
    (state / "facts.json").unlink()
    (state / "firstboot.json").write_bytes(b"")
    assert boot(root) == 0
    assert {path: content for path, (_, _, content) in snapshot(state).items()} == before


def test_the_state_folder_is_made_where_there_is_none(root: Path, state: Path) -> None:
    state.rmdir()
    assert main([str(root)]) == 0
    assert stat.S_IMODE(state.stat().st_mode) == 0o711


def test_other_lines_of_the_hosts_file_stay(root: Path) -> None:
    write(
        root,
        {"etc/hosts": "127.0.0.1 localhost\n# ours\n127.0.1.1 old.example.org\n192.0.2.1 a.example.org\n"},
    )
    main([str(root)])
    lines = (root / "etc/hosts").read_text().splitlines()
    assert lines[:3] == ["127.0.0.1 localhost", "# ours", "192.0.2.1 a.example.org"]
    assert lines[3].startswith("127.0.1.1 n-")
    assert len(lines) == 4


def fail(root: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run first boot, which must fail with an error and a hint, a line each, and leave the state as it is."""
    state = root / "var/lib/cluster-os"
    before = snapshot(state)
    capsys.readouterr()
    assert main([str(root)]) == 1
    captured = capsys.readouterr()
    assert snapshot(state) == before
    lines = captured.err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert captured.out == ""
    return lines


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": 1', bytes(300)])
def test_a_damaged_identity_is_refused_and_never_overwritten(
    root: Path, state: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(root)])
    (state / "identity.json").write_bytes(data)
    for _boot in range(2):
        start_again(root)
        assert f"{state}/identity.json: the identity of this node is damaged" in fail(root, capsys)[0]
        assert not (root / "etc/hostname").exists()


def test_a_lost_identity_is_not_quietly_replaced(
    root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(root)])
    lost = node_id(state)
    (state / "identity.json").unlink()
    assert lost in fail(root, capsys)[0]
    (state / "firstboot.json").write_bytes(b"\0\0")
    assert "(unreadable)" in fail(root, capsys)[0]
    (state / "firstboot.json").unlink()
    assert main([str(root)]) == 0
    assert node_id(state) != lost


def test_an_exchanged_identity_is_noticed(
    root: Path, state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(root)])
    mine = node_id(state)
    other = make_machine(tmp_path / "other")
    main([str(other)])
    (other / "var/lib/cluster-os/identity.json").replace(state / "identity.json")
    error = fail(root, capsys)[0]
    assert mine in error
    assert node_id(state) in error


def test_a_tpm_that_fails_makes_no_unsealed_key_instead(
    root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(root, {"dev/tpmrm0": ""})
    assert "systemd-creds" in fail(root, capsys)[0]
    write(root, {"var/lib/cluster-os/node.yaml": "identity: {seal: none}\n"})
    assert main([str(root)]) == 0
    assert json.loads((state / "identity.json").read_bytes())["protection"] == "none"


def test_a_bad_configuration_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(root, {"var/lib/cluster-os/node.yaml": "identity: {seal: maybe}\n"})
    assert main([str(root)]) == 1
    assert "node.yaml: identity.seal: 'maybe' is not one of auto, tpm2, none" in capsys.readouterr().err


def test_two_first_boots_at_once_do_not_mix(
    root: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with files.lock(state):
        assert "another program is setting up this node" in fail(root, capsys)[0]
    assert main([str(root)]) == 0


def test_the_clock_has_no_say(root: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot(root)
    before = {path: content for path, (_, _, content) in snapshot(state).items()}
    for path in state.iterdir():
        os.utime(path, (4_000_000_000, 4_000_000_000))  # the year 2096
    monkeypatch.setattr("time.time", lambda: 0.0)
    start_again(root)
    assert boot(root) == 0
    assert {path: content for path, (_, _, content) in snapshot(state).items()} == before
