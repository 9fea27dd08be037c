# SPDX-License-Identifier: Apache-2.0
"""Build an image again from what an earlier build recorded, and compare every byte."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.errors import ClusterError
from image.assets import collect_recorded
from image.builder import run_mkosi
from image.cache import remove_tree
from image.comparison import Difference, compare_artefacts
from image.environment import Environment, make_folder
from image.keys import KeySet, make_keys
from image.manifest import Manifest, Package, read_manifest
from image.mkosi import Order
from image.packagecache import locate_archives
from image.packagelock import collect_packages, list_snapshots
from image.progress import Phases
from image.source import read_source

_THREADS = 4  # downloads at once
_NONE: Mapping[str, Path] = {}


@dataclass(frozen=True)
class Reproduction:
    """The outcome: `unsigned` when other keys signed, so that signatures were left out of the comparison."""

    manifest: Manifest
    unsigned: bool
    notes: tuple[str, ...] = ()
    compared: int = 0
    differences: tuple[Difference, ...] = field(default=())

    @property
    def identical(self) -> bool:
        """Whether nothing differed."""
        return not self.differences

    def lines(self) -> list[str]:
        """Return the outcome for a person."""
        text = [f"note: {note}" for note in self.notes]
        for difference in self.differences:
            text += [f"differs: {difference.name}: {difference.detail}"]
        scope = "everything but the signatures (other keys)" if self.unsigned else "signatures included"
        what = f"{self.manifest.image_id} {self.manifest.version} {self.manifest.profile}"
        if self.identical:
            text.append(
                f"identical: {what}, {self.compared} artefacts, {scope}; root hash {self.manifest.root_hash}"
            )
        else:
            text.append(
                f"NOT identical: {what}, {len(self.differences)} of {self.compared} artefacts, {scope}"
            )
        return text


def collect_locked(manifest: Manifest, environment: Environment, pool: Path) -> Path:
    """Fill the folder `pool` with exactly the packages that `manifest` records, and return it."""
    shutil.rmtree(pool, ignore_errors=True)
    packages: list[Package] = sorted({*manifest.packages, *manifest.initrd_packages})
    collect_packages(
        packages,
        pool,
        caches=[locate_archives(environment.cache)],
        mirror=environment.mirror,
        snapshots=list_snapshots(environment.tools, manifest.archive_epoch),
        jobs=_THREADS,
    )
    return pool


def lock_order(
    order: Order, file: Path, environment: Environment, given: Mapping[str, Path] = _NONE
) -> Order:
    """Return `order` with exactly the packages and assets that the manifest `file` records.

    `given`: files by the name of the asset that they are.
    """
    manifest = read_manifest(file)
    return replace(
        order,
        incremental=False,
        packages=collect_locked(manifest, environment, environment.cache / "pool" / order.profile),
        recorded=tuple(sorted({*manifest.packages, *manifest.initrd_packages})),
        archive_epoch=manifest.archive_epoch,
        assets=collect_recorded(manifest.assets, given, environment.cache),
    )


def reproduce(
    against: Path,
    profile: str | None,
    keys: KeySet,
    environment: Environment,
    phases: Phases,
    *,
    given: Mapping[str, Path] = _NONE,
) -> Reproduction:
    """Build what the manifest `against` records again, from scratch, and compare with what lies beside it.

    `keys` are used when they are those that signed; otherwise throw-away keys sign, and signatures are left
    out of the comparison. Raises ClusterError when the record cannot be built.
    """
    manifest = read_manifest(against)
    if profile and manifest.profile != profile:
        raise ClusterError(
            f"{against} is of profile {manifest.profile}, not {profile}",
            hint="name the right manifest or profile",
        )
    source = read_source(environment.project)
    notes = []
    if source.commit != manifest.commit or source.dirty or manifest.dirty:
        notes.append(f"this checkout is not exactly the recorded commit {manifest.commit or '(none)'}")
    with tempfile.TemporaryDirectory(dir=make_folder(environment.cache / "reproduce")) as folder:
        scratch = Path(folder)
        same_keys = keys.fingerprints == manifest.keys
        if not same_keys:
            keys = make_keys(scratch / "keys", development=True)
        phases.begin("collect the recorded packages")
        order = Order(
            profile=manifest.profile,
            version=manifest.version,
            epoch=manifest.source_date_epoch,
            keys=keys,
            configuration=manifest.configuration,
            incremental=False,
            packages=collect_locked(manifest, environment, scratch / "pool"),
            assets=collect_recorded(manifest.assets, given, environment.cache),
        )
        log = environment.project / "out/logs" / f"reproduce-{manifest.profile}.log"
        log.unlink(missing_ok=True)
        made = run_mkosi(order, environment, scratch, phases, log=log)
        phases.begin("compare")
        compared, differences = compare_artefacts(
            against.parent, made, manifest, environment.tools, scratch / "compare", signed=same_keys
        )
    remove_tree(environment.cache / "reproduce")
    return Reproduction(manifest, not same_keys, tuple(notes), compared, tuple(differences))
