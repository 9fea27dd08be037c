# SPDX-License-Identifier: Apache-2.0
"""The port of a server."""

import datetime
import json
import socket
import ssl
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .objects import Objects, Refusal
from .record import Record

PORT = 6443
JOIN = "/recorder/join"
LIMIT = 5.0
"""Seconds for one answer."""


class Api:
    """The port of a server: lets nodes in by their tokens, and keeps objects for users that it knows."""

    def __init__(
        self,
        identifier: str,
        tokens: dict[str, str],
        record: Record,
        *,
        port: int = PORT,
        users: dict[str, str] | None = None,
        objects: Objects | None = None,
    ) -> None:
        self.identifier, self.tokens, self.record = identifier, tokens, record
        self.users, self.objects = users or {}, objects or Objects(())
        api = self

        class Handler(BaseHTTPRequestHandler):
            """One connection."""

            timeout = LIMIT

            def do_GET(self) -> None:
                api.serve(self)

            do_POST = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_arguments: object) -> None:
                """Say nothing: what is worth it is in the record."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6

            def get_request(self) -> tuple[ssl.SSLSocket, Any]:
                connection, address = self.socket.accept()
                # The handshake is done by the first to read, in a thread of its own.
                return context.wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False
                ), address

            def handle_error(self, *_arguments: object) -> None:
                """Forget a client that went away, or has no TLS."""

        context = make_context()
        server = Server(("::", port), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answer."""
        try:
            body = json.loads(request.rfile.read(int(request.headers.get("Content-Length", 0))) or "{}")
            asked = urlsplit(request.path)
            query = {key: values[0] for key, values in parse_qs(asked.query).items()}
            if asked.path == JOIN:
                status, said = HTTPStatus.OK, self._let_in(body, request.client_address[0])
            else:
                user = self.users.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
                if user is None:
                    raise Refusal(HTTPStatus.UNAUTHORIZED, "nobody knows this token")
                self.objects.allow(user, request.command, asked.path, query)
                if "watch" in query:
                    self._stream(request, asked.path, query)
                    return
                status, said = self.objects.answer(request.command, asked.path, body)
                if request.command != "GET":
                    self.record.add(request.command, path=asked.path, user=user, object=redact(body))
        except Refusal as error:
            status, said = error.status, {"kind": "Status", "code": error.status, "message": str(error)}
            self.record.add("denied", path=request.path, reason=str(error))
        except (ValueError, KeyError, TypeError):
            status, said = HTTPStatus.BAD_REQUEST, {"kind": "Status", "message": "cannot be read"}
        content = json.dumps(said).encode()
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _stream(self, request: BaseHTTPRequestHandler, path: str, query: dict[str, str]) -> None:
        request.send_response(HTTPStatus.OK)
        request.send_header("Content-Type", "application/json")
        request.end_headers()
        since, seconds = int(query.get("resourceVersion") or 0), float(query.get("timeoutSeconds", LIMIT))
        for change in self.objects.watch(path, since, seconds):
            request.wfile.write(json.dumps(change).encode() + b"\n")

    def _let_in(self, asked: dict[str, str], source: str) -> dict[str, Any]:
        allowed = asked["token"] == self.tokens[asked["kind"]]
        self.record.add("let in" if allowed else "refused", node=asked["node"], source=source)
        return {"identifier": self.identifier} if allowed else {}


def redact(made: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what its containers prove themselves with."""
    made = json.loads(json.dumps(made))
    for container in made.get("spec", {}).get("containers", ()):
        container["env"] = [each for each in container["env"] if "TOKEN" not in each["name"]]
    return made


def make_context() -> ssl.SSLContext:
    """Return what TLS needs, with a certificate of its own, as that of k3s is."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(private + certificate.public_bytes(form))
        file.flush()
        context.load_cert_chain(file.name)
    return context
