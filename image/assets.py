# SPDX-License-Identifier: Apache-2.0
"""External assets: files that an image takes and that are in neither Debian nor PyPI (image/assets.yaml).

Each is fetched from its URL and refused unless it has the recorded SHA-256, or given by a person, whose word
it is then what it is. Owns the folder `assets` of the cache, where each file has its SHA-256 for a name.
"""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from agent import rule
from agent.errors import ClusterError
from image.manifest import AssetRecord

FILE = Path("image/assets.yaml")
GIVEN = "given"
"""The version of an asset that a person gave, and that is not the one of assets.yaml."""
_TIMEOUT = 30.0  # seconds without an answer from a server
_HINT = f"correct {FILE}"
_RULES = {
    "name": rule.text(r"[a-z][a-z0-9-]{0,30}", "a name of a-z, 0-9 and -", 31),
    "version": rule.text(r"[A-Za-z0-9][A-Za-z0-9._+~:-]*", "a version", 100),
    "url": rule.text(r"https?://[!-~]+", "a URL", 500),
    "sha256": rule.text(r"[0-9a-f]{64}", "64 lower-case hexadecimal digits", 64),
    "licence": rule.text(r"[A-Za-z0-9.+ ()-]+", "an SPDX licence expression", 100),
    "profiles": rule.several(rule.text(r"[a-z0-9-]+", "a profile", 40), 16, "a list of profiles"),
    "path": rule.text(r"/usr(/[A-Za-z0-9][A-Za-z0-9._-]*)+", "an absolute path below /usr", 200),
    "executable": rule.choice((False, True), "true or false", bool),
}


class Asset(NamedTuple):
    """An entry of assets.yaml; `path` is where the image has it."""

    name: str
    version: str
    url: str
    sha256: str
    licence: str
    profiles: tuple[str, ...]
    path: str
    executable: bool

    def record(self, size: int) -> AssetRecord:
        """Return what the manifest says of it; `size` in bytes."""
        return AssetRecord(
            self.name,
            self.version,
            self.url,
            self.sha256,
            size,
            self.licence,
            self.path,
            self.executable,
        )


class _NotToBeHad(ClusterError):
    """An asset that cannot be fetched, or came with other content."""


def read_assets(project: Path) -> tuple[Asset, ...]:
    """Return the entries of assets.yaml; ClusterError with all that is wrong with it."""
    errors: list[str] = []
    try:
        content = yaml.safe_load((project / FILE).read_text())
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise ClusterError(f"{FILE} cannot be read: {str(error).splitlines()[0]}", hint=_HINT) from None
    whole = {"version": rule.choice((1,), "1", int), "assets": rule.Rule("a list of maps", {}, _read_list)}
    found = rule.read_all(content, whole, errors)
    entries = [
        rule.read_all(entry, _RULES, errors, f"assets[{number}].")
        for number, entry in enumerate(found.get("assets", ()))
    ]
    for key in ("name", "path"):
        values = [entry[key] for entry in entries if key in entry]
        twice = (value for value in dict.fromkeys(values) if values.count(value) > 1)
        errors += [f"{key}: {value} comes twice" for value in twice]
    rule.refuse(str(FILE), errors, _HINT)
    return tuple(Asset(**entry) for entry in entries)


def parse_given(texts: Iterable[str]) -> dict[str, Path]:
    """Return the files that were given on the command line, NAME=PATH each."""
    found: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not equals or not name or not path:
            raise ClusterError(f"--asset {text!r} is not NAME=PATH", hint="for example: --asset k3s=./k3s")
        if name in found:
            raise ClusterError(f"--asset gives {name} twice", hint="give it once")
        found[name] = Path(path)
    return found


def collect_assets(
    assets: Sequence[Asset], profile: str, given: Mapping[str, Path], cache: Path
) -> tuple[AssetRecord, ...]:
    """Bring the assets of a profile into the cache and return what they are."""
    wanted = [asset for asset in assets if profile in asset.profiles]
    unknown = given.keys() - {asset.name for asset in wanted}
    if unknown:
        names = ", ".join(asset.name for asset in wanted) or "none"
        raise ClusterError(
            f"profile {profile} has no asset {sorted(unknown)[0]}", hint=f"its assets: {names}; see {FILE}"
        )
    found, faults, missing = [], [], []
    for asset in wanted:
        try:
            if asset.name in given:
                found.append(_take(asset, given[asset.name], cache))
            else:
                found.append(_get(asset, cache))
        except _NotToBeHad as error:
            faults.append(error.message)
            missing.append(f"--asset {asset.name}=FILE")
    if faults:
        raise ClusterError(
            "; ".join(faults),
            hint=f"get what {FILE} names elsewhere: ./build.py {' '.join(missing)} --profile {profile}",
        )
    return tuple(found)


def collect_recorded(
    records: Sequence[AssetRecord], given: Mapping[str, Path], cache: Path
) -> tuple[AssetRecord, ...]:
    """Bring exactly the assets that a manifest records into the cache, and return them."""
    for record in records:
        if record.name in given:
            _keep(given[record.name], cache)
        path = locate(record, cache)
        if path.is_file() and hash_of(path) == record.sha256:
            continue
        hint = f"give it by hand: --asset {record.name}=PATH (SHA-256 {record.sha256})"
        if not record.url:
            raise ClusterError(f"the asset {record.name}, which was given by hand, is not at hand", hint=hint)
        try:
            _fetch(record.url, path, record.sha256, f"the asset {record.name} {record.version}")
        except _NotToBeHad as error:
            raise ClusterError(error.message, hint=hint) from None
    return tuple(records)


def stage_assets(records: Iterable[AssetRecord], cache: Path, tree: Path) -> Path:
    """Lay the assets out below the folder `tree` as an image has them, and return it."""
    for record in records:
        target = tree / record.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(locate(record, cache), target)
        target.chmod(0o755 if record.executable else 0o644)
    # As in any image, whatever the umask here.
    for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    return tree


def locate(record: AssetRecord, cache: Path) -> Path:
    """Return where the cache has an asset."""
    return cache / "assets" / record.sha256


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _read_list(value: object) -> list[object]:
    if not isinstance(value, list) or len(value) > 64:
        raise ValueError
    return value


def _get(asset: Asset, cache: Path) -> AssetRecord:
    """Return an asset from the cache, fetched if it is not there or was damaged."""
    path = cache / "assets" / asset.sha256
    if not path.is_file() or hash_of(path) != asset.sha256:
        _fetch(asset.url, path, asset.sha256, f"the asset {asset.name} {asset.version}")
    return asset.record(path.stat().st_size)


def _take(asset: Asset, given: Path, cache: Path) -> AssetRecord:
    """Return the asset that a person gave. What is not the recorded one has no version that we know."""
    sha256, size = _keep(given, cache)
    if sha256 == asset.sha256:
        return asset.record(size)
    return asset._replace(version=GIVEN, url="", sha256=sha256, licence="").record(size)


def _keep(given: Path, cache: Path) -> tuple[str, int]:
    """Copy a file into the cache; return its SHA-256 and its size in bytes."""
    new = cache / "assets" / f"new-{os.getpid()}"
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(given, new)
        sha256, size = hash_of(new), new.stat().st_size
        new.replace(new.with_name(sha256))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ClusterError(f"cannot read the asset {given}: {reason}", hint="name a file") from None
    finally:
        new.unlink(missing_ok=True)
    return sha256, size


def _fetch(url: str, target: Path, sha256: str, what: str) -> None:
    """Download a file; _NotToBeHad where it cannot be had, or is another one than was recorded."""
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"new-{os.getpid()}")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, new.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(answer, out)
        found = hash_of(new)
        if found != sha256:
            raise _NotToBeHad(f"{what} from {url} has SHA-256 {found}, not {sha256}")
        new.replace(target)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        cause = getattr(error, "reason", error)
        reason = (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).lower()
        raise _NotToBeHad(f"{what} cannot be fetched from {url}: {reason}") from None
    finally:
        new.unlink(missing_ok=True)
