# SPDX-License-Identifier: Apache-2.0
"""Hand to the daemon what only root can read: the node key and the fingerprint of the hardware.

Runs as root before the daemon, which has a user of its own. Owns /run/cluster-os/self.json: in memory only,
0400, gone with the boot. The TPM is asked once a start, here.
"""

import json
import os
import pwd
import sys
from pathlib import Path
from typing import NamedTuple

from agent import files, keystore
from agent.discovery.hardware_fingerprint import fingerprint_hardware
from agent.errors import ClusterError
from agent.facts import read_facts
from agent.identity import SEED_BYTES
from agent.report import NO_IDENTITY_HINT
from agent.state import find_state
from agent.tree import Tree

FILE = "self.json"


class Handover(NamedTuple):
    """What the daemon is given. Secret."""

    seed: bytes
    hardware: str  # fingerprint, 12 hexadecimal digits

    def __repr__(self) -> str:
        return f"Handover(seed=…, hardware={self.hardware!r})"


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
    seed = keystore.open_seed(stored, place.identity, tpm=keystore.find_tpm())
    content = {"seed": seed.hex(), "hardware": fingerprint_hardware(read_facts(Tree()))}
    files.make_folder(run, mode=0o755)
    path = run / FILE
    files.replace(path, json.dumps(content).encode(), mode=0o400)
    if user:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def take_over(run: Path) -> Handover:
    """Return what self.json holds; ClusterError when it is missing or damaged."""
    path = run / FILE
    try:
        content = json.loads(path.read_bytes())
        seed, hardware = bytes.fromhex(content["seed"]), content["hardware"]
        if len(seed) != SEED_BYTES or len(bytes.fromhex(hardware)) != 6:
            raise ValueError
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="start the daemon by its unit: systemctl start clusteros-agent",
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ClusterError(f"{path} is damaged", hint="systemctl restart clusteros-agent") from None
    return Handover(seed, hardware)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
