# SPDX-License-Identifier: Apache-2.0
"""The endorsement key of this machine's TPM: by its hash, `ek:…`, an allowlist can name a machine.

The public part, in DER (SubjectPublicKeyInfo), is kept beside the identity: a TPM may need many seconds to
make the key again, always the same one, and a disk goes with one TPM. Owns endorsement.der. The hash is what
`openssl pkey -pubin -outform der | sha256sum` gives for the key in PEM. Nothing here proves that the machine
has the TPM; see docs/cluster.md.
"""

import hashlib
import tempfile
from pathlib import Path

from agent import files
from agent.errors import ClusterError
from agent.run import run

PERSISTENT = "0x81010001"
"""Where a maker's RSA 2048 endorsement key is found: TCG TPM v2.0 Provisioning Guidance, 7.8."""
MAX_BYTES = 1024
_DER_SEQUENCE = 0x30
_TIME_LIMIT = 60.0
_HINT = "see: journalctl -b -k --grep=tpm; only an allowlist with ek: entries needs this key"


def load(path: Path) -> str | None:
    """Return the SHA-256 in 64 hexadecimal digits of the key that was kept in `path`, None without one."""
    try:
        with path.open("rb") as file:
            key = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    return hashlib.sha256(key).hexdigest() if _is_key(key) else None


def keep(path: Path, device: str, scratch: Path) -> str:
    """Ask the TPM for the key, keep it in `path`, return its SHA-256; ClusterError when it gives none.

    `device` is its device node, `scratch` a folder in memory that only root can write to.
    """
    tcti = f"--tcti={device}" if ":" in device else f"--tcti=device:{device}"
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        public = Path(folder) / "ek.der"
        out = ["--format=der", tcti]
        try:
            _run(["tpm2_readpublic", f"--object-context={PERSISTENT}", f"--output={public}", *out])
        except ClusterError:
            context = Path(folder) / "ek.ctx"
            made = [f"--ek-context={context}", "--key-algorithm=rsa", f"--public={public}", *out]
            _run(["tpm2_createek", *made])
        key = public.read_bytes()
    if not _is_key(key):
        raise ClusterError("the TPM's endorsement key is not in the form of a public key", hint=_HINT)
    files.replace(path, key, mode=0o644)
    return hashlib.sha256(key).hexdigest()


def _is_key(data: bytes) -> bool:
    return len(data) <= MAX_BYTES and data[:1] == bytes([_DER_SEQUENCE])


def _run(argv: list[str]) -> None:
    run(argv, time_limit=_TIME_LIMIT, hint=_HINT)
