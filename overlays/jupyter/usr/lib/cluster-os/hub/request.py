# SPDX-License-Identifier: Apache-2.0
"""What the hub may ask of the broker, and what it gets for an answer: JSON, one request a connection. Pure.

The hub is a web application that faces users; the broker is root. So the broker takes three things and no
other: check a password, submit a job of a user, cancel a job of a user.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from agent.errors import ClusterError

MAX_BYTES = 1 << 20
"""Of a request, and of an answer."""
USER = r"[a-z_][a-z0-9_-]{0,30}"
UIDS = range(1000, 60000)
"""Users of the cluster; the broker acts for nobody else, least of all for the system's own users."""
SUBMIT = ("sbatch", "--parsable")
CANCEL = "scancel"
_JOB = re.compile(r"[1-9][0-9]{0,9}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_MAX_PASSWORD = 512  # PAM's own limit, PAM_MAX_RESP_SIZE


@dataclass(frozen=True)
class Authenticate:
    """Check a password."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Run:
    """Run one of SLURM's commands as the user, with this environment and standard input."""

    user: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    input: str = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """The exit status, and what the command wrote."""

    status: int
    output: str = ""
    errors: str = ""


Request = Authenticate | Run


def encode(said: Request | Answer) -> bytes:
    """Return the bytes of a request or an answer."""
    return json.dumps({"kind": type(said).__name__.lower(), **asdict(said)}).encode()


def decode_request(data: bytes) -> Request:
    """Return the request; ClusterError for all that the hub has no business to ask."""
    body = _object(data)
    kind = body.pop("kind", None)
    if kind == "authenticate" and body.keys() == {"user", "password"}:
        password = body["password"]
        if not isinstance(password, str) or not 0 < len(password.encode(errors="replace")) <= _MAX_PASSWORD:
            raise ClusterError(f"a password must have 1 to {_MAX_PASSWORD} bytes")
        if "\0" in password or not _is_text(password):
            raise ClusterError("a password must be text without NUL")
        return Authenticate(_user(body["user"]), password)
    if kind == "run" and body.keys() == {"user", "command", "environment", "input"}:
        return Run(
            _user(body["user"]),
            _command(body["command"]),
            _variables(body["environment"]),
            _text(body["input"]),
        )
    raise ClusterError("not a request that the broker takes")


def decode_answer(data: bytes) -> Answer:
    """Return the answer of the broker."""
    body = _object(data)
    status, output, errors = body.get("status"), body.get("output"), body.get("errors")
    if type(status) is not int or not isinstance(output, str) or not isinstance(errors, str):
        raise ClusterError("the broker gave no proper answer")
    return Answer(status, output, errors)


def _object(data: bytes) -> dict[str, object]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise ClusterError("not JSON") from None
    if not isinstance(body, dict):
        raise ClusterError("not a JSON object")
    return body


def _user(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(USER, value):
        raise ClusterError("not the name of a user")
    return value


def _command(value: object) -> tuple[str, ...]:
    words: Sequence[object] = value if isinstance(value, list) else ()
    if tuple(words) == SUBMIT:
        return SUBMIT
    if len(words) == 2 and words[0] == CANCEL and isinstance(words[1], str) and _JOB.fullmatch(words[1]):
        return (CANCEL, words[1])
    raise ClusterError("not a command that the broker runs")


def _variables(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ClusterError("the environment must be an object")
    for name, text in value.items():
        if not _VARIABLE.fullmatch(name):
            raise ClusterError("not a name of an environment variable")
        if not isinstance(text, str) or "\0" in text or not _is_text(text):
            raise ClusterError("an environment variable must be text without NUL")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not _is_text(value):
        raise ClusterError("the input must be text")
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
