# SPDX-License-Identifier: Apache-2.0
"""What the broker of JupyterHub takes: three things, for users of the cluster, and nothing else."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from hub import broker
from hub.request import MAX_BYTES, Answer, Authenticate, Run, decode_answer, decode_request, encode

USERS = st.from_regex(r"[a-z_][a-z0-9_-]{0,30}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
VARIABLES = st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,20}", fullmatch=True), TEXTS, max_size=4)
COMMANDS = st.just(("sbatch", "--parsable")) | st.integers(1, 9_999_999_999).map(
    lambda n: ("scancel", str(n))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)
RUN = {
    "kind": "run",
    "user": "alice",
    "command": ["sbatch", "--parsable"],
    "environment": {"LANG": "C.UTF-8"},
    "input": "#!/bin/sh\n",
}


def data(**changes: Any) -> bytes:  # noqa: ANN401  JSON
    return json.dumps({**RUN, **changes}).encode()


@given(USERS, TEXTS.filter(bool))
def test_a_password_to_check_comes_as_it_was_said(user: str, password: str) -> None:
    said = Authenticate(user, password)
    assert decode_request(encode(said)) == said


@given(USERS, COMMANDS, VARIABLES, TEXTS)
def test_a_job_comes_as_it_was_said(
    user: str, command: tuple[str, ...], variables: dict[str, str], text: str
) -> None:
    said = Run(user, command, variables, text)
    assert decode_request(encode(said)) == said


@given(st.integers(0, 255), TEXTS, TEXTS)
def test_an_answer_comes_as_it_was_given(status: int, output: str, errors: str) -> None:
    assert decode_answer(encode(Answer(status, output, errors))) == Answer(status, output, errors)


@given(st.binary(max_size=80) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_else_comes_is_refused_in_a_sentence(content: bytes) -> None:
    for decode in (decode_request, decode_answer):
        with pytest.raises(ClusterError):
            decode(content)


@given(st.sampled_from(sorted(RUN)), JSON)
def test_a_request_with_a_wrong_part_is_refused_or_within_the_rules(name: str, value: object) -> None:
    try:
        found = decode_request(data(**{name: value}))
    except ClusterError:
        return
    assert isinstance(found, Run)
    assert found.command == ("sbatch", "--parsable") or (
        found.command[0] == "scancel" and found.command[1].isdigit() and len(found.command) == 2
    )


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["sh"],
        ["sbatch"],
        ["sbatch", "--parsable", "--uid=0"],
        ["sbatch", "--wrap=id"],
        ["scancel"],
        ["scancel", "0"],
        ["scancel", "-u", "bob"],
        ["scancel", "1 2"],
        ["scancel", "1\n"],
        ["/bin/sbatch", "--parsable"],
        "sbatch --parsable",
    ],
)
def test_no_other_command_is_run(command: object) -> None:
    with pytest.raises(ClusterError, match="command"):
        decode_request(data(command=command))


@pytest.mark.parametrize("user", ["", "Alice", "a b", "../x", "alice\n", "-x", "a" * 32, 5, None])
def test_what_is_no_name_of_a_user_is_refused(user: object) -> None:
    with pytest.raises(ClusterError, match="user"):
        decode_request(data(user=user))


@pytest.mark.parametrize("variables", [[], {"a": "b"}, {"A=B": "c"}, {"A": 1}, {"A": "\0"}, {"A\n": "b"}])
def test_an_environment_that_is_none_is_refused(variables: object) -> None:
    with pytest.raises(ClusterError, match="environment"):
        decode_request(data(environment=variables))


def test_secrets_are_not_shown() -> None:
    said = [Authenticate("alice", "horse"), Run("alice", ("scancel", "1"), {"TOKEN": "horse"}, "horse")]
    assert "horse" not in repr(said)


@pytest.mark.parametrize("name", ["root", "daemon", "nobody"])
def test_the_broker_acts_for_no_user_of_the_system(name: str) -> None:
    with pytest.raises(ClusterError, match="no user of the cluster"):
        broker.find_user(name)


def test_the_broker_knows_nobody_who_is_not_there() -> None:
    with pytest.raises(ClusterError, match="there is no user nobody-here"):
        broker.find_user("nobody-here")


def test_the_broker_reads_no_more_than_it_must() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(b"x" * 1000)
        here.shutdown(socket.SHUT_WR)
        assert broker.receive(there) == b"x" * 1000


def test_a_request_without_an_end_is_refused() -> None:
    here, there = socket.socketpair()
    with there, ThreadPoolExecutor() as pool:
        sending = pool.submit(here.sendall, b"x" * (MAX_BYTES + (1 << 20)))
        with pytest.raises(ClusterError, match="too long"):
            broker.receive(there)
        there.close()
        assert isinstance(sending.exception(), BrokenPipeError | ConnectionResetError)
        here.close()
