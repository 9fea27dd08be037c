# SPDX-License-Identifier: Apache-2.0
"""Commands on who is a member: `join`, `approve`, `remove`, `leave`, `token`. The agent does the work."""

import argparse
import os
import sys
import time
from pathlib import Path

from agent import files
from agent.commands.observe import ask_agent, require
from agent.commands.output import confirm, print_json, read_input
from agent.control import protocol
from agent.control.client import ask
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.state import State
from agent.status.document import NodeStatus
from agent.status.names import known, resolve


def join(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Give this node a join credential, or tell it of a host of its cluster."""
    target: str = options.target
    if target == "-" or os.path.lexists(target):
        request = {"request": "join", "credential": _read_credential(target)}
    elif protocol.is_host(target):
        request = {"request": "join", "host": target}
    else:
        raise ClusterError(
            f"{target[:200]!r} is no file, and no HOST[:PORT]", hint="check the name of the credential's file"
        )
    return _tell(options, {"sentence": ask_agent(runtime, request)})


def approve(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Admit a node that waits for approval."""
    status, _ = require(runtime)
    waiting = {node.node_id: node.fingerprint for node in status.pending}
    names = known(status)
    # A member on other hardware than it was admitted with waits as well, under its own node ID.
    among = (*waiting, *(clone.node_id for clone in status.clones))
    node = resolve(options.node, {node_id: names.get(node_id, "") for node_id in among})
    sentence = ask_agent(runtime, {"request": "approve", "node": node})
    return _tell(options, {"node_id": node, "fingerprint": waiting.get(node), "sentence": sentence})


def remove(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Remove a member from the cluster for good."""
    status, _ = require(runtime)
    names = known(status)
    node = resolve(options.node, names)
    confirm(f"{_describe(node, status)} will be removed for good", yes=options.yes)
    sentence = ask_agent(runtime, {"request": "remove", "node": node})
    return _tell(options, {"node_id": node, "sentence": sentence})


def leave(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Remove this node from its cluster for good."""
    status, _ = require(runtime)
    confirm(f"this node ({status.hostname}) will leave its cluster for good", yes=options.yes)
    sentence = ask_agent(runtime, {"request": "leave"})
    return _tell(options, {"node_id": status.node_id, "sentence": sentence})


def token(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Print a join credential that ends. It is secret."""
    if not protocol.SHORTEST_TTL <= options.ttl <= protocol.LONGEST_TTL:
        raise ClusterError("a credential lasts from 1 minute to 10 years", hint="for example: --ttl 24h")
    answer = ask(runtime.socket, {"request": "token", "ttl": options.ttl})
    credential, expires = answer.get("credential"), answer.get("expires")
    if not isinstance(credential, str) or type(expires) is not int:
        raise ClusterError("that is no answer of an agent", hint="restart clusteros-agent")
    ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(min(expires, 253_402_300_799)))
    print(f"this credential is secret, and ends at {ends}", file=sys.stderr)
    if options.output:
        files.create(Path(options.output), credential.encode(), mode=0o600)
    if options.json:
        shown = {"file": options.output} if options.output else {"credential": credential}
        print_json({**shown, "expires": expires})
    elif not options.output:
        print(credential.rstrip("\n"))
    return 0


def _read_credential(name: str) -> str:
    from agent.membership import credential  # noqa: PLC0415  brings the libraries of the cluster

    data = read_input(name, protocol.MAX_CREDENTIAL, credential.HINT)
    credential.decode(data, "standard input" if name == "-" else name)
    return data.decode()


def _describe(node: str, status: NodeStatus) -> str:
    for member in status.members:
        if member.node_id == node:
            place = ("the leader",) if member.leader else ("a voter",) if member.voter else ()
            return f"member {node} ({', '.join((member.hostname, *place, member.state))})"
    return f"node {node}"


def _tell(options: argparse.Namespace, content: dict[str, str | None]) -> int:
    if options.json:
        print_json(content)
    else:
        print(content["sentence"])
        if fingerprint := content.get("fingerprint"):
            print(f"fingerprint {fingerprint}")
    return 0
