# SPDX-License-Identifier: Apache-2.0
"""What is answered over HTTP, and what is refused: nothing can be changed, nor read by another name."""

import errno
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.status.http import MAX_REQUEST, Content, Refusal, Request, answer, is_ours, read_request, refuse
from agent.status.page import make_policy, read_page
from agent.status.web_server import WebServer

NAMES = ("n-4zvwrjxukg", "localhost")
ANSWER_LIMIT = 10.0  # seconds


def head(line: str = "GET /metrics HTTP/1.1", *fields: str) -> bytes:
    return "".join(f"{each}\r\n" for each in (line, *(fields or ("Host: localhost",)), "")).encode()


def status(request: bytes) -> str:
    try:
        read_request(request, NAMES)
    except Refusal as refusal:
        return str(refusal)[:3]
    return "200"


def test_a_request_to_read_is_taken() -> None:
    assert read_request(head(), NAMES) == Request("/metrics", True)
    assert read_request(head("HEAD /metrics?x=1 HTTP/1.1"), NAMES) == Request("/metrics", False)
    assert read_request(b"GET / HTTP/1.0\r\n\r\n", NAMES) == Request("/", True)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE"])
def test_nothing_can_be_changed(method: str) -> None:
    assert status(head(f"{method} /metrics HTTP/1.1")) == "405"


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:7980",
        "n-4zvwrjxukg:7980",
        "10.86.0.1",
        "10.86.0.1:7980",
        "[fd00::1]",
        "[fd00::1]:7980",
    ],
)
def test_a_node_answers_to_its_names_and_to_addresses(host: str) -> None:
    assert is_ours(host, NAMES)
    assert status(head("GET / HTTP/1.1", f"Host: {host}")) == "200"


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example.org",
        "localhost.example.org",
        "n-other",
        "10.86.0.1.example.org",
        "",
        "localhost:x",
        "[localhost]x",
        "user@localhost",
        "localhost/",
    ],
)
def test_a_name_that_was_made_to_lead_here_reads_nothing(host: str) -> None:
    assert not is_ours(host, NAMES)
    assert status(head("GET /status.json HTTP/1.1", f"Host: {host}")) == "421"


@pytest.mark.parametrize(
    "request_",
    [
        head("GET / HTTP/1.1", "Accept: */*"),
        head("GET / HTTP/1.1", "Host: localhost", "hOsT: localhost"),
        head("GET http://localhost/ HTTP/1.1"),
        head("GET / HTTP/2"),
        head("get / HTTP/1.1"),
        head("GET  / HTTP/1.1"),
        head(f"GET /{'x' * 2001} HTTP/1.1"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_what_is_no_request_is_told_so(request_: bytes) -> None:
    assert status(request_) == "400"


def test_a_request_that_is_too_long_is_refused() -> None:
    assert status(head("GET / HTTP/1.1", "Host: localhost", "X: " + "x" * MAX_REQUEST)) == "431"


@given(
    st.binary(max_size=300)
    | st.binary(max_size=200).map(lambda rest: b"GET / HTTP/1.1\r\n" + rest + b"\r\n\r\n")
)
def test_whatever_is_sent_is_read_or_refused(request_: bytes) -> None:
    assert status(request_) in ("200", "400", "405", "421")


def test_every_response_forbids_what_it_does_not_need() -> None:
    for response in (answer(Content("text/plain", b"x")), refuse(Refusal("404 Not Found"))):
        lines = response.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        assert "Content-Security-Policy: default-src 'none'; frame-ancestors 'none'" in lines
        assert "X-Content-Type-Options: nosniff" in lines
        assert "Cross-Origin-Resource-Policy: same-origin" in lines
        assert "Cache-Control: no-store" in lines
        assert "Connection: close" in lines


def test_only_the_very_script_and_style_of_the_page_may_run() -> None:
    page = read_page()
    assert page.policy == make_policy(page.body.decode())
    assert "unsafe" not in page.policy
    assert page.policy.startswith("default-src 'none'; script-src 'sha256-")
    changed = make_policy(page.body.decode().replace('"use strict";', '"use strict"; alert(1);'))
    assert changed != page.policy


def test_the_page_has_all_it_needs_in_itself() -> None:
    text = read_page().body.decode()
    for forbidden in (
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        " onclick=",
        " onload=",
        " style=",
    ):
        assert forbidden not in text, forbidden
    assert text.count("<script>") == text.count("<script") == 1
    assert text.count("<style>") == text.count("<style") == 1
    assert 'src="' not in text
    assert "https:" not in text


@pytest.fixture
def server() -> Iterator[WebServer]:
    pages = {"/metrics": lambda: Content("text/plain; version=0.0.4", b"clusteros_x 1\n")}
    server = WebServer("127.0.0.1", pages, names=NAMES, port=0)
    yield server
    server.close()


def exchange(server: WebServer, request: bytes, *, end: bool = True) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_LIMIT) as connection:
        answer = b""
        try:
            connection.sendall(request)
            if end:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except OSError as error:
            # Whoever sends too much may find the connection reset at each of the three: not all was read.
            if error.errno not in (errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE):
                raise
        return answer


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (head(), b"200 OK"),
        (head("HEAD /metrics HTTP/1.1"), b"200 OK"),
        (head("POST /metrics HTTP/1.1"), b"405 Method Not Allowed"),
        (head("GET /metrics HTTP/1.1", "Host: example.org"), b"421 Misdirected Request"),
        (head("GET /nothing HTTP/1.1"), b"404 Not Found"),
        (head("GET /metrics/../../etc/passwd HTTP/1.1"), b"404 Not Found"),
        (b"\0" * 100, b"400 Bad Request"),
    ],
)
def test_each_request_has_its_answer(server: WebServer, request_: bytes, status: bytes) -> None:
    got, _, body = exchange(server, request_).partition(b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 " + status)
    if status == b"200 OK":
        assert b"Content-Type: text/plain; version=0.0.4" in got
        assert b"Content-Length: 14" in got
        assert body == (b"" if request_.startswith(b"HEAD") else b"clusteros_x 1\n")


def test_the_server_outlives_whoever_sends_too_much_or_goes_away(server: WebServer) -> None:
    exchange(server, b"GET /metrics HTTP/1.1\r\n" + b"x" * (MAX_REQUEST + 1))
    for _ in range(40):
        socket.create_connection(("127.0.0.1", server.port), timeout=ANSWER_LIMIT).close()
    assert exchange(server, head(), end=False).endswith(b"clusteros_x 1\n")


def test_a_page_that_cannot_be_made_does_not_end_the_server() -> None:
    calls = []

    def read() -> Content:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("a bug")
        return Content("text/plain", b"clusteros_x 2\n")

    server = WebServer("127.0.0.1", {"/metrics": read}, names=NAMES, port=0)
    try:
        assert exchange(server, head()) == b""
        assert exchange(server, head()).endswith(b"clusteros_x 2\n")
    finally:
        server.close()


def test_nobody_is_served_after_the_end(server: WebServer) -> None:
    server.close()
    with pytest.raises(ConnectionRefusedError):
        exchange(server, head())


def test_an_address_that_is_not_ours_is_refused_in_words() -> None:
    with pytest.raises(ClusterError, match=r"cannot serve .* at 192\.0\.2\.1 port 7980: cannot assign"):
        WebServer("192.0.2.1", {}, names=NAMES, port=7980)
