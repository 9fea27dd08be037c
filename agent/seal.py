# SPDX-License-Identifier: Apache-2.0
"""Seal a secret to this machine's TPM2, and open it again, with systemd-creds.

Bound to the TPM and to the name below. Where the machine was booted by a UKI with a PCR signing key, also
bound to PCR 11 as signed by that key: only an image of the same maker opens it, and an update by the same
maker still does. Not to PCR 7, systemd's default: it changes with every update of the firmware's revocation
list, which must not cost a node its identity. The disk's own encryption uses the same policy.
"""

from pathlib import Path

from agent.errors import ClusterError
from agent.run import run

NAME = "cluster-os.node-seed"
PCR_PUBLIC_KEY = Path("/run/systemd/tpm2-pcr-public-key.pem")
# A discrete TPM makes its storage key in seconds; one that is emulated on a busy host needs more.
TIME_LIMIT = 120.0


def seal(secret: bytes, device: str) -> bytes:
    """Return the sealed form of `secret`; `device` is the TPM's device node, /dev/tpmrm0."""
    policy = ["--with-key=tpm2"]
    if PCR_PUBLIC_KEY.exists() and PCR_PUBLIC_KEY.stat().st_size:
        key = f"--tpm2-public-key={PCR_PUBLIC_KEY}"
        policy = ["--with-key=tpm2-with-public-key", key, "--tpm2-public-key-pcrs=11"]
    sealed = run(
        ["systemd-creds", "encrypt", *policy, "--tpm2-pcrs=", *_common(device)],
        stdin=secret,
        time_limit=TIME_LIMIT,
        hint="start the machine again; to do without the TPM, set identity.seal to none in node.yaml",
    )
    # What cannot be opened again must not become the only copy of a key.
    if unseal(sealed, device) != secret:
        raise ClusterError(
            "the TPM gave back another secret than it was given",
            hint="update the firmware; to do without the TPM, set identity.seal to none in node.yaml",
        )
    return sealed


def unseal(sealed: bytes, device: str) -> bytes:
    """Return the secret in `sealed`; ClusterError when this TPM or this image cannot open it."""
    return run(
        ["systemd-creds", "decrypt", *_common(device)],
        stdin=sealed,
        time_limit=TIME_LIMIT,
        hint="it opens only on the machine that sealed it, with an image of the same maker: enable its TPM "
        "in the firmware and boot such an image, or wipe /var to make the machine a new node",
    )


def _common(device: str) -> list[str]:
    return [f"--tpm2-device={device}", f"--name={NAME}", "-", "-"]
