# SPDX-License-Identifier: Apache-2.0
"""Tell the outcome of a build: what came out, how to trust it, what to type next."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from image.builder import Build

_MIB = 1 << 20


def show_build(build: Build, project: Path, *, console: Console | None = None) -> None:
    """Print artefacts, sizes, root hash, digests, key fingerprints and the next command."""
    console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
    manifest = build.manifest
    folder = build.directory
    shown = folder.relative_to(project) if folder.is_relative_to(project) else folder
    console.print(
        f"{'Built' if build.fresh else 'Up to date:'} {manifest.image_id} {manifest.version} in {shown}"
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("artefact")
    table.add_column("MiB", justify="right")
    table.add_column("SHA-256")
    for artefact in sorted(manifest.artefacts, key=lambda item: item.name):
        table.add_row(artefact.name, f"{artefact.size / _MIB:.1f}", artefact.sha256[:16] + "…")
    console.print(table)
    console.print(f"root hash    {manifest.root_hash}")
    console.print(
        f"packages     {len(manifest.packages)} in the root, {len(manifest.initrd_packages)} in the initrd"
    )
    console.print(f"release key  {manifest.keys.release}")
    if manifest.development:
        console.print("[bold]DEV[/]          signed with development keys: not for machines that matter")
    console.print(f"next         ./build.py verify {shown} --key {shown}/release.pub")
    if manifest.profile == "vm":
        console.print("             ./build.py vm up --nodes 2")
