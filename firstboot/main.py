# SPDX-License-Identifier: Apache-2.0
"""Observe the machine, decide what is left of first boot, do it. Runs at every boot, before the network.

Owns firstboot.json, /etc/hostname, our line of /etc/hosts, /run/issue.d/10-cluster-os.issue and the kernel's
host name; has agent/keystore.py make identity.json.

Imports only what every boot needs: a machine waits for this program before it has a network.
"""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from agent import files, keystore, record
from agent.errors import ClusterError
from agent.model import Identity
from agent.state import DEFAULT_FOLDER, State
from agent.tree import Tree
from firstboot.plan import Observed, Step, decide, issue, render

KERNEL_HOSTNAME = "proc/sys/kernel/hostname"


class Place(NamedTuple):
    """The machine to set up: the root of its files, and its state."""

    root: Path
    state: State


def main(arguments: list[str]) -> int:
    """Set up the machine whose root is the first argument (default: /). Returns the exit status."""
    root = Path(arguments[0] if arguments else "/")
    try:
        set_up(Place(root, State(root / DEFAULT_FOLDER.relative_to("/"))))
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def set_up(place: Place) -> Identity:
    """Do what is left of first boot and return who the node is. Safe to be killed at any point."""
    files.make_folder(place.state.folder, mode=0o711)
    with files.lock(place.state.folder):
        stored = keystore.load(place.state.identity)
        identity = stored.identity if stored else None
        seen = observe(place, identity)
        steps = decide(seen)
        for number, step in enumerate(steps, 1):
            said, identity = _do(step, place, seen, identity)
            print(f"{number}/{len(steps)} {step.value}: {said}", flush=True)
    if identity is None:
        raise AssertionError("the plan made no identity")
    print(f"this node is set up\n{issue(identity).rstrip()}", flush=True)
    return identity


def observe(place: Place, identity: Identity | None) -> Observed:
    """Return the state of the machine that `decide` needs."""
    names = [name for name, _ in render(identity, None)] if identity else []
    return Observed(
        leftovers=tuple(path.name for path in files.leftovers(place.state.folder)),
        identity=identity,
        record=_read(place.state.record),
        record_path=str(place.state.record),
        kernel_hostname=Tree(str(place.root)).text(KERNEL_HOSTNAME),
        rendered=tuple((name, _read(place.root / name)) for name in names),
    )


def _do(step: Step, place: Place, seen: Observed, identity: Identity | None) -> tuple[str, Identity | None]:
    """Do one step; return what was done, in words, and the identity, which the step may have made."""
    if step is Step.TIDY:
        for name in seen.leftovers:
            files.remove(place.state.folder / name)
        return f"removed {', '.join(seen.leftovers)} of an interrupted start", identity
    if step is Step.IDENTITY or identity is None:
        tpm = _tpm_to_use(place)
        made = keystore.make(place.state.identity, tpm=tpm)
        how = "sealed to the TPM" if tpm else "in a file that only root can read, not sealed to a TPM"
        return f"made a node key, {how}", made.identity
    if step is Step.HOSTNAME:
        _name(place, identity)
        return identity.hostname, identity
    files.replace(place.state.record, record.encode(identity), mode=0o600)
    return f"recorded in {place.state.record}", identity


def _name(place: Place, identity: Identity) -> None:
    for name, content in render(identity, _read(place.root / "etc/hosts")):
        path = place.root / name
        if _read(path) != content:
            files.make_folder(path.parent, mode=0o755)
            files.replace(path, content, mode=0o644)
    # Last, so that whoever waits for the host name to change finds the files.
    files.write_setting(place.root / KERNEL_HOSTNAME, identity.hostname)


def _tpm_to_use(place: Place) -> str | None:
    """Return the device to seal a new node key with, or None for a key in the clear."""
    from agent.config import read_config  # noqa: PLC0415  YAML is slow to load

    policy = read_config(place.state.folder, os.environ).identity.seal
    return keystore.choose_tpm(policy, keystore.find_tpm(place.root))


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="check the disk and run as root",
        ) from None
