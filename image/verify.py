# SPDX-License-Identifier: Apache-2.0
"""Verify a folder of artefacts: trust flows from the publisher's release key to every byte of the image."""

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError
from image import checksums, minisign
from image.manifest import Manifest, parse_manifest
from image.schema import SchemaError
from image.toolstree import ToolsTree
from image.verification import contents, disk, kernel, record, sums
from image.verification.findings import Artefacts, Finding

_SHOWN = 20  # findings of one check that are shown; a wrong manifest can have hundreds


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, in words for a person, and what was wrong with it."""

    name: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Report:
    """The outcome of a verification."""

    directory: Path
    manifest: Manifest | None
    checks: tuple[Check, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        return tuple(finding for check in self.checks for finding in check.findings)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def lines(self) -> list[str]:
        """Return the outcome for a person: a line for each check and for each finding, then the sum."""
        text = []
        for check in self.checks:
            text.append(f"{'WRONG' if check.findings else 'ok':7}{check.name}")
            text += [f"       {finding}" for finding in check.findings[:_SHOWN]]
            if len(check.findings) > _SHOWN:
                text.append(f"       and {len(check.findings) - _SHOWN} more")
        if self.manifest is None or self.findings:
            text.append(f"FAILED: {self.directory}: {len(self.findings)} findings: do not use these files")
            return text
        if self.manifest.development:
            text.append(
                "note: this is a DEVELOPMENT build: whoever has the repository's machine can sign such"
            )
        what = f"{self.manifest.image_id} {self.manifest.version} {self.manifest.profile}"
        text.append(f"passed: {what}, root hash {self.manifest.root_hash}")
        return text


def choose_key(given: Path | None, development: Path) -> Path:
    """Return the public key to trust: the `given` one, or else that of this checkout's `development` keys.

    Never the one beside the artefacts: whoever changed them can have changed it too.
    """
    if given:
        return given
    if not development.exists():
        raise ClusterError(
            "there is no release key to check against, as this checkout has no development keys",
            hint="give the publisher's with --key PUBKEY; one that lies beside the artefacts proves nothing",
        )
    return development


def verify(directory: Path, public_key: Path, tools: ToolsTree) -> Report:
    """Check all artefacts in `directory` against the minisign public key in the file `public_key`.

    Needs no privilege and mounts nothing. What is wrong with the artefacts comes back in the report; raises
    ClusterError only where there is nothing to check, or nothing to check it with.
    """
    key = minisign.parse_public_key(minisign.read_key_text(public_key), str(public_key))
    if not directory.is_dir():
        raise ClusterError(
            f"there is no folder {directory}", hint="name the folder with the artefacts, as out/vm"
        )
    directory = directory.absolute()
    checks = [
        _run(
            f"signature of {checksums.NAME} by release key {key.name}",
            checksums.NAME,
            lambda: sums.check_signature(directory, key),
        )
    ]
    try:
        digests = sums.read_sums(directory)
    except ClusterError as error:
        finding = Finding(checksums.NAME, "a list of digests", error.message)
        return Report(directory, None, (*checks, Check("digests of the files", (finding,))))
    checks.append(
        _run(
            f"digests of {len(digests)} files", checksums.NAME, lambda: sums.check_digests(directory, digests)
        )
    )
    try:
        manifest = parse_manifest((directory / record.MANIFEST).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, SchemaError) as error:
        problems = error.problems if isinstance(error, SchemaError) else [str(error)]
        findings = tuple(Finding(record.MANIFEST, "a manifest", problem) for problem in problems)
        return Report(directory, None, (*checks, Check("manifest (nothing behind it was checked)", findings)))
    with tempfile.TemporaryDirectory(prefix="cluster-os-verify-") as scratch:
        artefacts = Artefacts(directory, manifest, tools, Path(scratch))
        for name, file, check in _list_checks(artefacts, digests, key):
            checks.append(_run(name, file, check))
    return Report(directory, manifest, tuple(checks))


def _list_checks(
    artefacts: Artefacts, digests: dict[str, str], key: minisign.PublicKey
) -> list[tuple[str, str, Callable[[], Iterable[Finding]]]]:
    """Return each check with its name and the file that it is about."""
    manifest = artefacts.manifest
    names = {artefact.role: artefact.name for artefact in manifest.artefacts}
    disk_name, kernel_name = names.get("disk", "disk image"), names.get("kernel", "kernel image")
    root_name, signature_name = names.get("root", "root"), names.get("root-verity-sig", "root signature")
    count = len(manifest.packages)
    return [
        ("manifest against the digests", record.MANIFEST, lambda: record.check_record(artefacts, digests)),
        ("public keys against the manifest", record.MANIFEST, lambda: record.check_keys(artefacts, key)),
        ("SBOM against the manifest", names.get("sbom", "SBOM"), lambda: record.check_sbom(artefacts)),
        (
            f"{len(manifest.partitions)} partitions of the disk image, and their files",
            disk_name,
            lambda: disk.check_partitions(artefacts),
        ),
        ("partition UUIDs against the root hash", disk_name, lambda: disk.check_roots(artefacts)),
        (
            "dm-verity: root against hash tree and root hash",
            root_name,
            lambda: disk.check_hash_tree(artefacts),
        ),
        ("signature of the root hash", signature_name, lambda: disk.check_root_signature(artefacts)),
        ("root hash in the kernel's command line", kernel_name, lambda: kernel.check_command_line(artefacts)),
        (
            "Secure Boot signature of the kernel image",
            kernel_name,
            lambda: kernel.check_kernel_signature(artefacts),
        ),
        ("ESP: the same kernel image, signed loader", disk_name, lambda: kernel.check_esp(artefacts)),
        ("TPM measurements of the kernel image", kernel_name, lambda: kernel.check_measurements(artefacts)),
        (f"{count} packages inside the root", root_name, lambda: contents.check_packages(artefacts)),
        (
            f"{len(manifest.python_packages)} Python packages inside the root",
            root_name,
            lambda: contents.check_python_packages(artefacts),
        ),
        (
            f"{len(manifest.assets)} assets inside the root",
            root_name,
            lambda: contents.check_assets(artefacts),
        ),
        ("version inside the root", root_name, lambda: contents.check_release(artefacts)),
    ]


def _run(name: str, file: str, check: Callable[[], Iterable[Finding]]) -> Check:
    """Run one check; what keeps it from its work is a finding too."""
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except ClusterError as error:
        findings.append(Finding(file, "what can be checked", error.message))
    except OSError as error:
        place = Path(error.filename).name if error.filename else file
        findings.append(Finding(place, "a readable file", (error.strerror or str(error)).lower()))
    return Check(name, tuple(findings))
