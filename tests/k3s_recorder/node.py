# SPDX-License-Identifier: Apache-2.0
"""A server or an agent, as its unit starts it."""

import http.client
import json
import os
import secrets
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from .api import JOIN, LIMIT, Api
from .configuration import Refused, check, read_config, read_manifests, read_token, read_users
from .objects import Objects
from .record import FOLDER, Record

RETRY = 1.0
"""Seconds between two times that a node asks to be let in."""


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
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        server = http.client.HTTPSConnection(host.strip("[]"), int(port), timeout=LIMIT, context=context)
        try:
            server.request("POST", JOIN, json.dumps(asked))
            answer = json.loads(server.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            answer = {}
        finally:
            server.close()
        if "identifier" in answer:
            return str(answer["identifier"])
        time.sleep(RETRY)


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
        Api(identifier, tokens, record, users=read_users(config), objects=Objects(read_manifests(config)))
        kubeconfig = Path(config["write-kubeconfig"])
        kubeconfig.touch(mode=int(config["write-kubeconfig-mode"], 8))
    record.add("runs", kind=kind, identifier=identifier)
    notify_ready()
    threading.Event().wait()


def main() -> None:
    """Run as a program."""
    sys.exit(act(sys.argv[1:]))


def act(arguments: list[str]) -> int:
    """Take the command line of k3s."""
    if arguments[:1] == ["kubectl"]:
        kubeconfig = os.environ.get("KUBECONFIG")
        Record(FOLDER).add("kubectl", arguments=arguments[1:], kubeconfig=kubeconfig)
        return 0
    if arguments[:1] not in (["server"], ["agent"]) or arguments[1:-1] != ["--config"]:
        print(f"recorder of k3s: not a command line of the roles: {arguments}", file=sys.stderr)
        return 2
    kind, record = arguments[0], Record(FOLDER)
    try:
        run(kind, read_config(Path(arguments[-1])), record)
    except Refused as error:
        record.add("refused to start", kind=kind, reason=str(error))
        print(f"recorder of k3s: {error}", file=sys.stderr)
        return 1
    return 0
