# SPDX-License-Identifier: Apache-2.0
"""What is still to be done on this machine. Pure: an observation in, steps out.

There is no state between two runs but the files themselves: each step is there because its result is not, so
an interrupted run is completed by running again, and on a complete machine only what lives in memory (/etc,
/run, the kernel's host name) is left to do after a boot.
"""

from enum import Enum
from typing import NamedTuple

from agent.model import Identity
from agent.record import check


class Step(Enum):
    """One effect, in the words of the progress line. The order of the members is the order of the steps."""

    TIDY = "temporary files"
    IDENTITY = "identity"
    HOSTNAME = "host name"
    RECORD = "completion"


class Observed(NamedTuple):
    """The machine as it is now; None where a file is not there."""

    leftovers: tuple[str, ...]  # temporary files of an interrupted write
    identity: Identity | None
    record: bytes | None  # firstboot.json
    record_path: str
    kernel_hostname: str | None
    rendered: tuple[tuple[str, bytes | None], ...]  # what is in the files that `render` gives, in its order


def decide(seen: Observed) -> tuple[Step, ...]:
    """Return the steps that are left, in order; none when the machine is set up.

    Raises ClusterError when the machine was set up as a node whose identity is gone or exchanged.
    """
    complete = check(seen.record, seen.identity, seen.record_path)
    identity = seen.identity
    named = identity is not None and _is_named(seen, identity)
    wanted = {
        Step.TIDY: bool(seen.leftovers),
        Step.IDENTITY: identity is None,
        Step.HOSTNAME: not named,
        Step.RECORD: not complete,
    }
    return tuple(step for step in Step if wanted[step])


def render(identity: Identity, hosts: bytes | None) -> tuple[tuple[str, bytes], ...]:
    """Return the files, below /, that name the node: /etc does not outlive a boot, so each boot renders them.

    `hosts` is the present content of /etc/hosts, of which only our own line is touched.
    """
    name = identity.hostname
    return (
        ("etc/hostname", f"{name}\n".encode()),
        ("etc/hosts", _hosts(hosts or b"", name)),
        ("run/issue.d/10-cluster-os.issue", issue(identity).encode()),
    )


def issue(identity: Identity) -> str:
    """Return what the console shows above the login prompt (agetty(8), /run/issue.d)."""
    lines = (
        ("node ID", identity.node_id),
        ("fingerprint", identity.fingerprint),
        ("host name", identity.hostname),
    )
    return "".join(f"{label:<12}{value}\n" for label, value in lines) + "\n"


def _is_named(seen: Observed, identity: Identity) -> bool:
    present = dict(seen.rendered)
    wanted = dict(render(identity, present.get("etc/hosts")))
    return seen.kernel_hostname == identity.hostname and present == wanted


def _hosts(content: bytes, name: str) -> bytes:
    """Return /etc/hosts with our name at 127.0.1.1, Debian's address for it, and all else kept."""
    lines = [line for line in content.splitlines() if line.split()[:1] != [b"127.0.1.1"]]
    if not lines:
        lines = [b"127.0.0.1 localhost", b"::1 localhost ip6-localhost ip6-loopback"]
    return b"\n".join((*lines, f"127.0.1.1 {name}".encode())) + b"\n"
