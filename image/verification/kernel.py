# SPDX-License-Identifier: Apache-2.0
"""Check the unified kernel image: command line, signature, copy on the ESP, TPM measurements."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from image.certificates import fingerprint_public_key, parse_public_key
from image.checksums import hash_file
from image.pe import read_sections
from image.verification.findings import MALFORMED, Artefacts, Finding, run_tool, shorten

_KERNEL_FOLDER = "::/EFI/Linux/"
# The sections that systemd-stub measures, by the names of systemd-measure's options.
_MEASURED = (
    "linux",
    "osrel",
    "cmdline",
    "initrd",
    "ucode",
    "splash",
    "dtb",
    "uname",
    "sbat",
    "pcrpkey",
    "profile",
    "hwids",
)
_MEASURED_PCR = 11
_COMMAND_POLICY_PCR = 0x0000017F  # TPM 2.0 library, part 2, table 12: TPM_CC_PolicyPCR
_ALGORITHM_SHA256 = 0x000B  # the same, table 9


def check_command_line(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that the kernel is told the recorded root hash, and no other."""
    kernel = artefacts.path("kernel")
    line = read_sections(kernel.read_bytes(), kernel.name).get(".cmdline", b"")
    words = line.rstrip(b"\0").decode(errors="replace").split()
    found = [word for word in words if word.startswith(("roothash=", "usrhash=", "root=", "systemd.verity"))]
    hashes_found = [word for word in found if not word.startswith("systemd.verity_root_options=")]
    expected = f"roothash={artefacts.manifest.root_hash}"
    if hashes_found != [expected]:
        yield Finding(f"{kernel.name}, command line", expected, " ".join(hashes_found) or "no root hash")


def check_kernel_signature(artefacts: Artefacts) -> Iterator[Finding]:
    """Check the Secure Boot signature of the kernel image."""
    yield from _check_secure_boot(artefacts, artefacts.path("kernel"), artefacts.path("kernel").name)


def check_esp(artefacts: Artefacts) -> Iterator[Finding]:
    """Check that the ESP holds this kernel image and no other, and that all that firmware runs is signed."""
    disk, kernel = artefacts.path("disk"), artefacts.path("kernel")
    offsets = [part.offset for part in artefacts.manifest.partitions if part.type == "esp"]
    if len(offsets) != 1:
        yield Finding(disk.name, "one ESP", str(len(offsets)))
        return
    volume = f"{disk}@@{offsets[0]}"
    listing = run_tool(artefacts, ["mdir", "-/", "-b", "-i", volume, "::/"])
    if listing.returncode != 0:
        yield Finding(f"{disk.name}, ESP", "a FAT file system", shorten(listing.stderr))
        return
    paths = listing.stdout.decode(errors="replace").splitlines()
    programs = [path for path in paths if path.lower().endswith(".efi")]
    kernels = [path for path in programs if path.startswith(_KERNEL_FOLDER)]
    if len(kernels) != 1:
        yield Finding(f"{disk.name}, ESP", "one kernel image", ", ".join(kernels) or "none")
    for path in programs:
        name = f"{disk.name}, ESP, {path.removeprefix('::')}"
        copy = artefacts.scratch / "program.efi"
        done = run_tool(artefacts, ["mcopy", "-n", "-o", "-i", volume, path, copy])
        if done.returncode != 0:
            yield Finding(name, "a file", shorten(done.stderr))
        elif path in kernels:
            if hash_file(copy) != hash_file(kernel):
                yield Finding(name, f"the bytes of {kernel.name}", f"SHA-256 {hash_file(copy)}")
        else:
            yield from _check_secure_boot(artefacts, copy, name)
        copy.unlink(missing_ok=True)


def check_measurements(artefacts: Artefacts) -> Iterator[Finding]:
    """Check the signed PCR policies in the kernel image: by the right key, for exactly this content.

    Format: systemd-measure(1); each signature is over a TPM policy that demands a value of PCR 11.
    """
    kernel, public = artefacts.path("kernel"), artefacts.path("pcr-public-key")
    sections = read_sections(kernel.read_bytes(), kernel.name)
    key = parse_public_key(public.read_bytes(), public.name)
    if sections.get(".pcrpkey", b"").strip() != public.read_bytes().strip():
        yield Finding(f"{kernel.name}, section .pcrpkey", f"the key in {public.name}", "another or none")
    place = f"{kernel.name}, section .pcrsig"
    found = set()
    try:
        for entry in json.loads(sections.get(".pcrsig", b"").rstrip(b"\0"))["sha256"]:
            policy, signature = bytes.fromhex(entry["pol"]), base64.b64decode(entry["sig"], validate=True)
            if entry["pcrs"] != [_MEASURED_PCR]:
                yield Finding(place, f"PCR {_MEASURED_PCR}", str(entry["pcrs"]))
            if entry["pkfp"] != fingerprint_public_key(key):
                yield Finding(place, f"key {fingerprint_public_key(key)}", str(entry["pkfp"]))
            key.verify(signature, policy, padding.PKCS1v15(), hashes.SHA256())
            found.add(policy.hex())
    except MALFORMED:
        yield Finding(place, "PCR signatures as systemd-measure writes them", "something else")
        return
    except InvalidSignature:
        yield Finding(place, f"signatures by {public.name}", "one that is not valid")
        return
    expected = _expect_policies(artefacts, sections)
    if expected != found:
        yield Finding(
            place,
            f"policies {', '.join(sorted(expected))} for this content",
            ", ".join(sorted(found)) or "none",
        )


def compute_policy(pcr_value: bytes) -> str:
    """Return the digest of the TPM policy that demands `pcr_value` (SHA-256 bank) in PCR 11.

    TPM 2.0 library, part 3, TPM2_PolicyPCR.
    """
    selection = bytearray(3)
    selection[_MEASURED_PCR // 8] = 1 << _MEASURED_PCR % 8
    banks = (1).to_bytes(4) + _ALGORITHM_SHA256.to_bytes(2) + len(selection).to_bytes(1) + selection
    values = hashlib.sha256(pcr_value).digest()
    return hashlib.sha256(bytes(32) + _COMMAND_POLICY_PCR.to_bytes(4) + banks + values).hexdigest()


def _expect_policies(artefacts: Artefacts, sections: dict[str, bytes]) -> set[str]:
    options: list[str] = []
    for name in _MEASURED:
        if f".{name}" in sections:
            file = artefacts.scratch / f"section-{name}"
            file.write_bytes(sections[f".{name}"])
            options.append(f"--{name}={file}")
    command = ["/usr/lib/systemd/systemd-measure", "calculate", "--json=short", "--bank=sha256"]
    done = run_tool(artefacts, [*command, *options])
    try:
        values = json.loads(done.stdout)["sha256"]
        return {compute_policy(bytes.fromhex(value["hash"])) for value in values}
    except MALFORMED:
        return {f"(not computed: {shorten(done.stderr)})"}


def _check_secure_boot(artefacts: Artefacts, program: Path, name: str) -> Iterator[Finding]:
    certificate = artefacts.path("secure-boot-certificate")
    done = run_tool(artefacts, ["sbverify", "--cert", certificate, program])
    if done.returncode != 0:
        yield Finding(name, f"a Secure Boot signature by {certificate.name}", shorten(done.stderr))
