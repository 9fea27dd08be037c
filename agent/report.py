# SPDX-License-Identifier: Apache-2.0
"""What `node-agent info` and `node-agent status` say about this node. Reads only; changes nothing."""

from pathlib import Path
from typing import Any

from agent import endorsement, facts, keystore, record
from agent.errors import ClusterError
from agent.identity_file import StoredIdentity
from agent.model import Facts
from agent.state import State
from agent.tree import Tree

NO_IDENTITY_HINT = "first boot makes one; to make one by hand: node-agent init"


def read_info(state: State, tree: Tree) -> tuple[dict[str, Any], Facts]:
    """Return what is known of this node in plain JSON types, null for what is not there, and its hardware.

    Raises ClusterError when there is an identity file that cannot be used.
    """
    stored = keystore.load(state.identity)
    identity = stored.identity if stored else None
    release = _os_release(tree)
    hardware = facts.read_facts(tree)
    key = endorsement.load(state.endorsement)
    info = {
        "node_id": identity and identity.node_id,
        "fingerprint": identity and identity.fingerprint,
        "hostname": identity and identity.hostname,
        "wireguard_public_key": identity and identity.wireguard_public_key,
        "key_protection": stored and stored.protection,
        "endorsement_key": key and f"ek:{key}",
        "machine_id": tree.text("etc/machine-id"),
        "image": {"id": release.get("IMAGE_ID"), "version": release.get("IMAGE_VERSION")},
        "facts": facts.to_dict(hardware, live=True),
    }
    return info, hardware


def show_info(info: dict[str, Any], hardware: Facts) -> str:
    """Return the information as lines for people."""
    image = " ".join(value for value in info["image"].values() if value)
    lines = [
        ("node ID", info["node_id"] or f"none yet ({NO_IDENTITY_HINT})"),
        ("fingerprint", info["fingerprint"]),
        ("host name", info["hostname"]),
        ("WireGuard key", info["wireguard_public_key"]),
        ("key", {"tpm2": "sealed to the TPM", "none": "file, not sealed"}.get(info["key_protection"])),
        ("TPM", info["endorsement_key"]),
        ("machine id", info["machine_id"]),
        ("image", image or None),
        ("processor", hardware.cpu.model),
        ("hardware", facts.summarise(hardware)),
    ]
    lines += [
        ("disk", _join(d.name, facts.show_bytes(d.size_bytes), d.transport, d.model)) for d in hardware.disks
    ]
    lines += [
        ("NIC", _join(n.name, n.mac, n.driver, n.speed_mbps and f"{n.speed_mbps} Mbit/s"))
        for n in hardware.nics
    ]
    lines += [("GPU", _join(g.address, f"{g.vendor}:{g.device}", g.driver)) for g in hardware.gpus]
    return "\n".join(f"{label:<15}{value}" for label, value in lines if value)


def read_status(state: State, root: Path) -> dict[str, Any]:
    """Return where this node stands in plain JSON types, with one sentence for people.

    Raises ClusterError when there is an identity that cannot be used, or none where there was one.
    """
    stored = keystore.load(state.identity)
    identity = stored.identity if stored else None
    complete = record.check(_read(state.record), identity, str(state.record))
    if identity is None:
        sentence = f"no identity yet: {NO_IDENTITY_HINT}"
    elif not complete:
        sentence = f"node {identity.node_id}: it has an identity, and first boot has not completed here"
    else:
        sentence = f"node {identity.node_id} ({identity.hostname}) is set up"
    note = _note(stored, keystore.find_tpm(root))
    return {
        "state_folder": str(state.folder),
        "node_id": identity and identity.node_id,
        "key_protection": stored and stored.protection,
        "first_boot_complete": complete,
        "sentence": sentence + (f"; {note}" if note else ""),
    }


def _note(stored: StoredIdentity | None, tpm: str | None) -> str:
    """Return what to know about a key that does not go with the TPM of this machine."""
    if stored and stored.protection == "tpm2" and tpm is None:
        return (
            "its key is sealed to a TPM that this machine does not show, so it cannot sign: see the firmware"
        )
    if stored and stored.protection == "none" and tpm is not None:
        return "its key was made before this machine showed a TPM, and is not sealed"
    return ""


def _os_release(tree: Tree) -> dict[str, str]:
    """Return /etc/os-release: os-release(5), shell-like assignments."""
    lines = (tree.text("etc/os-release") or "").splitlines()
    pairs = (line.partition("=") for line in lines if line[:1] != "#")
    return {key: value.strip("\"'") for key, _, value in pairs}


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or '').lower()}", hint="run as root"
        ) from None


def _join(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)
