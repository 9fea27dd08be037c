# SPDX-License-Identifier: Apache-2.0
"""The command node-agent, as a person and a script meet it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.command import main
from firstboot.main import main as first_boot
from tests.machine import make_machine

HERE = Path(__file__).resolve().parent.parent


@pytest.fixture
def state(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def made(state: str, capsys: pytest.CaptureFixture[str]) -> str:
    """A state folder with an identity."""
    assert main(["init", "--state", state]) == 0
    capsys.readouterr()
    return state


def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a process of its own, from a checkout."""
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        input=stdin,
        capture_output=True,
        cwd=HERE,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def test_without_an_identity_info_shows_the_hardware_and_what_to_do(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", "--state", state]) == 0
    output = capsys.readouterr().out
    assert "none yet (first boot makes one; to make one by hand: node-agent init)" in output
    assert "memory" in output
    assert not Path(state).exists()


def test_init_makes_one_identity_and_keeps_it(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--json", "--state", state]) == 0
    first = json.loads(capsys.readouterr().out)
    assert main(["init", "--json", "--state", state]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == first
    assert "has an identity already" in captured.err


def test_info_tells_all_there_is_to_know(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--json", "--state", made]) == 0
    info = json.loads(capsys.readouterr().out)
    assert list(info) == [
        "node_id",
        "fingerprint",
        "hostname",
        "wireguard_public_key",
        "key_protection",
        "endorsement_key",
        "machine_id",
        "image",
        "facts",
    ]
    assert info["hostname"] == "n-" + info["node_id"][:10].lower()
    assert info["facts"]["cpu"]["threads"] > 0
    assert main(["info", "--state", made]) == 0
    text = capsys.readouterr().out
    for value in (info["node_id"], info["fingerprint"], info["hostname"], info["wireguard_public_key"]):
        assert value in text


def test_nothing_that_is_shown_holds_the_secret(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    secret = json.loads(Path(made, "identity.json").read_bytes())["secret"]
    for command in ("info", "status", "init"):
        main([command, "--json", "--state", made])
        main([command, "--state", made])
    captured = capsys.readouterr()
    assert secret not in captured.out + captured.err


def test_status_tells_each_state_in_one_sentence(
    state: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--state", state]) == 3
    assert capsys.readouterr().out.startswith("no identity yet: first boot makes one")
    main(["init", "--state", state])
    capsys.readouterr()
    assert main(["status", "--state", state]) == 3
    assert "has an identity, and first boot has not completed here" in capsys.readouterr().out
    root = make_machine(tmp_path / "machine")
    first_boot([str(root)])
    capsys.readouterr()
    assert main(["status", "--json", "--state", f"{root}/var/lib/cluster-os"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert status["first_boot_complete"] is True
    assert status["sentence"].endswith("is set up")


@pytest.mark.parametrize(
    "command", [["info"], ["info", "--json"], ["status"], ["init"], ["sign", "/dev/null"]]
)
def test_a_damaged_identity_is_one_error_and_one_hint(
    made: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(made, "identity.json")
    path.write_bytes(path.read_bytes()[:100])
    before = path.read_bytes()
    assert main([*command, "--state", made]) == 1
    captured = capsys.readouterr()
    error, hint = captured.err.splitlines()
    assert error.startswith(f"error: {path}: the identity of this node is damaged")
    assert hint.startswith("hint: it was left as it is")
    assert captured.out == ""
    assert path.read_bytes() == before


def test_init_makes_no_second_identity_for_a_machine_that_lost_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_machine(tmp_path / "machine")
    first_boot([str(root)])
    state = root / "var/lib/cluster-os"
    (state / "identity.json").unlink()
    for command in ("init", "status"):
        assert main([command, "--state", str(state)]) == 1
        assert "and its identity.json is gone" in capsys.readouterr().err
    assert not (state / "identity.json").exists()


def test_a_message_is_signed_and_verified(
    made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message, signature = tmp_path / "message", tmp_path / "message.sig"
    message.write_bytes(b"\0\xff hello\n")
    assert main(["sign", "--state", made, str(message)]) == 0
    signature.write_text(capsys.readouterr().out)
    node = json.loads(signature.read_text())["node_id"]
    assert main(["verify", "--node", node, str(signature), str(message)]) == 0
    assert capsys.readouterr().out == f"good signature of node {node}\n"
    assert main(["verify", "--json", str(signature), str(message)]) == 0
    assert json.loads(capsys.readouterr().out) == {"valid": True, "node_id": node}
    other = "FVen3X669xLzsi6N2V91DoiyzHzg1uAgqiT8jZ9nS96Z"
    assert main(["verify", "--node", other, str(signature), str(message)]) == 1
    assert capsys.readouterr().err == f"error: bad signature: it is of node {node}, not of {other}\n"
    message.write_bytes(b"\0\xff hello")
    assert main(["verify", str(signature), str(message)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"error: bad signature: node {node} did not sign this message, or it was changed since"
    ]


def test_messages_come_through_a_pipe_too(made: str, tmp_path: Path) -> None:
    signed = run("sign", stdin=b"hello", CLUSTEROS_STATE=made)
    assert signed.returncode == 0
    signature = tmp_path / "sig"
    signature.write_bytes(signed.stdout)
    assert run("verify", str(signature), stdin=b"hello").returncode == 0
    message = tmp_path / "message"
    message.write_bytes(b"hello")
    assert run("verify", "-", str(message), stdin=signed.stdout).returncode == 0
    both = run("verify", "-", "-", stdin=signed.stdout)
    assert both.returncode == 1
    assert b"cannot both be standard input" in both.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["sign", "/nowhere"], "error: cannot read /nowhere: no such file or directory"),
        (["verify", "/nowhere", "/dev/null"], "error: cannot read /nowhere: no such file or directory"),
        (["verify", "/dev/null", "/dev/null"], "error: /dev/null is not a signature of version 1"),
        (["sign", "/"], "error: cannot read /: is a directory"),
    ],
)
def test_input_that_cannot_be_used_is_named(
    made: str, arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--state", made] if arguments[0] == "sign" else []
    assert main([*arguments, *where]) == 1
    assert capsys.readouterr().err.splitlines()[0] == error


def test_signing_without_an_identity_says_how_to_get_one(
    state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sign", "--state", state, "/dev/null"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: this node has no identity to sign with",
        "hint: first boot makes one; to make one by hand: node-agent init",
    ]


def test_an_endless_message_is_refused(made: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sign", "--state", made, "/dev/zero"]) == 1
    assert "is longer than 67108864 bytes" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_made_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--state", "/proc/nowhere/state"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: cannot make /proc/nowhere: no such file or directory"
    assert hint.startswith("hint: ")


def test_help_documents_every_command_and_exit_status() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    for word in (b"init", b"info", b"status", b"sign", b"verify", b"exit status:", b"wrong usage"):
        assert word in shown.stdout


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["info", "--nonsense"], ["verify"]])
def test_wrong_usage_is_explained_without_a_traceback(arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: node-agent")
    assert b"error:" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_reader_that_has_enough_causes_no_traceback() -> None:
    command = f"{sys.executable} -m agent info --json --state /nowhere | true"
    done = subprocess.run(["sh", "-c", command], cwd=HERE, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""


def test_the_ways_in_that_the_image_has_start_the_same_programs(tmp_path: Path) -> None:
    """The launchers of the image, with this checkout and this Python in the place of the image's."""
    overlay = HERE / "overlays/base/usr"
    machine = str(make_machine(tmp_path / "machine"))
    site = Path(sys.modules["nacl"].__path__[0]).parent
    for launcher, arguments, expected in (
        (overlay / "bin/node-agent", ["status", "--state", str(tmp_path)], "no identity yet"),
        (overlay / "lib/cluster-os/clusteros-firstboot", [machine], "this node is set up"),
        (overlay / "lib/cluster-os/clusteros-facts", [machine], "hardware (new): 2 cores"),
    ):
        source = launcher.read_text()
        assert source.startswith("#!/usr/bin/python3 -IS\n")
        assert os.access(launcher, os.X_OK)
        source = source.replace('"/usr/lib/cluster-os"', repr(str(HERE)))
        source = source.replace('"/usr/lib/python3/dist-packages"', repr(str(site)))
        copy = tmp_path / launcher.name
        copy.write_text(source)
        done = subprocess.run(
            [sys.executable, "-IS", copy, *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert expected in done.stdout, done.stderr
