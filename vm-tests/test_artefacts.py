# SPDX-License-Identifier: Apache-2.0
"""The built artefacts: within their limits, accepted by stock tools, and made of what the tests test."""

import datetime
import os
import re
import subprocess
from pathlib import Path

import pytest

from image.manifest import Manifest, read_manifest
from image.pe import read_sections
from image.toolstree import ToolsTree
from image.verify import verify

PROJECT = Path(__file__).parent.parent
ARTEFACTS = PROJECT / "out/vm"
MIB = 1 << 20


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    """The manifest of the image under test."""
    return read_manifest(ARTEFACTS / "manifest.json")


def find(manifest: Manifest, role: str) -> Path:
    """Return the artefact that plays `role`."""
    artefact = manifest.find_artefact(role)
    assert artefact is not None
    return ARTEFACTS / artefact.name


def test_the_image_keeps_its_limits(manifest: Manifest) -> None:
    assert find(manifest, "root").stat().st_size <= 350 * MIB
    assert find(manifest, "kernel").stat().st_size <= 64 * MIB


def test_our_own_verification_passes(tools: ToolsTree) -> None:
    report = verify(ARTEFACTS, ARTEFACTS / "release.pub", tools)
    assert report.passed, "\n".join(report.lines())


def test_stock_tools_agree(manifest: Manifest, tools: ToolsTree) -> None:
    commands: tuple[list[str | Path], ...] = (
        ["minisign", "-Vm", "SHA256SUMS", "-p", "release.pub"],
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        ["sbverify", "--cert", "secureboot.crt", find(manifest, "kernel")],
        ["veritysetup", "verify", find(manifest, "root"), find(manifest, "root-verity"), manifest.root_hash],
    )
    for command in commands:
        done = subprocess.run(
            tools.command(command), cwd=ARTEFACTS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def read_times(cpio: bytes) -> set[int]:
    """Return the modification times in a cpio archive of the format newc (cpio(5))."""
    times: set[int] = set()
    place = 0
    while True:
        header = cpio[place : place + 110]
        assert header.startswith(b"070701"), f"no header at byte {place}"
        size, name_size = int(header[54:62], 16), int(header[94:102], 16)
        if cpio[place + 110 : place + 110 + name_size] == b"TRAILER!!!\0":
            return times
        times.add(int(header[46:54], 16))
        content = (place + 110 + name_size + 3) & ~3
        place = (content + size + 3) & ~3


def test_what_was_installed_earlier_gives_no_other_bytes(manifest: Manifest, tools: ToolsTree) -> None:
    initrd = read_sections(find(manifest, "kernel").read_bytes(), "kernel")[".initrd"]
    # After the first archive come kernel modules, packed in another way, at which zstd stops.
    done = subprocess.run(tools.command(["zstd", "-dc"]), input=initrd, capture_output=True, check=False)
    assert read_times(done.stdout) == {manifest.source_date_epoch}
    for path in ("/etc", "/usr/bin/less", "/etc/alternatives/pager"):
        argv: list[str | Path] = ["dump.erofs", f"--path={path}", find(manifest, "root")]
        done = subprocess.run(
            tools.command(argv), env={**os.environ, "TZ": "UTC"}, capture_output=True, check=False
        )
        expected = datetime.datetime.fromtimestamp(manifest.source_date_epoch, datetime.UTC)
        assert f"Timestamp: {expected:%Y-%m-%d %H:%M:%S}" in done.stdout.decode(), path


def test_accounts_were_made_on_the_day_of_the_source(manifest: Manifest, tools: ToolsTree) -> None:
    argv: list[str | Path] = ["dump.erofs", "--cat", "--path=/etc/shadow", find(manifest, "root")]
    done = subprocess.run(tools.command(argv), capture_output=True, text=True, check=True)
    days = {line.split(":")[2] for line in done.stdout.splitlines()}
    assert days == {str(manifest.source_date_epoch // 86400)}


def test_the_versions_under_test_are_the_versions_shipped(manifest: Manifest) -> None:
    pins = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)$", (PROJECT / "image/python/builder.in").read_text(), re.MULTILINE)
    )
    shipped = {package.name: package.version for package in manifest.packages}
    debian = {
        "base58": "python3-base58",
        "cryptography": "python3-cryptography",
        "dnspython": "python3-dnspython",
        "jinja2": "python3-jinja2",
        "pynacl": "python3-nacl",
        "pyroute2": "python3-pyroute2",
        "pyyaml": "python3-yaml",
        "zeroconf": "python3-zeroconf",
    }
    found = {name: re.split(r"[-+]", shipped[package])[0] for name, package in debian.items()}
    assert found == {name: pins[name] for name in debian}
    assert [(p.name, p.version) for p in manifest.python_packages] == [("pysyncobj", "0.3.17")]
