# SPDX-License-Identifier: Apache-2.0
"""The command `vm` of build.py."""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from typing import Any, TypeAlias

from agent.errors import ClusterError
from agent.membership import credential as credentials
from harness import attach, disks, table
from harness.group import Group, GroupBusyError, groups, need_memory
from harness.machine import BOOT_LIMIT, SHUTDOWN_LIMIT, Machine
from harness.model import JOIN_CREDENTIAL, MEMORY, Boot, NodeSpec, VmContext
from harness.readiness import say, wait_cluster
from harness.status import look, watch
from harness.tunnel import Tunnel

DEFAULT_GROUP = "default"
_EXEC_LIMIT = 24 * 3600.0
WEB_PORT = 7980
"""Of the agent's page, on the mesh (node.yaml: metrics.port)."""
EMULATED_LEASE = 20
"""Seconds (node.yaml: election.lease): starting a program takes emulated machines as long as the usual 6."""
_PATIENT = b"[Service]\nEnvironment=CLUSTEROS_ELECTION_LEASE=%d\n" % EMULATED_LEASE

_Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def register(subparsers: _Subparsers) -> None:
    """Add the `vm` command with its sub-commands; `run` takes what it parses."""
    vm = subparsers.add_parser("vm", help="run local VMs from the built image")
    commands = vm.add_subparsers(dest="vm_command", required=True, metavar="COMMAND")
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument("--cluster", metavar="NAME", help="group of VMs, which is the cluster's name")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[chosen])

    up = add(
        "up",
        "start nodes, making those that do not exist, and wait until they are ready and do what they are for",
    )
    up.add_argument(
        "--nodes", type=_count, metavar="N", help="node1 to nodeN (default: those that exist, or one)"
    )
    up.add_argument("--memory", type=_count, metavar="MIB", default=MEMORY, help=f"of a new node ({MEMORY})")
    up.add_argument("--profile", metavar="NAME", help="image to start from (default: the one built last)")
    up.add_argument(
        "--no-wait", action="store_true", help="do not wait until they are one cluster whose roles run"
    )
    listing = add("list", "show all nodes and their state")
    listing.add_argument("--json", action="store_true", help="as a JSON list")
    status = add("status", "show the nodes and the cluster that they form; on a terminal until it is formed")
    how = status.add_mutually_exclusive_group()
    how.add_argument("--once", action="store_true", help="look once, also on a terminal")
    how.add_argument(
        "--watch", action="store_true", help="go on looking, also when it is formed, until Ctrl-C"
    )
    web = add("web", "show the status page of a node in a browser of this machine")
    web.add_argument("node", metavar="NODE", nargs="?", default="node1", help="(default: node1)")
    web.add_argument(
        "--port", type=_count, metavar="N", default=WEB_PORT, help=f"of this machine ({WEB_PORT})"
    )
    execute = add("exec", "run a command in a node, as root")
    execute.add_argument("node", metavar="NODE")
    execute.add_argument("argv", metavar="-- CMD", nargs="+", help="the command and its arguments")
    for name, text in (
        ("console", "attach to a node's serial console"),
        ("logs", "print a node's console log"),
    ):
        add(name, text).add_argument("node", metavar="NODE")
    down = add("down", "switch all nodes off and leave nothing running")
    down.add_argument("--purge", action="store_true", help="forget the nodes too: disks, logs, identities")


def run(args: argparse.Namespace, context: VmContext) -> int:
    """Run a `vm` sub-command and return the exit status; raises ClusterError."""
    return _COMMANDS[args.vm_command](args, context)


def _up(args: argparse.Namespace, context: VmContext) -> int:
    group = _group(args, context)
    credential = context.credential(group.name)
    profile = args.profile or disks.find_profile(context.images.parent)
    images = context.images.parent / profile
    image = disks.find_image(images)
    disks.check_guest_agent(images)
    with group.locked():
        group.create(image)
        boot = make_boot(credential, group.acceleration.name)
        known = [machine.name for machine in group.machines()]
        names = [f"node{number}" for number in range(1, args.nodes + 1)] if args.nodes else known or ["node1"]
        # Emulated processors that wait for each other only take time from those that work.
        cpus = 2 if len(names) <= len(os.sched_getaffinity(0)) else 1
        new = [NodeSpec(name, memory=args.memory, cpus=cpus) for name in names if name not in known]
        idle = [
            machine.spec for machine in group.machines() if machine.name in names and machine.process is None
        ]
        need_memory([*new, *idle])
        started = time.monotonic()
        for spec in new:
            group.add(spec)
        machines = [group.start(group.machine(name), boot) for name in names]
    # The lock is free again, so that `vm down` can end the wait.
    for machine in machines:
        say(f"{machine.name} boots; its console: {machine.paths.console}")
    # They share the cores: five on two take as long as three one after another.
    limit = BOOT_LIMIT * max(1.0, len(machines) / len(os.sched_getaffinity(0)))
    for machine in machines:
        machine.wait_ready(max(1.0, limit - (time.monotonic() - started)))
        say(f"{machine.name} is ready after {time.monotonic() - started:.0f} s at {machine.spec.address}")
    of = f" --cluster {group.name}" if args.cluster else ""
    # A cluster is not whole while some of its machines are off.
    if credential and not args.no_wait and all(machine.process is not None for machine in group.machines()):
        hint = f"the machines run on; see: ./build.py vm status{of}, or do not wait: --no-wait"
        plan = credentials.decode(credential, f"the credential of {group.name}")
        wait_cluster(group.machines(), plan, started, hint)
    command = f"vm status{of}" if credential else f"vm exec{of} {names[0]} -- node-agent info"
    say(f"next: ./build.py {command}")
    return 0


def make_boot(credential: bytes | None, acceleration: str) -> Boot:
    """Return what machines are started with; emulated ones keep their roles while they start a program."""
    given = {JOIN_CREDENTIAL: credential} if credential else {}
    if credential and acceleration == "tcg":
        given["systemd.unit-dropin.clusteros-agent.service"] = _PATIENT
        say(f"emulated machines are slow: a role moves {EMULATED_LEASE} s after its holder is lost")
    return Boot(given)


def _list(args: argparse.Namespace, context: VmContext) -> int:
    rows = [_describe(group, machine) for group in _groups(args, context) for machine in group.machines()]
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        shown = [{**row, "addresses": " ".join(row["addresses"])} for row in rows]
        columns = ["cluster", "name", "state", "pid", "accel", "memory", "addresses", "console"]
        table.show([table.Table(columns, shown)])
    return 0


def _status(args: argparse.Namespace, context: VmContext) -> int:
    once = args.once or not (args.watch or sys.stdout.isatty())
    formed = watch(lambda: _groups(args, context), until_formed=not args.watch, once=once)
    return 0 if formed else 1


def _web(args: argparse.Namespace, context: VmContext) -> int:
    machine = _running(args, context)
    mesh = look(machine).document.get("mesh")
    if not mesh:
        raise ClusterError(f"{machine.name} is no member yet", hint="see: ./build.py vm status")
    tunnel = Tunnel(machine, mesh["ipv4"], WEB_PORT, args.port)
    say(f"{machine.name} is shown at http://localhost:{tunnel.port}/ until Ctrl-C")
    with contextlib.closing(tunnel), contextlib.suppress(KeyboardInterrupt):
        signal.pause()
    return 0


def _exec(args: argparse.Namespace, context: VmContext) -> int:
    machine = _running(args, context)
    result = machine.execute(args.argv, limit=_EXEC_LIMIT)
    for stream, data in ((sys.stdout, result.stdout), (sys.stderr, result.stderr)):
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
    return result.status


def _console(args: argparse.Namespace, context: VmContext) -> int:
    attach.attach(_running(args, context).paths.socket("console"))
    return 0


def _logs(args: argparse.Namespace, context: VmContext) -> int:
    machine = _machine(args, context)
    if not machine.paths.console.exists():
        raise ClusterError(f"{machine.name} has never been started", hint="./build.py vm up")
    sys.stdout.buffer.write(machine.paths.console.read_bytes())
    return 0


def _down(args: argparse.Namespace, context: VmContext) -> int:
    names = [args.cluster] if args.cluster else [*groups(context.state), DEFAULT_GROUP]
    busy = []
    for name in dict.fromkeys(names):
        group = Group(context.tools, context.state, name, say=say)
        try:
            with group.locked():
                # A node that is purged needs no orderly shutdown: nothing of it is kept.
                group.down(purge=args.purge, grace=0.0 if args.purge else SHUTDOWN_LIMIT)
        except GroupBusyError as error:
            busy.append(error)
    if busy:
        raise busy[0]
    return 0


_COMMANDS = {
    "up": _up,
    "list": _list,
    "status": _status,
    "web": _web,
    "exec": _exec,
    "console": _console,
    "logs": _logs,
    "down": _down,
}


def _group(args: argparse.Namespace, context: VmContext) -> Group:
    return Group(context.tools, context.state, args.cluster or DEFAULT_GROUP, say=say)


def _groups(args: argparse.Namespace, context: VmContext) -> list[Group]:
    names = [args.cluster] if args.cluster else groups(context.state)
    return [Group(context.tools, context.state, name) for name in names]


def _machine(args: argparse.Namespace, context: VmContext) -> Machine:
    """The node that is meant: without a group's name the only one of its name, or the only one that is on."""
    if args.cluster:
        return _group(args, context).machine(args.node)
    named = [each for group in _groups(args, context) for each in group.machines() if each.name == args.node]
    found = [each for each in named if each.process is not None] or named
    if len(found) > 1:
        raise ClusterError(
            f"there is a {args.node} in each of {', '.join(each.group for each in found)}",
            hint=f"say which one is meant: --cluster {found[0].group}",
        )
    return found[0] if found else _group(args, context).machine(args.node)


def _running(args: argparse.Namespace, context: VmContext) -> Machine:
    machine = _machine(args, context)
    if machine.process is None:
        of = "" if machine.group == DEFAULT_GROUP else f" --cluster {machine.group}"
        raise ClusterError(f"{machine.name} is off", hint=f"./build.py vm up{of}")
    return machine


def _describe(group: Group, machine: Machine) -> dict[str, Any]:
    process, state = machine.process, machine.state
    return {
        "cluster": group.name,
        "name": machine.name,
        "state": state,
        "pid": process.pid if process else None,
        "accel": machine.accelerator,
        "memory": machine.spec.memory,
        "console": str(machine.paths.console),
        "addresses": _addresses(machine) if state == "ready" else [],
    }


def _addresses(machine: Machine) -> list[str]:
    try:
        return machine.addresses()
    except ClusterError:  # it went down since it was asked whether it is ready
        return []


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 10**6:
        raise argparse.ArgumentTypeError(f"not a positive number: {text!r}")
    return int(text)
