# SPDX-License-Identifier: Apache-2.0
"""A whole set of signed artefacts of a few MB, made in a second by the tools that make the real ones."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from image import checksums, manifest, minisign, sbom
from image.checksums import hash_file, hash_range
from image.keys import KeySet, load_release_key, make_keys
from image.manifest import Artefact, AssetRecord, Manifest, Package, PartitionRecord, PythonPackage, Tools
from image.partitions import read_partitions
from image.toolstree import ToolsTree
from image.verification.findings import Artefacts

STEM = "cluster-os_0.1.0-dev_tiny"
EPOCH = 1_700_000_000
_ROLES = {
    f"{STEM}.raw": "disk",
    f"{STEM}.efi": "kernel",
    f"{STEM}.root.raw": "root",
    f"{STEM}.root-verity.raw": "root-verity",
    f"{STEM}.root-verity-sig.raw": "root-verity-sig",
    "secureboot.crt": "secure-boot-certificate",
    "pcr.pub": "pcr-public-key",
    "release.pub": "release-public-key",
    sbom.NAME: "sbom",
}
_PROGRAM = "#!/bin/sh\n"
ASSET = AssetRecord(
    "example",
    "given",
    "",
    hashlib.sha256(_PROGRAM.encode()).hexdigest(),
    len(_PROGRAM),
    "",
    "/usr/lib/example/program",
    executable=True,
)
_STATUS = """\
Package: example
Status: install ok installed
Architecture: amd64
Version: 1:2.0-1

Package: libexample++1
Status: install ok installed
Architecture: all
Source: example (1:1.9-1)
Version: 1.9-1
"""
_PARTITIONS = {
    "00-esp": "Type=esp\nFormat=vfat\nCopyFiles=/esp:/\nSizeMinBytes=4M\nSizeMaxBytes=4M\nSplitName=-\n",
    "10-root": (
        "Type=root-x86-64\nFormat=erofs\nCopyFiles=/root:/\nMinimize=best\n"
        "Verity=data\nVerityMatchKey=root\nSplitName=root\n"
    ),
    "11-verity": (
        "Type=root-x86-64-verity\nVerity=hash\nVerityMatchKey=root\nMinimize=best\nSplitName=root-verity\n"
    ),
    "12-signature": (
        "Type=root-x86-64-verity-sig\nVerity=signature\nVerityMatchKey=root\nSplitName=root-verity-sig\n"
    ),
}
_PACKAGES = (
    Package(
        name="example",
        version="1:2.0-1",
        architecture="amd64",
        source="example",
        source_version="1:2.0-1",
        filename="pool/main/e/example/example_2.0-1_amd64.deb",
        size=1000,
        sha256="1" * 64,
    ),
    Package(
        name="libexample++1",
        version="1.9-1",
        architecture="all",
        source="example",
        source_version="1:1.9-1",
        filename="pool/main/e/example/libexample++1_1.9-1_all.deb",
        size=2000,
        sha256="2" * 64,
    ),
)


@dataclass(frozen=True)
class TinyImage:
    """A folder of artefacts, the keys that signed them, and the tools that made them."""

    directory: Path
    keys: KeySet
    tools: ToolsTree
    manifest: Manifest

    def path(self, role: str) -> Path:
        """Path of the artefact with a role."""
        artefact = self.manifest.find_artefact(role)
        assert artefact
        return self.directory / artefact.name

    def copy(self, target: Path) -> "TinyImage":
        """A copy to be spoilt."""
        shutil.copytree(self.directory, target)
        return replace(self, directory=target)

    def artefacts(self, scratch: Path) -> Artefacts:
        """What the single checks take."""
        scratch.mkdir(exist_ok=True)
        return Artefacts(self.directory, self.manifest, self.tools, scratch)

    def describe(self, changed: Manifest | None = None) -> "TinyImage":
        """Describe and sign the files as they are now, or as `changed` says, as a thief of the key could."""
        described = changed or replace(
            self.manifest,
            artefacts=tuple(record_file(self.directory / name, role) for name, role in _ROLES.items()),
        )
        (self.directory / "manifest.json").write_text(manifest.encode_manifest(described))
        sums = checksums.write_checksums(self.directory, [*_ROLES, "manifest.json"])
        signature = minisign.sign_file(sums, load_release_key(self.keys), timestamp=EPOCH)
        (self.directory / "SHA256SUMS.minisig").write_text(signature)
        return replace(self, manifest=described)


def record_file(file: Path, role: str) -> Artefact:
    """The record of a file as it is."""
    return Artefact(file.name, role, file.stat().st_size, hash_file(file))


def run(tools: ToolsTree, *argv: str | Path) -> str:
    """Run a tool; what it says when it fails is shown."""
    command = tools.command(argv, env={"SOURCE_DATE_EPOCH": str(EPOCH)})
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.stderr}"
    return done.stdout


def make_kernel(tools: ToolsTree, keys: KeySet, source: Path, target: Path, root_hash: str) -> None:
    """Make and sign a unified kernel image; a boot loader takes the kernel's place, being as small."""
    for name, text in (("initrd", "no initrd"), ("osrel", "ID=example\n")):
        (source / name).write_text(text)
    efi = tools.root / "usr/lib/systemd/boot/efi"
    run(
        *(tools, "ukify", "build", "--stub", efi / "linuxx64.efi.stub"),
        *("--efi-arch", "x64", "--uname", "6.0.0-example", "--os-release", f"@{source / 'osrel'}"),
        *("--linux", efi / "systemd-bootx64.efi", "--initrd", source / "initrd"),
        *("--cmdline", f"roothash={root_hash} systemd.verity_root_options=panic-on-corruption"),
        *("--secureboot-private-key", keys.secure_boot_key),
        *("--secureboot-certificate", keys.secure_boot_certificate, "--signtool", "sbsign"),
        *(
            "--pcr-private-key",
            keys.pcr_key,
            "--pcr-public-key",
            keys.pcr_public_key,
            "--pcr-banks",
            "sha256",
        ),
        *("--output", target),
    )


def make_disk(tools: ToolsTree, keys: KeySet, source: Path, disk: Path, *options: str) -> str:
    """Run systemd-repart as mkosi does and return the root hash."""
    definitions = source.with_name("definitions")
    definitions.mkdir(exist_ok=True)
    for name, text in _PARTITIONS.items():
        (definitions / f"{name}.conf").write_text(f"[Partition]\n{text}")
    answer = run(
        *(tools, "systemd-repart", "--empty=allow", "--size=auto", "--dry-run=no", "--json=short"),
        *(
            "--no-pager",
            "--offline=yes",
            "--seed",
            "6f0ad1f1-3d6c-4b9b-8f5e-2f6b1c1a9a70",
            "--sector-size=512",
        ),
        *(f"--private-key={keys.secure_boot_key}", f"--certificate={keys.secure_boot_certificate}"),
        *(f"--definitions={definitions}", f"--copy-source={source}", *options, str(disk)),
    )
    return next(str(each["roothash"]) for each in json.loads(answer) if each.get("roothash"))


def make_tiny_image(folder: Path, tools: ToolsTree) -> TinyImage:
    """Make the artefacts in `folder`."""
    keys, source, output = make_keys(folder / "keys", development=True), folder / "source", folder / "output"
    output.mkdir()
    _fill_root(source / "root")
    disk, kernel = output / f"{STEM}.raw", output / f"{STEM}.efi"
    esp = source / "esp"
    for name in ("EFI/Linux", "EFI/BOOT"):
        (esp / name).mkdir(parents=True)
    disk.touch()
    root_hash = make_disk(tools, keys, source, disk, "--defer-partitions=esp")
    make_kernel(tools, keys, source, kernel, root_hash)
    shutil.copyfile(kernel, esp / "EFI/Linux/cluster-os.efi")
    loader = tools.root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi"
    pair = ("--key", keys.secure_boot_key, "--cert", keys.secure_boot_certificate)
    run(tools, "sbsign", *pair, "--output", esp / "EFI/BOOT/BOOTX64.EFI", loader)
    make_disk(tools, keys, source, disk, "--split=yes")
    for file in (keys.secure_boot_certificate, keys.pcr_public_key, keys.release_public_key):
        shutil.copyfile(file, output / file.name)
    found = describe_disk(disk, root_hash, keys, output)
    (output / sbom.NAME).write_text(sbom.encode_sbom(found))
    return TinyImage(output, keys, tools, found).describe()


def describe_disk(disk: Path, root_hash: str, keys: KeySet, output: Path) -> Manifest:
    """A manifest without artefacts."""
    names = {role: name for name, role in _ROLES.items()}
    partitions: Sequence[PartitionRecord] = [
        PartitionRecord(
            *(each.label, each.type, each.uuid, each.offset, each.size),
            hash_range(disk, each.offset, each.size),
            names.get(each.type.replace("-x86-64", ""), ""),
        )
        for each in read_partitions(disk).partitions
    ]
    assert all((output / each.file).exists() for each in partitions if each.file)
    return Manifest(
        format=manifest.FORMAT,
        image_id="cluster-os",
        version="0.1.0-dev",
        profile="tiny",
        architecture="x86-64",
        development=True,
        commit="a" * 40,
        dirty=False,
        source_date_epoch=EPOCH,
        archive_epoch=EPOCH,
        configuration="c" * 64,
        root_hash=root_hash,
        packages=_PACKAGES,
        initrd_packages=_PACKAGES[:1],
        python_packages=(PythonPackage("py-example", "0.3", "py-example-0.3.tar.gz", "3" * 64),),
        assets=(ASSET,),
        partitions=tuple(partitions),
        artefacts=(),
        keys=keys.fingerprints,
        tools=Tools("25.3", "257", "1.8.6"),
    )


def _fill_root(root: Path) -> None:
    for path, text in (
        ("usr/lib/os-release", 'ID=example\nIMAGE_ID="cluster-os"\nIMAGE_VERSION="0.1.0-dev"\n'),
        ("usr/lib/sysimage/dpkg/status", _STATUS),
        ("usr/lib/cluster-os/site-packages/py_example-0.3.dist-info/METADATA", "Name: py-example\n"),
        ("usr/lib/text", "some content\n" * 5000),
        (ASSET.path.lstrip("/"), _PROGRAM),
    ):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
