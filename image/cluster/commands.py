# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of `./build.py cluster`."""

import argparse
import re
import time
from collections.abc import Callable
from pathlib import Path

from agent.cluster import Credential
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership.credential import NAME, encode
from agent.users import user_file
from image.cluster import bundle as bundles
from image.cluster.bundle import Bundle
from image.cluster.issue import encode_for_esp, issue
from image.cluster.plan_file import check_options
from image.toolstree import ToolsTree

FOLDER = Path("clusters")
Tools = Callable[[], ToolsTree]
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_LONGEST = 10 * 366 * 86_400
_PLAIN, _FOUNDER, _TOKEN = NAME, "founder.join", "token.join"
_FILES = {
    bundles.PLAN_FILE: "the plan; public",
    bundles.SECRET_FILE: "SECRET: the operator's key and the gossip key; keep a backup",
    user_file.NAME: "SECRET: the users, with hashes of passwords",
    _PLAIN: "SECRET: the join credential of each machine",
    _FOUNDER: "SECRET: the founding medium, for one machine",
    _TOKEN: "SECRET: a join credential that ends",
}


def run(args: argparse.Namespace, project: Path, tools: Tools) -> int:
    """Run a sub-command and return the exit status; `tools` makes the tools tree ready and returns it."""
    _COMMANDS[args.cluster_command](args, project / FOLDER, tools)
    return 0


def read_credential(project: Path, name: str) -> bytes:
    """Return a new join credential of the cluster `name`, to be handed to VMs. Secret."""
    return encode(issue(bundles.load(project / FOLDER, name)))


def _new(args: argparse.Namespace, clusters: Path, _tools: Tools) -> None:
    machines = args.machines
    values = {
        "name": args.name,
        "machines": machines,
        "voters": _choose_voters(machines) if args.voters is None else args.voters,
        "policy": args.policy,
        "allowlist": args.allow,
        "ipv4_range": args.ipv4_range,
        "seeds": [seed for seed in args.seeds.split(",") if seed],
        "srv": args.srv,
    }
    bundle = bundles.create(clusters, check_options(values))
    bundles.write(bundle.folder / _PLAIN, encode(issue(bundle)), mode=0o600)
    if not machines:
        bundles.write(bundle.folder / _FOUNDER, encode(issue(bundle, founder=True)), mode=0o600)
    _show_bundle(bundle)
    if machines:
        print(f"no more than {machines} machines may get the credential until the cluster is formed")
        print(f"next: ./build.py vm up --nodes {machines} --cluster {args.name}")
    else:
        print(f"one machine gets {_FOUNDER}, all others {_PLAIN}")


def _show(args: argparse.Namespace, clusters: Path, _tools: Tools) -> None:
    _show_bundle(bundles.load(clusters, args.name))


def _list(_args: argparse.Namespace, clusters: Path, _tools: Tools) -> None:
    for name in bundles.names(clusters):
        try:
            print(f"{name:<16} {_describe(bundles.load(clusters, name))}")
        except ClusterError as error:
            print(f"{name:<16} {error.message.splitlines()[0]}")


def _credential(args: argparse.Namespace, clusters: Path, tools: Tools) -> None:
    bundle = bundles.load(clusters, args.name)
    credential = issue(bundle, founder=args.founder)
    path = _write(args.output, bundle.folder / (_FOUNDER if args.founder else _PLAIN), credential, tools)
    who = "ONE machine, which founds the cluster" if args.founder else _audience(bundle)
    print(f"{_shown(path)}: for {who}; secret. Where it goes: ./build.py cluster credential --help")


def _token(args: argparse.Namespace, clusters: Path, tools: Tools) -> None:
    ttl = _read_ttl(args.ttl)
    bundle = bundles.load(clusters, args.name)
    expires = int(time.time()) + ttl
    path = _write(args.output, bundle.folder / _TOKEN, issue(bundle, expires=expires), tools)
    ends = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(expires))
    print(f"{_shown(path)}: a join credential until {ends}; secret. See ./build.py cluster token --help")


def _write(output: Path | None, default: Path, credential: Credential, tools: Tools) -> Path:
    """Write what was issued: over what was issued before in the bundle's folder, over nothing elsewhere."""
    path = output or default
    if output is not None and (output.exists() or output.is_symlink()):
        raise ClusterError(f"{output} is there already", hint="remove it, or name another file")
    data = encode_for_esp(credential, tools()) if path.suffix == ".cred" else encode(credential)
    bundles.write(path, data, mode=0o600)
    return path


def _show_bundle(bundle: Bundle) -> None:
    plan = bundle.plan
    print(f"{_shown(bundle.folder)}: {_describe(bundle)}")
    print(f"  id           {plan.cluster_id}")
    print(f"  operator     {identity_of_seed(bundle.secrets.operator_seed).fingerprint}")
    print(f"  mesh         {plan.ipv4_range}")
    if bundle.users:
        print(f"  users        {' '.join(user.name for user in bundle.users)}")
    for label, entries in (("allowlist", plan.allowlist), ("seeds", plan.seeds), ("srv", (plan.srv,))):
        if entries and entries[0]:
            print(f"  {label:<12} {' '.join(map(str, entries))}")
    for name, text in _FILES.items():
        if (bundle.folder / name).exists():
            print(f"  {name:<16} {text}")


def _shown(path: Path) -> Path:
    """Return the path as a person here would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _describe(bundle: Bundle) -> str:
    plan = bundle.plan
    machines = f"{plan.machines} machines" if plan.machines else "founding medium"
    return f"cluster {plan.name}, {machines}, {plan.voters} voters, policy {plan.policy.value}"


def _audience(bundle: Bundle) -> str:
    number = bundle.plan.machines
    return f"each of the {number} machines" if number else "all machines but the one that founds"


def _choose_voters(machines: object) -> int:
    """Return the largest number of voters that the machines allow; of what is no number, any."""
    if not isinstance(machines, int) or machines == 0:
        return 3
    return min(5, machines - 1 + machines % 2)


def _read_ttl(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([mhdw])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise ClusterError(
            f"--ttl: {text[:40]!r} is not a length of time", hint="give 1m to 10 years, as 30m, 24h, 7d or 4w"
        )
    return seconds


_COMMANDS: dict[str, Callable[[argparse.Namespace, Path, Tools], None]] = {
    "credential": _credential,
    "list": _list,
    "new": _new,
    "show": _show,
    "token": _token,
}
