# SPDX-License-Identifier: Apache-2.0
"""Compose mkosi's command line: all that the configuration in the repository leaves open."""

from dataclasses import dataclass
from pathlib import Path

from image.environment import Environment
from image.keys import KeySet
from image.manifest import AssetRecord, Package

FIRST_PHASE = "start mkosi"
"""Name of the phase before mkosi says what it does."""
# Lines of mkosi's output that begin a phase worth showing, and our name for it. mkosi marks steps with "‣".
_PHASES = (
    ("Syncing package manager metadata", "read package lists"),
    ("Building initrd image", "build the initrd"),
    ("Building cluster-os image", "install packages"),
    ("Copying in extra file trees", "add our files"),
    ("Generating disk image", "make the root file system and its hash tree"),
    ("Generating unified kernel image", "make and sign the kernel image"),
    ("Formatting ESP", "make the disk image"),
)


@dataclass(frozen=True)
class Order:
    """What to build. `configuration` is a digest of the repository's part in it.

    `incremental`: reuse installed trees. `packages`: install only from this folder of .deb files, which the
    `recorded` ones of an archive of `archive_epoch` (seconds) are.
    """

    profile: str
    version: str
    epoch: int
    keys: KeySet
    configuration: str
    incremental: bool = True
    packages: Path | None = None
    recorded: tuple[Package, ...] = ()
    archive_epoch: int = 0
    refresh: bool = False
    assets: tuple[AssetRecord, ...] = ()

    @property
    def name(self) -> str:
        """Name of the image and stem of its artefacts."""
        return f"cluster-os_{self.version}_{self.profile}"


def compose_command(
    order: Order, environment: Environment, *, output: Path, scratch: Path, assets: Path | None = None
) -> list[str]:
    """Return the mkosi command that builds `order` into `output`, with working files below `scratch`.

    `assets` is a tree with those of the order, if it has any.
    """
    keys = order.keys
    command = [
        *environment.mkosi,
        *("--directory", environment.project),
        *("--profile", order.profile),
        *("--output", order.name),
        *("--output-directory", output),
        *("--image-version", order.version),
        *("--source-date-epoch", order.epoch),
        *("--tools-tree", environment.tools.root),
        *("--package-cache-directory", environment.cache / "packages"),
        *("--workspace-directory", scratch),
        *("--incremental", "yes" if order.incremental else "no"),
        *("--secure-boot-key", keys.secure_boot_key),
        *("--secure-boot-certificate", keys.secure_boot_certificate),
        *("--verity-key", keys.secure_boot_key),
        *("--verity-certificate", keys.secure_boot_certificate),
        *("--sign-expected-pcr-key", keys.pcr_key),
        *("--sign-expected-pcr-certificate", keys.pcr_certificate),
        *("--build-sources", ""),
    ]
    if assets is not None:
        command += ["--extra-tree", assets]
    for packages in environment.site_packages_of(order.profile):
        command += ["--extra-tree", f"{packages}:/usr/lib/cluster-os/site-packages"]
    if order.incremental:
        command += ["--cache-directory", trees_of(environment, order.profile)]
    if order.packages:
        # An empty list of sources, so that apt knows our folder alone.
        command += ["--package-directory", order.packages, "--sandbox-tree", scratch.parent / "no-sources"]
    elif environment.mirror.archive:
        command += ["--sandbox-tree", environment.sources]
    # A second --force also removes what --incremental kept.
    command += ["--force", "--force"] if order.refresh else ["--force"]
    return [str(part) for part in [*command, "build"]]


def trees_of(environment: Environment, profile: str) -> Path:
    """Return the folder in which mkosi keeps installed trees of a profile between builds."""
    return environment.cache / "trees" / profile


def name_phase(line: str) -> str:
    """Return the phase that a line of mkosi's output begins, "" for every other line."""
    text = line.lstrip("‣ ").strip()
    return next((name for start, name in _PHASES if line.startswith("‣") and text.startswith(start)), "")
