# SPDX-License-Identifier: Apache-2.0
"""The identity of this node on its disk: the only module that reads or makes identity.json.

The file is made once and never written again, by nobody: what is wrong with it is for a person to settle.

If a TPM appears after the key was made, the key stays as it is: it has been on the disk in the clear, and
sealing it later would not take that back. If the TPM that sealed the key is gone, the key cannot be used;
`open_seed` says so.
"""

import errno
import os
import stat
from pathlib import Path

from nacl.bindings import randombytes

from agent import files
from agent.errors import ClusterError
from agent.identity import SEED_BYTES, identity_of_seed
from agent.identity_file import MAX_BYTES, StoredIdentity, check_seed, decode, encode


def load(path: Path) -> StoredIdentity | None:
    """Return the identity in `path`, or None when there is no such file.

    Raises ClusterError when it is damaged, not a plain file, of another owner, or open to others. A mode that
    is too wide is refused and not repaired: somebody changed it, and who read the key since is for a person
    to judge.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_a_file(path) from None
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}",
            hint="run as root, or name a folder of your own with --state DIR",
        ) from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise _not_a_file(path)
        if info.st_uid != os.geteuid():
            raise ClusterError(
                f"{path} belongs to user {info.st_uid}, not to the user {os.geteuid()} that runs this",
                hint=f"find out why, then: chown {os.geteuid()} {path}",
            )
        if info.st_mode & 0o077:
            raise ClusterError(
                f"{path} holds a private key and is open to other users (mode {info.st_mode & 0o777:04o})",
                hint=f"find out why, then: chmod 0600 {path}",
            )
        data = b""
        while len(data) <= MAX_BYTES and (part := os.read(fd, MAX_BYTES)):
            data += part
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="check the disk"
        ) from None
    finally:
        os.close(fd)
    return decode(data, str(path))


def make(path: Path, *, tpm: str | None) -> StoredIdentity:
    """Make a new node key and keep it in `path`, which must not exist; sealed if `tpm` names a device.

    When this returns, the identity survives a power cut. Raises ClusterError, and then no identity was made.
    """
    seed = randombytes(SEED_BYTES)
    identity = identity_of_seed(seed)
    if tpm is None:
        stored = StoredIdentity(identity, "none", seed)
    else:
        from agent.seal import seal  # noqa: PLC0415  only machines with a TPM pay for it

        stored = StoredIdentity(identity, "tpm2", seal(seed, tpm))
    files.create(path, encode(stored), mode=0o600)
    return stored


def open_seed(stored: StoredIdentity, path: Path, *, tpm: str | None) -> bytes:
    """Return the private seed (32 bytes) of the identity that was loaded from `path`. Secret."""
    if stored.protection == "none":
        return stored.secret
    if tpm is None:
        raise ClusterError(
            f"{path}: the node key is sealed to a TPM2, and this machine has none",
            hint="enable the TPM in the firmware, or put the disk back into the machine it was set up in",
        )
    from agent.seal import unseal  # noqa: PLC0415  only machines with a TPM pay for it

    seed = unseal(stored.secret, tpm)
    check_seed(stored, seed, str(path))
    return seed


def _not_a_file(path: Path) -> ClusterError:
    return ClusterError(
        f"{path} is not a regular file", hint="find out why, and put the identity file itself there"
    )


def find_tpm(root: Path = Path("/")) -> str | None:
    """Return the device node of this machine's TPM2, or None; the kernel makes it for version 2 only."""
    device = root / "dev/tpmrm0"
    return str(device) if device.exists() else None


def choose_tpm(policy: str, device: str | None) -> str | None:
    """Return the device to seal a new key with, None for a key in the clear. `policy` is identity.seal."""
    if policy == "tpm2" and device is None:
        raise ClusterError(
            "identity.seal is tpm2, and this machine has no TPM2",
            hint="enable the TPM in the firmware, or set identity.seal to auto",
        )
    return None if policy == "none" else device
