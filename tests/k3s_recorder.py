#!/usr/bin/python3 -IS
# SPDX-License-Identifier: Apache-2.0
"""A recorder in the place of k3s: given to a build by `--asset k3s=tests/k3s_recorder.py`. It runs no pods.

It reads what k3s would read and refuses what k3s would refuse, as far as its documentation says: keys that
are none, missing tokens, a long token for the first server, a machine without a default route, a second
cluster-init beside a database. Servers and agents meet over the network as those of k3s do, at port 6443 of
the server that the configuration names, and are let in by their token; so a server that runs has the
cluster's identifier, which the one that began it made up. What it saw is in FOLDER, and `k3s kubectl delete`
is written down there.

Standard library alone, as it is a program of the image. Where a key or a rule comes from: docs.k3s.io
(cli/server, cli/agent, cli/token, datastore/ha-embedded).
"""

import json
import os
import secrets
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

FOLDER = Path("/var/lib/rancher/recorder")
PORT = 6443
AGENT_KEYS = {"data-dir", "node-name", "node-ip", "flannel-iface", "server", "token-file"}
SERVER_KEYS = AGENT_KEYS | {
    *("advertise-address", "flannel-backend", "cluster-init", "agent-token-file", "tls-san", "cluster-cidr"),
    *("service-cidr", "cluster-dns", "disable", "secrets-encryption", "write-kubeconfig"),
    "write-kubeconfig-mode",
}
RETRY = 1.0
LIMIT = 5.0


class Refused(Exception):
    """What k3s would not start with."""


def read_config(path: Path) -> dict[str, Any]:
    """Read the part of YAML that the templates use: `key: value`, and lists of `  - value`."""
    found: dict[str, Any] = {}
    last = ""
    for line in path.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("  - "):
            found[last] = [*(found[last] or ()), line[4:].strip('"')]
            continue
        last, _, value = line.partition(":")
        found[last] = value.strip().strip('"')
    return found


def check(kind: str, config: dict[str, Any], *, routes: str) -> None:
    """Raise Refused for a configuration, or a machine, with which k3s would not start or not work."""
    unknown = config.keys() - (SERVER_KEYS if kind == "server" else AGENT_KEYS)
    if unknown:
        raise Refused(f"unknown keys: {', '.join(sorted(unknown))}")
    missing = {"data-dir", "node-name", "node-ip", "flannel-iface", "token-file"} - config.keys()
    if missing:
        raise Refused(f"missing keys: {', '.join(sorted(missing))}")
    if not any(line.split()[1:2] == ["00000000"] for line in routes.splitlines()[1:]):
        raise Refused("there is no default route")
    if kind == "agent" and "server" not in config:
        raise Refused("an agent needs a server")
    if "cluster-init" in config and "server" in config:
        raise Refused("cluster-init is for the one server that joins nobody")


def read_token(path: str) -> str:
    """Return the token in a file; the short form, as the templates give it."""
    token = Path(path).read_text()
    if not token or token != token.strip() or token.startswith("K10"):
        raise Refused(f"{path} holds no token in the short form")
    return token


def begin(config: dict[str, Any]) -> str:
    """Return the identifier of the cluster: of the database here, of a new one, or of the one to join."""
    database = Path(config["data-dir"]) / "server/db/etcd"
    known = database / "identifier"
    if known.exists():
        return known.read_text()
    if "cluster-init" in config:
        identifier = secrets.token_hex(8)
    elif "server" in config:
        identifier = join(config, "server")
    else:
        raise Refused("it would begin another cluster, on SQLite")
    database.mkdir(parents=True, exist_ok=True)
    known.write_text(identifier)
    return identifier


def join(config: dict[str, Any], kind: str) -> str:
    """Ask the server of the configuration until it lets this node in; return the cluster's identifier."""
    host, _, port = config["server"].removeprefix("https://").rpartition(":")
    asked = {"kind": kind, "node": config["node-name"], "token": read_token(config["token-file"])}
    while True:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=LIMIT) as connection:
                connection.sendall(json.dumps(asked).encode() + b"\n")
                answer = json.loads(connection.makefile().readline() or "{}")
        except (OSError, ValueError):
            answer = {}
        if "identifier" in answer:
            return str(answer["identifier"])
        time.sleep(RETRY)


class Api:
    """The port of a server: lets nodes in by their tokens."""

    def __init__(self, identifier: str, tokens: dict[str, str], record: "Record", port: int = PORT) -> None:
        self._identifier, self._tokens, self._record = identifier, tokens, record
        self._listening = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, (address, *_) = self._listening.accept()
            with connection:
                connection.settimeout(LIMIT)
                try:
                    asked = json.loads(connection.makefile().readline())
                    allowed = asked["token"] == self._tokens[asked["kind"]]
                    answer = {"identifier": self._identifier} if allowed else {}
                    connection.sendall(json.dumps(answer).encode() + b"\n")
                    self._record.add("let in" if allowed else "refused", node=asked["node"], source=address)
                except (OSError, ValueError, KeyError, TypeError):
                    continue


class Record:
    """What happened, a line of JSON each. Never a token."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "record"

    def add(self, what: str, **more: object) -> None:
        """Write it down."""
        at = time.clock_gettime(time.CLOCK_BOOTTIME)
        with self._path.open("a") as out:
            out.write(json.dumps({"at": at, "what": what, **more}) + "\n")


def notify_ready() -> None:
    """Tell systemd (sd_notify(3)), as k3s does once it serves."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(name.replace("@", "\0", 1))
            out.send(b"READY=1")


def run(kind: str, config: dict[str, Any], record: Record) -> None:
    """Do as a server or an agent does."""
    check(kind, config, routes=Path("/proc/net/route").read_text())
    token = read_token(config["token-file"])
    archives = sorted(path.name for path in (Path(config["data-dir"]) / "agent/images").iterdir())
    record.add("configured", kind=kind, config=config, images=archives)
    if kind == "agent":
        identifier = join(config, "agent")
    else:
        identifier = begin(config)
        tokens = {"server": token, "agent": read_token(config["agent-token-file"])}
        Api(identifier, tokens, record)
        kubeconfig = Path(config["write-kubeconfig"])
        kubeconfig.touch(mode=int(config["write-kubeconfig-mode"], 8))
    record.add("runs", kind=kind, identifier=identifier)
    notify_ready()
    threading.Event().wait()


def main(arguments: list[str]) -> int:
    """Take the command line of k3s."""
    record = Record(FOLDER)
    if arguments[:1] == ["kubectl"]:
        record.add("kubectl", arguments=arguments[1:], kubeconfig=os.environ.get("KUBECONFIG"))
        return 0
    kind, option, path = arguments
    if kind not in ("server", "agent") or option != "--config":
        raise Refused(f"not a command line of the roles: {arguments}")
    try:
        run(kind, read_config(Path(path)), record)
    except Refused as error:
        record.add("refused to start", kind=kind, reason=str(error))
        print(f"recorder of k3s: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
