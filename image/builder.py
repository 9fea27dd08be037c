# SPDX-License-Identifier: Apache-2.0
"""Build one image: run mkosi, take up its artefacts, describe and sign them, put them in place as a whole.

Owns `out/PROFILE` and its seal, and the folders `build` and `trees` of the cache.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from agent.errors import ClusterError
from image.artefacts import describe_build
from image.assets import stage_assets
from image.cache import check_seal, digest_files, remove_tree, seal_tree, touch_seal
from image.environment import Environment, make_folder, prepare_packages
from image.manifest import Manifest, read_manifest
from image.mkosi import FIRST_PHASE, Order, compose_command, name_phase, trees_of
from image.packagecache import check_archives, seal_archives
from image.process import run_logged
from image.progress import Phases
from image.source import Source

# Everything in the repository that an image is made from, and the builder that makes it.
_INPUTS = ("mkosi.conf", "mkosi.conf.d", "mkosi.images", "image", "overlays", "units", "agent", "firstboot")


@dataclass(frozen=True)
class Build:
    """A finished build: `fresh` is False when everything was up to date."""

    directory: Path
    manifest: Manifest
    fresh: bool


def digest_configuration(project: Path) -> str:
    """Return a digest over the repository's files that shape images."""
    return digest_files([project / name for name in _INPUTS], base=project)


def name_inputs(order: Order, source: Source) -> str:
    """Return a text that is the same as long as the artefacts of `order` need not be made anew."""
    recorded = hashlib.sha256(repr((order.recorded, order.assets)).encode()).hexdigest()
    return f"{order.configuration} {source} {order.name} {order.keys.fingerprint} {recorded}"


def build_image(
    order: Order, source: Source, environment: Environment, output: Path, phases: Phases, *, log: Path
) -> Build:
    """Bring `output` up to date with `order`; on any failure or interruption it stays as it was."""
    inputs = name_inputs(order, source)
    if not order.refresh and not check_seal(output, inputs):
        # Whoever asks for a build may mean to use it: it is the last one, also if there was nothing to do.
        touch_seal(output)
        return Build(output, read_manifest(output / "manifest.json"), fresh=False)
    scratch = make_folder(environment.cache / "build" / output.name)
    new = output.with_name(f".{output.name}.new")
    try:
        shutil.rmtree(scratch)
        log.unlink(missing_ok=True)
        made = run_mkosi(order, environment, scratch, phases, log=log)
        phases.begin("describe and sign the artefacts")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        manifest = describe_build(made, new, order, source, environment)
        put_in_place(new, output, environment)
        seal_tree(output, inputs)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)
    return Build(output, manifest, fresh=True)


def run_mkosi(order: Order, environment: Environment, scratch: Path, phases: Phases, *, log: Path) -> Path:
    """Run mkosi for `order` and return the folder with what it made."""
    phases.begin("check the cache")
    made = make_folder(scratch / "output")
    make_folder(scratch / "no-sources/etc/apt/sources.list.d").joinpath("mkosi.sources").touch()
    trees = trees_of(environment, order.profile)
    if order.incremental:
        if trees.exists() and check_seal(trees, ""):
            phases.say(f"{trees} is damaged or was left half made: it is made again")
            remove_tree(trees)
        # Should mkosi be interrupted while it changes them, they no longer match their seal; trees that it
        # only read stay good, and the build after a failed one need not begin from nothing.
        make_folder(trees)
    make_folder(environment.cache / "packages")
    check_archives(environment.cache, phases.say)
    prepare_packages(environment, order.profile, phases.say)

    def follow(line: str) -> None:
        if phases.verbose:
            phases.say(line)
        if name := name_phase(line):
            phases.begin(name)

    phases.begin(FIRST_PHASE)
    assets = stage_assets(order.assets, environment.cache, scratch / "assets") if order.assets else None
    run_logged(
        compose_command(
            order, environment, output=made, scratch=make_folder(scratch / "workspace"), assets=assets
        ),
        log=log,
        what=f"building profile {order.profile}",
        env=environment.mkosi_variables,
        cwd=environment.project,
        each_line=follow,
    )
    phases.begin("seal the cache")
    seal_archives(environment.cache)
    if order.incremental:
        seal_tree(trees, "")
    return made


def put_in_place(new: Path, output: Path, environment: Environment) -> None:
    """Replace `output` by `new` in one step, so that no half set of artefacts is ever seen."""
    output.with_name(f"{output.name}.seal").unlink(missing_ok=True)
    if not output.exists():
        new.rename(output)
        return
    if not output.is_dir():
        raise ClusterError(f"{output} is not a folder", hint="remove it, or give another with --output DIR")
    run_logged(
        environment.tools.command(["mv", "--exchange", "--no-target-directory", new, output]),
        log=environment.cache / "logs/builder.log",
        what=f"putting the artefacts into {output}",
    )
