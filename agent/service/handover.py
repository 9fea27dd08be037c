# SPDX-License-Identifier: Apache-2.0
"""Hand to the daemon what only root can read: node key, prints of hardware and TPM, join credential.

Runs as root before the daemon, which has a user of its own. Owns self.json and cluster-os.join in
/run/cluster-os: in memory only, 0400, gone with the boot. The TPM is asked once a start, here.

The credential is systemd's system credential `cluster-os.join` (systemd.system-credentials(7)): plain from
SMBIOS or fw_cfg, encrypted from the ESP. systemd itself would refuse one that is closed with the null key on
a machine with Secure Boot and a TPM2, and then not start the daemon at all; so it is opened here.
"""

import json
import os
import pwd
import sys
from pathlib import Path
from typing import NamedTuple

from agent import endorsement, files, keystore
from agent.discovery.hardware_fingerprint import fingerprint_hardware
from agent.errors import ClusterError
from agent.facts import read_facts
from agent.identity import SEED_BYTES
from agent.membership.credential import NAME
from agent.report import NO_IDENTITY_HINT
from agent.run import run as run_program
from agent.state import State, find_state
from agent.tree import Tree

FILE = "self.json"
PLAIN = Path("run/credentials/@system")
ENCRYPTED = Path("run/credentials/@encrypted")
_TIME_LIMIT = 120.0
_HASH_BYTES = 32


class Handover(NamedTuple):
    """What the daemon is given. Secret."""

    seed: bytes
    hardware: str  # fingerprint, 12 hexadecimal digits
    ek: str | None  # SHA-256 of the TPM's endorsement key, 64 hexadecimal digits

    def __repr__(self) -> str:
        return f"Handover(seed=…, hardware={self.hardware!r}, ek={self.ek!r})"


def main(arguments: list[str]) -> int:
    """`STATE RUN [USER]`: write self.json in the folder RUN for USER. Returns the exit status."""
    try:
        hand_over(find_state(arguments[0]).folder, Path(arguments[1]), *arguments[2:3])
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def hand_over(state: Path, run: Path, user: str | None = None) -> None:
    """Write self.json; ClusterError when the identity cannot be used."""
    place = find_state(str(state))
    stored = keystore.load(place.identity)
    if stored is None:
        raise ClusterError("this node has no identity", hint=NO_IDENTITY_HINT)
    tpm = keystore.find_tpm()
    seed = keystore.open_seed(stored, place.identity, tpm=tpm)
    files.make_folder(run, mode=0o755)
    content = {"seed": seed.hex(), "hardware": _fingerprint(), "ek": _endorsement(place, tpm, run)}
    path = run / FILE
    _write(path, json.dumps(content).encode(), user)
    try:
        credential = find_credential(Path("/"))
    except ClusterError as error:
        # A node that is a member needs none any more.
        _warn(error)
        credential = None
    if credential is not None:
        _write(run / NAME, credential, user)


def find_credential(root: Path) -> bytes | None:
    """Return the join credential that the machine was started with, None where there is none. Secret.

    Raises ClusterError when there is one that cannot be opened.
    """
    try:
        return (root / PLAIN / NAME).read_bytes()
    except FileNotFoundError:
        pass
    closed = root / ENCRYPTED / NAME
    if not closed.exists():
        return None
    return run_program(
        ["systemd-creds", "decrypt", "--allow-null", f"--name={NAME}", str(closed), "-"],
        time_limit=_TIME_LIMIT,
        hint="write it again: ./build.py cluster credential NAME --output cluster-os.join.cred",
    )


def _endorsement(state: State, tpm: str | None, run: Path) -> str | None:
    """Return the hash of the TPM's endorsement key; None without one, as few clusters ask for it."""
    if tpm is None:
        return None
    try:
        return endorsement.load(state.endorsement) or endorsement.keep(state.endorsement, tpm, run)
    except ClusterError as error:
        _warn(error)
        return None


def _warn(error: ClusterError) -> None:
    print(f"warning: {error.message}; {error.hint}", file=sys.stderr)


def _fingerprint() -> str:
    """Return the fingerprint of this machine; where that rests on its NICs, when all have their drivers."""
    facts = read_facts(Tree())
    found = fingerprint_hardware(facts)
    if found == fingerprint_hardware(facts._replace(nics=())):
        return found
    run_program(
        ["udevadm", "settle", "--timeout=30"], time_limit=60.0, hint="see: journalctl -b -u systemd-udevd"
    )
    return fingerprint_hardware(read_facts(Tree()))


def _write(path: Path, content: bytes, user: str | None) -> None:
    files.replace(path, content, mode=0o400)
    if user:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def take_over(run: Path) -> Handover:
    """Return what self.json holds; ClusterError when it is missing or damaged."""
    path = run / FILE
    try:
        content = json.loads(path.read_bytes())
        seed, hardware, ek = bytes.fromhex(content["seed"]), content["hardware"], content["ek"]
        if len(seed) != SEED_BYTES or len(bytes.fromhex(hardware)) != 6:
            raise ValueError
        if ek is not None and len(bytes.fromhex(ek)) != _HASH_BYTES:
            raise ValueError
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="start the daemon by its unit: systemctl start clusteros-agent",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ClusterError(f"{path} is damaged", hint="systemctl restart clusteros-agent") from None
    return Handover(seed, hardware, ek)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
