# SPDX-License-Identifier: Apache-2.0
"""The archive for who helps: what it takes to see what is wrong, and no secret in any form."""

import json
import tarfile
import time
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.command import main
from agent.commands import support
from agent.commands.redaction import redact, redact_values
from agent.commands.support_parts import find_secrets, list_parts
from agent.control.runtime import Runtime
from agent.control.server import ControlServer
from agent.errors import ClusterError
from agent.state import State
from agent.status import published
from tests.example_status import NODES, make_status

SECRET = bytes(range(7, 39))
FORMS = (
    SECRET,
    b64encode(SECRET),
    urlsafe_b64encode(SECRET),
    b64encode(SECRET).rstrip(b"="),
    SECRET.hex().encode(),
    SECRET.hex().upper().encode(),
)


@pytest.mark.parametrize("form", FORMS)
def test_a_known_secret_is_removed_in_every_form(form: bytes) -> None:
    for text in (b"%s", b"x%sx", b'{"a": "%s"}', b"\n%s\n"):
        assert form not in redact(text % form, [SECRET])
        assert form not in redact_values(text % form, [SECRET])


@given(st.binary(max_size=200), st.binary(min_size=8, max_size=40), st.integers(0, 200))
def test_no_known_secret_is_left_wherever_it_stands(data: bytes, secret: bytes, place: int) -> None:
    place = min(place, len(data))
    cleaned = redact_values(data[:place] + secret + data[place:], [secret])
    assert secret not in cleaned or secret in b"[removed]" * 2 or secret in data


@pytest.mark.parametrize(
    "text",
    [
        b'"gossip_key": "SECRET word"',
        b"gossip_key: SECRET",
        b"GOSSIP_KEY=SECRET",
        b"EncryptKey = SECRET",
        b"password='SECRET two'",
        b'"password":"a\\"SECRET"',
        b"private key: SECRET",
        b"  preshared key: SECRET",
        b"raft.password=SECRET;next=1",
        b"auth_key:SECRET",
        b"token=SECRET",
        b"systemd.set_credential_binary=cluster-os.join:SECRET quiet",
        b"systemd.set_credential=x:SECRET",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nSECRET\n-----END OPENSSH PRIVATE KEY-----",
        b"-----BEGIN PRIVATE KEY-----\nSECRET",
        b"peer x " + b64encode(b"SECRET".ljust(32, b".")),
    ],
)
def test_what_looks_like_a_secret_is_removed(text: bytes) -> None:
    cleaned = redact(b"before " + text + b"\nafter", [])
    assert b"SECRET" not in cleaned
    assert b64encode(b"SECRET".ljust(32, b".")) not in cleaned
    assert cleaned.startswith(b"before ")
    assert b"[removed]" in cleaned


@pytest.mark.parametrize(
    "text",
    [
        b"no change: member 3 of 5, voter",
        b"fingerprint SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
        b"genesis 3f" + b"3f" * 31,
        b"keyboard: none; monkey = 1",
        NODES[0].encode(),
    ],
)
def test_what_is_none_stays(text: bytes) -> None:
    assert redact(text, [SECRET]) == text


def test_a_long_log_is_cleaned_in_little_time() -> None:
    begun = time.monotonic()
    line = b"2026-01-01T00:00:00 n-7kq node-agent[1]: no change: member 3 of 5, voter, and so on: token=abc\n"
    for data in (line * 10_000, b"a" * 1_000_000, b"key" * 300_000, b'"' * 1_000_000):
        redact(data, [SECRET])
    assert time.monotonic() - begun < 10


def test_parts_that_cannot_be_had_say_why_and_long_ones_keep_their_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(support, "MAX_PART", 100)

    def fail() -> bytes:
        raise ClusterError("wg is not installed", hint="run as root")

    content = support.gather({"a.txt": fail, "b.txt": lambda: b"x" * 100 + b"end"}, ())
    assert content["a.txt"] == b"error: wg is not installed\nhint: run as root\n"
    assert content["b.txt"] == b"x" * 97 + b"end"
    assert content[support.CONTENTS].decode().splitlines() == [
        "a.txt                   not there: see inside",
        "b.txt                   103 bytes, of which the last 100",
    ]


def test_the_secrets_of_a_node_are_found_wherever_it_keeps_them(tmp_path: Path) -> None:
    state, run = tmp_path / "state", tmp_path / "run"
    assert main(["init", "--state", str(state)]) == 0
    run.mkdir()
    (run / "serf.json").write_text(json.dumps({"encrypt_key": b64encode(SECRET).decode()}))
    (run / "self.json").write_text(json.dumps({"seed": b"s".hex() * 32}))
    (state / "agent").mkdir()
    (state / "agent/credential.json").write_text(json.dumps({"ticket": {"signature": "ticket-signature"}}))
    found = find_secrets(State(state), Runtime(run))
    identity = json.loads((state / "identity.json").read_bytes())
    assert {SECRET, b"s" * 32, b"ticket-signature", identity["secret"].encode()} <= set(found)


@pytest.mark.parametrize("running", [True, False])
def test_the_archive_holds_logs_and_state_and_no_secret(
    tmp_path: Path, running: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    state, run, path = tmp_path / "state", tmp_path / "run", tmp_path / "support.tar.gz"
    assert main(["init", "--state", str(state)]) == 0
    run.mkdir()
    (run / "serf.json").write_text(json.dumps({"encrypt_key": b64encode(SECRET).decode()}))
    secret = json.loads((state / "identity.json").read_bytes())["secret"]
    # As if a bug had let the secrets out to where the archive takes its parts from.
    leak = f"{secret} {SECRET.hex()} {b64encode(SECRET).decode()}"
    published.write(run / "status.json", make_status(error=leak))

    def handle(request: dict[str, Any], _uid: int) -> dict[str, Any]:
        assert request == {"request": "support"}
        return {"files": {"../ledger.json": leak, "raft": {"term": 3}}}

    server = ControlServer(run / "agent.sock", handle) if running else None
    capsys.readouterr()
    arguments = ["support", "--output", str(path), "--state", str(state), "--run", str(run)]
    assert main([*arguments, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        content = {
            member.name.partition("/")[2]: file.read()
            for member in archive
            if (file := archive.extractfile(member)) is not None
        }
    assert listed == {"file": str(path), "contents": {name: len(data) for name, data in content.items()}}
    assert set(list_parts(State(state), Runtime(run))) <= set(content)
    added = {"agent/_ledger.json", "agent/raft"} if running else {"agent.txt"}
    assert {*added, "journal.txt", support.CONTENTS} <= set(content)
    whole = b"\n".join(content.values())
    for form in (secret.encode(), *FORMS):
        assert form not in whole
    assert json.loads(content["status.json"])["cluster"]["name"] == "lab"
    assert json.loads(content["info.json"])["node_id"]
    assert json.loads(content["configuration.json"])["values"]["metrics"]["port"] == 7980
    # It never overwrites what is there.
    assert main(arguments) == 1
    if server:
        server.close()


def test_an_archive_in_words_lists_what_is_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "support.tar.gz"
    assert main(["support", "--output", str(path), "--state", str(tmp_path), "--run", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "journal.txt" in out
    assert f"written to {path}; look through it before you give it to others" in out
    with tarfile.open(path) as archive:
        assert len(archive.getnames()) > 10
