# SPDX-License-Identifier: Apache-2.0
"""What goes over the control socket: one line of JSON each way, then the connection ends. Pure.

Request: {"request": NAME, ...} with exactly the keys of that request, at most 512 KiB
(a credential with a long list of nodes is the longest):

    status   {}                        -> {"status": the status document}
    approve  {"node": NODE_ID}         -> {"sentence"}
    remove   {"node": NODE_ID}         -> {"sentence"}
    leave    {}                        -> {"sentence"}
    join     {"credential": TEXT} or {"host": HOST[:PORT]}  -> {"sentence"}; the credential is secret
    token    {"ttl": seconds}          -> {"credential": TEXT, "expires": Unix seconds}; secret
    recover  {"confirm": false, "drop": []}        -> {"sentence", "keep": [NODE_ID], "drop": [NODE_ID]}
             {"confirm": true, "drop": [NODE_ID]}  -> {"sentence"}; refused unless `drop` is still the plan's
    reset    {"role": NAME}            -> {"sentence"}; a role of kind servers, of which no server is left
    reload   {}                        -> {"sentence"}
    support  {}                        -> {"files": {NAME: TEXT}}, without secrets
    users         {}                                  -> {"users": [MAP], "revision": number}, without hashes
    users-set     {"users": [MAP]}                    -> {"sentence"}; maps as in agent/users/user.py: secret
    users-add     {"user": MAP}                       -> {"sentence"}; secret
    users-change  {"name": NAME, "values": MAP}       -> {"sentence"}; secret
    users-remove  {"name": NAME}                      -> {"sentence"}

Answer: {"ok": true, "answer": {...}} or {"ok": false, "error": MESSAGE, "hint": HINT}, at most 4 MiB.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from agent.errors import ClusterError

MAX_REQUEST = 512 << 10  # bytes, with the newline
MAX_ANSWER = 4 << 20
MAX_CREDENTIAL = 256 << 10  # characters, as in agent/membership/credential.py
MAX_DROP = 1000
MAX_USERS = 1000
LONGEST_TTL = 10 * 366 * 86_400  # seconds
SHORTEST_TTL = 60
# The rule of agent/status/document.py, which takes longer to import.
_NODE_ID = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,22}[a-z0-9]")
# The rule of agent/users/user.py.
_USER = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# A name or an IPv4 address, or an IPv6 address in brackets, and a port.
_HOST = re.compile(
    r"(?:[0-9A-Za-z](?:[0-9A-Za-z.-]{0,251}[0-9A-Za-z])?|\[[0-9a-fA-F:.]{2,45}\])(?::(?P<port>[0-9]{1,5}))?"
)
_IPV6 = re.compile(r"[0-9a-fA-F.]{0,4}:[0-9a-fA-F.]{0,4}:[0-9a-fA-F:.]{0,37}")


def is_host(text: str) -> bool:
    """Return whether `text` has the form HOST[:PORT]; an IPv6 address with a port is in brackets."""
    if _IPV6.fullmatch(text):
        return True
    found = _HOST.fullmatch(text)
    return found is not None and int(found["port"] or 1) in range(1, 65536)


def _is_node(value: object) -> bool:
    return isinstance(value, str) and _NODE_ID.fullmatch(value) is not None


def _is_nodes(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_DROP and all(map(_is_node, value))


def _is_role(value: object) -> bool:
    return isinstance(value, str) and _ROLE.fullmatch(value) is not None


def _is_credential(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_CREDENTIAL


def _is_ttl(value: object) -> bool:
    return type(value) is int and SHORTEST_TTL <= value <= LONGEST_TTL


def _is_user(value: object) -> bool:
    """Whether it may be one; the agent tells all that is wrong with it."""
    return isinstance(value, dict) and len(value) <= 16


def _is_users(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MAX_USERS and all(map(_is_user, value))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _USER.fullmatch(value) is not None


Arguments = dict[str, Callable[[object], bool]]
_REQUESTS: dict[str, tuple[Arguments, ...]] = {
    "status": ({},),
    "approve": ({"node": _is_node},),
    "remove": ({"node": _is_node},),
    "leave": ({},),
    "join": (
        {"credential": _is_credential},
        {"host": lambda value: isinstance(value, str) and is_host(value)},
    ),
    "token": ({"ttl": _is_ttl},),
    "recover": ({"confirm": lambda value: isinstance(value, bool), "drop": _is_nodes},),
    "reset": ({"role": _is_role},),
    "reload": ({},),
    "support": ({},),
    "users": ({},),
    "users-set": ({"users": _is_users},),
    "users-add": ({"user": _is_user},),
    "users-change": ({"name": _is_name, "values": _is_user},),
    "users-remove": ({"name": _is_name},),
}
REQUESTS = tuple(_REQUESTS)
USERS = tuple(name for name in REQUESTS if name.startswith("users"))


def printable(text: str) -> str:
    """Return what a terminal may see of a text: no control character but the end of a line."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text[:65536])


def encode_request(request: dict[str, Any]) -> bytes:
    """Return the line that asks `request`; ClusterError when it is none or too long."""
    _check(request)
    line = json.dumps(request).encode() + b"\n"
    if len(line) > MAX_REQUEST:
        raise ClusterError(f"the request is longer than {MAX_REQUEST} bytes")
    return line


def decode_request(line: bytes) -> dict[str, Any]:
    """Return the request in `line`, with all its values checked; ClusterError for anything else."""
    content = _parse(line, MAX_REQUEST)
    _check(content)
    return content


def encode_answer(answer: dict[str, Any]) -> bytes:
    """Return the line that answers `answer`; ClusterError when it is too long, TypeError when no JSON."""
    line = json.dumps({"ok": True, "answer": answer}, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_ANSWER:
        raise ClusterError(f"the answer is longer than {MAX_ANSWER} bytes")
    return line


def encode_error(error: ClusterError) -> bytes:
    """Return the line that answers with an error."""
    content = {"ok": False, "error": printable(error.message), "hint": printable(error.hint)}
    return json.dumps(content).encode() + b"\n"


def decode_answer(line: bytes) -> dict[str, Any]:
    """Return the answer in `line`; raises the ClusterError that it holds, or one that it is no answer."""
    content = _parse(line, MAX_ANSWER)
    answer, error, hint = content.get("answer"), content.get("error"), content.get("hint")
    if content.get("ok") is True and isinstance(answer, dict):
        return answer
    if content.get("ok") is False and isinstance(error, str) and isinstance(hint, str):
        raise ClusterError(error, hint=hint)
    raise ClusterError("that is no answer of an agent", hint="restart clusteros-agent")


def _parse(line: bytes, limit: int) -> dict[str, Any]:
    if len(line) > limit or line[-1:] != b"\n":
        raise ClusterError(f"a message on the control socket is one line of at most {limit} bytes")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise ClusterError("a message on the control socket is a JSON object")
    return content


def _check(request: dict[str, Any]) -> None:
    name = request.get("request")
    forms = _REQUESTS.get(name) if isinstance(name, str) else None
    if forms is None:
        raise ClusterError(f"no such request; there are {', '.join(REQUESTS)}")
    arguments = {key: value for key, value in request.items() if key != "request"}
    form = next((form for form in forms if form.keys() == arguments.keys()), None)
    if form is None:
        wanted = " or ".join(", ".join(form) or "no argument" for form in forms)
        raise ClusterError(f"the request {name} takes {wanted}")
    for key, is_valid in form.items():
        # Without the value: it may be a secret.
        if not is_valid(arguments[key]):
            raise ClusterError(f"the request {name} has a bad value for {key}")
