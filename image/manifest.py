# SPDX-License-Identifier: Apache-2.0
"""manifest.json: what an image is made of and made with, as one record, the same for the same build."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from agent.errors import ClusterError
from image.schema import Form, SchemaError, decode_json, encode_json

FORMAT = 1
_LARGEST = 64 * 1024 * 1024  # bytes; a real manifest has some hundred kB
_SHOWN = 10  # how many of a manifest's errors are shown

Sha256 = Annotated[str, Form(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits")]
Uuid = Annotated[str, Form(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a lower-case UUID")]
FileName = Annotated[str, Form(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,199}", "a file name without folders")]
NoFileName = Annotated[
    str, Form(r"([A-Za-z0-9][A-Za-z0-9._+~-]{0,199})?", 'a file name without folders, or ""')
]
Word = Annotated[str, Form(r"[A-Za-z0-9][A-Za-z0-9._+~:-]{0,127}", "a word of letters, digits and ._+~:-")]
Commit = Annotated[str, Form(r"([0-9a-f]{40}|[0-9a-f]{64})?", 'a git commit, or ""')]
KeyName = Annotated[str, Form(r"[0-9A-F]{16}", "16 upper-case hexadecimal digits")]
# Debian policy, 5.6.1 and 5.6.12.
PackageName = Annotated[str, Form(r"[a-z0-9][a-z0-9+.-]+", "a package name")]
PackageVersion = Annotated[str, Form(r"[A-Za-z0-9.+~:-]+", "a package version")]
PoolPath = Annotated[
    str, Form(r"pool/(?!.*\.\./)[A-Za-z0-9+._~/:%-]+\.deb", "a path of the archive (pool/….deb)")
]
Url = Annotated[str, Form(r"(https?://[!-~]{1,500})?", 'a URL, or ""')]
Licence = Annotated[str, Form(r"[A-Za-z0-9.+ ()-]{0,100}", 'an SPDX licence expression, or ""')]
ImagePath = Annotated[str, Form(r"/usr(/[A-Za-z0-9][A-Za-z0-9._-]{0,199})+", "an absolute path below /usr")]
ROLES = (
    "disk",
    "kernel",
    "root",
    "root-verity",
    "root-verity-sig",
    "sbom",
    "secure-boot-certificate",
    "pcr-public-key",
    "release-public-key",
)
Role = Annotated[str, Form("|".join(ROLES), f"one of {', '.join(ROLES)}")]


@dataclass(frozen=True, order=True)
class Package:
    """A Debian package; `filename` is its path in the archive, `size` (bytes), `sha256` are of the .deb."""

    name: PackageName
    version: PackageVersion
    architecture: Word
    source: PackageName
    source_version: PackageVersion
    filename: PoolPath
    size: int
    sha256: Sha256


@dataclass(frozen=True, order=True)
class PythonPackage:
    """A package from the Python Package Index; `sha256` is of the file `filename` that was installed."""

    name: Word
    version: Word
    filename: FileName
    sha256: Sha256


@dataclass(frozen=True, order=True)
class AssetRecord:
    """A file that the image has at `path`, from elsewhere than Debian and PyPI (image/assets.py).

    One that was given by hand has the version "given", and neither URL nor licence: nobody knows them.
    """

    name: Word
    version: Word
    url: Url
    sha256: Sha256
    size: int
    licence: Licence
    path: ImagePath
    executable: bool


@dataclass(frozen=True)
class PartitionRecord:
    """A partition of the disk image; `offset` and `size` in bytes; `file` has the same bytes, "" for none."""

    label: str
    type: Word
    uuid: Uuid
    offset: int
    size: int
    sha256: Sha256
    file: NoFileName


@dataclass(frozen=True)
class Artefact:
    """A file beside the manifest and the part that it plays."""

    name: FileName
    role: Role
    size: int
    sha256: Sha256


@dataclass(frozen=True)
class KeyFingerprints:
    """The keys that signed: minisign's identifier, SHA-256 of certificate and of public key."""

    release: KeyName
    secure_boot: Sha256
    pcr: Sha256


@dataclass(frozen=True)
class Tools:
    """Versions of the programs that shape the bytes."""

    mkosi: Word
    systemd: Word
    erofs_utils: Word


@dataclass(frozen=True)
class Manifest:
    """One build. `packages` are those of the root file system, `initrd_packages` those of the initrd.

    `configuration` is a digest of the repository's files that shape the image; `source_date_epoch` and
    `archive_epoch`, the time of the package archive, are in seconds since 1970.
    """

    format: int
    image_id: Word
    version: Word
    profile: Word
    architecture: Word
    development: bool
    commit: Commit
    dirty: bool
    source_date_epoch: int
    archive_epoch: int
    configuration: Sha256
    root_hash: Sha256
    packages: tuple[Package, ...]
    initrd_packages: tuple[Package, ...]
    python_packages: tuple[PythonPackage, ...]
    assets: tuple[AssetRecord, ...]
    partitions: tuple[PartitionRecord, ...]
    artefacts: tuple[Artefact, ...]
    keys: KeyFingerprints
    tools: Tools

    def find_artefact(self, role: str) -> Artefact | None:
        """Return the artefact that plays `role`."""
        return next((artefact for artefact in self.artefacts if artefact.role == role), None)


def encode_manifest(manifest: Manifest) -> str:
    """Return the text of manifest.json: all lists sorted, so that how they were made plays no part."""
    return encode_json(
        dataclasses.replace(
            manifest,
            packages=tuple(sorted(manifest.packages)),
            initrd_packages=tuple(sorted(manifest.initrd_packages)),
            python_packages=tuple(sorted(manifest.python_packages)),
            assets=tuple(sorted(manifest.assets)),
            partitions=tuple(sorted(manifest.partitions, key=lambda partition: partition.offset)),
            artefacts=tuple(sorted(manifest.artefacts, key=lambda artefact: artefact.name)),
        )
    )


def parse_manifest(text: str) -> Manifest:
    """Read the text of a manifest.json; raises SchemaError with all that is wrong with it."""
    manifest = decode_json(text, Manifest)
    problems = _find_contradictions(manifest)
    if problems:
        raise SchemaError(problems)
    return manifest


def read_manifest(file: Path) -> Manifest:
    """Read a manifest.json; raises ClusterError."""
    try:
        with file.open("rb") as content:
            data = content.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ClusterError(f"{file} is too large for a manifest", hint="is it the right file?")
        return parse_manifest(data.decode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(
            f"cannot read {file}: {reason}", hint="name the manifest.json of a build"
        ) from None
    except UnicodeDecodeError:
        raise ClusterError(f"{file} is not a text file", hint="is it the right file?") from None
    except SchemaError as error:
        shown = "; ".join(error.problems[:_SHOWN])
        rest = len(error.problems) - _SHOWN
        more = f"; and {rest} more" if rest > 0 else ""
        raise ClusterError(
            f"{file} is not a manifest: {shown}{more}", hint="use the manifest.json of a signed build"
        ) from None


def _find_contradictions(manifest: Manifest) -> list[str]:
    if manifest.format != FORMAT:
        return [f"format: expected {FORMAT}, found {manifest.format}"]
    problems = []
    if manifest.development and "dev" not in manifest.version:
        problems.append(f"version: a development build must say dev in it, found {manifest.version}")
    lists: dict[str, list[object]] = {
        "packages": [(p.name, p.architecture) for p in manifest.packages],
        "initrd_packages": [(p.name, p.architecture) for p in manifest.initrd_packages],
        "python_packages": [p.name for p in manifest.python_packages],
        "assets": [a.name for a in manifest.assets],
        "assets (path)": [a.path for a in manifest.assets],
        "partitions": [p.uuid for p in manifest.partitions],
        "artefacts": [a.name for a in manifest.artefacts],
        "artefacts (role)": [a.role for a in manifest.artefacts],
    }
    for place, names in lists.items():
        problems += [f"{place}: {name} comes twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    known = {a.name: a for a in manifest.artefacts}
    for partition in manifest.partitions:
        if not partition.file:
            continue
        artefact = known.get(partition.file)
        if artefact is None or (artefact.sha256, artefact.size) != (partition.sha256, partition.size):
            problems.append(f"partitions: {partition.label} and artefact {partition.file} do not agree")
    return problems
