# SPDX-License-Identifier: Apache-2.0
"""As much of HTTP/1.1 (RFC 9112) as a page to look at needs: a request's head, a response's bytes. Pure.

Whoever asks by a name that is not this node's is refused: a web page from elsewhere could otherwise have its
own name lead to a mesh address (DNS rebinding), and read with the rights of a browser that is on the mesh. An
address cannot be made to lead elsewhere, so any is taken.
"""

import re
from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple

MAX_REQUEST = 8192  # bytes of request line and headers
_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]{0,2000}) HTTP/1\.([01])")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[0-9A-Za-z.-]{1,253})(:[0-9]{1,5})?")
_HEADERS = (
    "Cache-Control: no-store",
    "Connection: close",
    "Cross-Origin-Resource-Policy: same-origin",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
)
SHUT = "default-src 'none'; frame-ancestors 'none'"
"""The Content-Security-Policy of what is no page."""


class Content(NamedTuple):
    """What a path has at the moment."""

    kind: str  # media type
    body: bytes
    policy: str = SHUT  # Content-Security-Policy


class Refusal(Exception):
    """Why there is no answer but a status line: code and reason phrase."""


class Request(NamedTuple):
    """A request that may be answered."""

    path: str  # without the query
    with_body: bool  # GET, not HEAD


def read_request(head: bytes, names: Collection[str]) -> Request:
    """Return the request that begins with `head`; `names` are those of this node, in lower case.

    Raises Refusal for what is too long, no HTTP/1, for another node, or would change something.
    """
    if len(head) > MAX_REQUEST:
        raise Refusal("431 Request Header Fields Too Large")
    line, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    found = _LINE.fullmatch(line)
    if not found or not head.endswith(b"\r\n\r\n"):
        raise Refusal("400 Bad Request")
    method, target, minor = found.groups()
    hosts = [
        value for name, _, value in (field.partition(b":") for field in fields) if name.lower() == b"host"
    ]
    if len(hosts) > 1 or (not hosts and minor == b"1"):
        raise Refusal("400 Bad Request")
    if hosts and not is_ours(hosts[0].strip().decode("latin-1"), names):
        raise Refusal("421 Misdirected Request")
    if method not in (b"GET", b"HEAD"):
        raise Refusal("405 Method Not Allowed")
    return Request(target.partition(b"?")[0].decode("ascii"), method == b"GET")


def is_ours(host: str, names: Collection[str]) -> bool:
    """Tell whether a Host header means this node: one of its names, or any address, with or without port."""
    found = _HOST.fullmatch(host)
    if not found:
        return False
    name = found[1].strip("[]").lower()
    try:
        ip_address(name)
    except ValueError:
        return name in names
    return True


def answer(content: Content, *, with_body: bool = True) -> bytes:
    """Return the response that gives `content`."""
    return _response("200 OK", content, with_body=with_body)


def refuse(refusal: Refusal) -> bytes:
    """Return the response that refuses."""
    status = str(refusal)
    allow = ("Allow: GET, HEAD",) if status.startswith("405") else ()
    return _response(status, Content("text/plain; charset=utf-8", f"{status}\n".encode()), allow)


def _response(status: str, content: Content, extra: tuple[str, ...] = (), *, with_body: bool = True) -> bytes:
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Type: {content.kind}",
        f"Content-Length: {len(content.body)}",
        f"Content-Security-Policy: {content.policy}",
        *_HEADERS,
        *extra,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + (content.body if with_body else b"")
