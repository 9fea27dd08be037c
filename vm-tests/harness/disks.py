# SPDX-License-Identifier: Apache-2.0
"""Files that a node is made of: the shared base image, its overlay, its UEFI variables."""

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

from agent.errors import ClusterError
from harness.arguments import OVMF
from harness.model import Firmware, NodePaths, NodeSpec
from image.toolstree import ToolsTree

_BUILD = "./build.py --profile {profile}"
_GUEST_AGENT = "qemu-guest-agent"


def find_profile(output: Path) -> str:
    """Return the profile that was built last, of those in `output` for VMs; "vm" where there is none."""
    built = [path.parent for path in output.glob("*/manifest.json") if _has_guest_agent(path)]
    return max(built, key=_built).name if built else "vm"


def check_guest_agent(images: Path) -> None:
    """Raise ClusterError when an image is for bare metal only: nobody would ever hear of its machines."""
    manifest = images / "manifest.json"
    if manifest.is_file() and not _has_guest_agent(manifest):
        raise ClusterError(
            f"profile {images.name} has no {_GUEST_AGENT}, through which all that is done with VMs goes",
            hint="take the one for VMs: vm in the place of node, and of others the name without -node",
        )


def _has_guest_agent(manifest: Path) -> bool:
    try:
        packages = json.loads(manifest.read_bytes())["packages"]
        return any(package["name"] == _GUEST_AGENT for package in packages)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _built(images: Path) -> float:
    """When a profile was built, or when a build of it last found nothing to do."""
    paths = (images / "manifest.json", images.with_name(f"{images.name}.seal"))
    return max(path.stat().st_mtime for path in paths if path.exists())


def find_image(images: Path) -> Path:
    """Return the one disk image of a profile; raises ClusterError with the command that makes it.

    Partitions are kept beside it as `*.raw` too; the disk is the one that carries a GPT.
    """
    hint = f"run {_BUILD.format(profile=images.name)}"
    disks = [path for path in sorted(images.glob("*.raw")) if not path.is_symlink() and _is_gpt(path)]
    if not disks:
        raise ClusterError(f"no image in {images}", hint=hint)
    if len(disks) > 1:
        names = ", ".join(path.name for path in disks)
        raise ClusterError(f"more than one image in {images}: {names}", hint="keep one")
    return disks[0]


def keep_base(image: Path, base: Path) -> None:
    """Keep `image` as the group's own base: overlays of it must not see a later build in its place.

    A hard link costs nothing, as builds replace the file and do not write into it; across file systems it is
    a sparse copy. The group's nodes live on the image that they were born with.
    """
    draft = base.with_suffix(".new")
    draft.unlink(missing_ok=True)
    try:
        draft.hardlink_to(image)
    except OSError:
        subprocess.run(
            ["cp", "--preserve=timestamps", "--sparse=always", "--reflink=auto", image, draft], check=True
        )
    draft.rename(base)


def make_overlay(tools: ToolsTree, base: Path, spec: NodeSpec, paths: NodePaths) -> None:
    """Make the node's disk: empty, `disk_size` large, and reading from `base` what it has not written."""
    size = max(spec.disk_size, base.stat().st_size)
    argv: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base]
    _run(tools, [*argv, paths.disk, str(size)], "make the node's disk")


def make_variables(tools: ToolsTree, spec: NodeSpec, paths: NodePaths) -> None:
    """Make the node's UEFI variable store; with Secure Boot, enrol the one certificate that it trusts."""
    template = tools.root / str(OVMF / "OVMF_VARS_4M.fd").lstrip("/")
    shutil.copyfile(template, paths.variables)
    if spec.firmware.secure_boot:
        _enrol(tools, spec.firmware, paths.variables)


def _enrol(tools: ToolsTree, firmware: Firmware, variables: Path) -> None:
    certificate = firmware.certificate
    if certificate is None or not certificate.is_file():
        raise ClusterError(f"no Secure Boot certificate: {certificate}", hint="name the PEM file of the keys")
    # Any GUID serves as the owner of the keys; it only labels them.
    owner = str(uuid.uuid5(uuid.NAMESPACE_DNS, "cluster-os.example.org"))
    argv: list[str | Path] = ["virt-fw-vars", "--inplace", variables, "--secure-boot"]
    for option in ("--set-pk", "--add-kek", "--add-db"):
        argv += [option, owner, certificate]
    _run(tools, argv, "enrol the Secure Boot certificate")


def write_at(tools: ToolsTree, disk: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a machine's disk that is switched off, for tests that damage it."""
    source = disk.with_suffix(".patch")
    source.write_bytes(data)
    try:
        # qemu-io's commands know no quotes: the name is relative, so that the folder's name may have spaces.
        command = f"write -q -s {source.name} {offset} {len(data)}"
        argv: list[str | Path] = ["qemu-io", "-f", "qcow2", "-c", command, disk]
        _run(tools, argv, "write to the node's disk", folder=disk.parent)
    finally:
        source.unlink()


def private_folder(path: Path) -> Path:
    """Make a folder that only this user can enter; raises ClusterError when it is somebody else's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.geteuid():
        raise ClusterError(f"{path} belongs to somebody else", hint="remove it or use another state folder")
    path.chmod(0o700)
    return path


def _is_gpt(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(512)
        return file.read(8) == b"EFI PART"


def _run(tools: ToolsTree, argv: list[str | Path], purpose: str, folder: Path | None = None) -> None:
    done = subprocess.run(
        tools.command(argv), stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True, cwd=folder
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise ClusterError(f"cannot {purpose}: {lines[-1] if lines else f'exit status {done.returncode}'}")
