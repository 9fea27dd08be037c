# SPDX-License-Identifier: Apache-2.0
"""Secure Boot and TPM: our key boots, a stranger's does not, and a disk without its TPM is worth nothing."""

import datetime
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness import disks
from harness.lab import Lab
from harness.machine import Machine
from harness.model import Firmware, Json, NodeSpec
from image.partitions import Partition, read_partitions
from image.toolstree import ToolsTree


@pytest.fixture(scope="module")
def firmware(image: Path) -> Firmware:
    """Firmware that trusts the key of the image, and no other."""
    return Firmware(secure_boot=True, certificate=image.with_name("secureboot.crt"))


@pytest.fixture(scope="module")
def guarded(lab: Lab, firmware: Firmware) -> Machine:
    """node1, with a TPM and Secure Boot on, booted."""
    machine = lab.start(NodeSpec("node1", tpm=True, firmware=firmware))
    machine.wait_ready()
    machine.system_state()
    return machine


def node_info(machine: Machine) -> Json:
    return json.loads(machine.run("node-agent", "info", "--json"))


def test_the_image_boots_where_only_our_key_is_trusted(guarded: Machine) -> None:
    assert guarded.system_state() == "running"
    assert node_info(guarded)["facts"]["firmware"]["secure_boot"] is True
    assert "[integrity]" in guarded.read("/sys/kernel/security/lockdown")


def test_with_a_tpm_var_is_encrypted_and_the_identity_sealed(guarded: Machine) -> None:
    source = guarded.run("findmnt", "--noheadings", "--output=SOURCE", "/var")
    assert guarded.run("lsblk", "--noheadings", "--nodeps", "--output=TYPE", source) == "crypt"
    info = node_info(guarded)
    assert info["facts"]["tpm"] is not None
    assert info["key_protection"] == "tpm2"
    again = "tpm2_createek -c /run/ek.ctx -G rsa -f der -u /run/ek.der && sha256sum /run/ek.der"
    assert info["endorsement_key"] == "ek:" + guarded.run("sh", "-ec", again).split()[0]
    assert guarded.execute(["node-agent", "sign"], stdin=b"hello").status == 0


def test_the_tpm_opens_var_again_after_a_power_cut_and_the_disk_tells_nothing(
    lab: Lab, guarded: Machine
) -> None:
    before = node_info(guarded)["node_id"]
    guarded.run("sync")
    guarded.power_cut()
    assert before.encode() not in guarded.paths.disk.read_bytes()
    lab.start(guarded.spec)
    guarded.wait_ready()
    assert guarded.system_state() == "running"
    assert node_info(guarded)["node_id"] == before
    guarded.shutdown()


@pytest.mark.console("failed unit", "emergency shell")
def test_the_disk_in_a_machine_with_another_tpm_is_not_opened(lab: Lab, guarded: Machine) -> None:
    guarded.shutdown()
    shutil.rmtree(guarded.paths.tpm)
    lab.start(guarded.spec)
    guarded.wait_console("the TPM does not open")
    guarded.power_cut()
    assert "clusteros-firstboot" not in guarded.console_text()


def test_a_kernel_image_signed_with_a_strangers_key_is_refused(
    lab: Lab, firmware: Firmware, tools: ToolsTree, tmp_path: Path
) -> None:
    machine = lab.make(NodeSpec("node2", firmware=firmware))
    esp = _partition(lab.group.base, "esp")
    changed = tmp_path / "esp.raw"
    _copy(lab.group.base, esp, changed)
    names = _run(tools, "mdir", "-b", "-i", changed, "::/EFI/Linux").split()
    assert len(names) == 1, f"expected one kernel image: {names}"
    kernel = tmp_path / "kernel.efi"
    _run(tools, "mcopy", "-n", "-i", changed, names[0], kernel)
    _sign_as_stranger(tools, kernel, tmp_path)
    _run(tools, "mcopy", "-o", "-i", changed, kernel, names[0])
    disks.write_at(tools, machine.paths.disk, esp.offset, changed.read_bytes())

    lab.start(machine.spec)
    machine.wait_console("Access [Dd]enied|Security [Vv]iolation", limit=120)
    machine.power_cut()
    assert "Linux version" not in machine.console_text()


def _partition(disk: Path, kind: str) -> Partition:
    return next(partition for partition in read_partitions(disk).partitions if partition.type == kind)


def _copy(disk: Path, partition: Partition, target: Path) -> None:
    with disk.open("rb") as file:
        file.seek(partition.offset)
        target.write_bytes(file.read(partition.size))


def _sign_as_stranger(tools: ToolsTree, kernel: Path, folder: Path) -> None:
    """Replace the signature of a kernel image by one of a key that was made just now."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stranger.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "crt").write_bytes(certificate.public_bytes(pem))
    _run(tools, "sbattach", "--remove", kernel)
    _run(tools, "sbsign", "--key", folder / "key", "--cert", folder / "crt", "--output", kernel, kernel)


def _run(tools: ToolsTree, *argv: str | Path) -> str:
    done = subprocess.run(tools.command(argv), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv[0]}: {done.stderr}"
    return done.stdout
