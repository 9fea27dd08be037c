# SPDX-License-Identifier: Apache-2.0
"""Where other members were last seen, and who of them is back before gossip knows it."""

from dataclasses import replace
from pathlib import Path

from agent.cluster import Ledger, Member, Peer
from agent.identity import identity_of_seed
from agent.mesh.plan import wireguard_key
from agent.mesh.sessions import LIVE_SECONDS, Session
from agent.service.contacts import WRITE_AGAIN, Contacts
from agent.service.meshing import MeshView

PORT = 7946
A, B = (identity_of_seed(bytes([number]) * 32).node_id for number in (1, 2))
MEMBERS = {node: Member(node, "0" * 12, f"10.77.0.{i}", None, i) for i, node in enumerate((A, B), 1)}
LEDGER = Ledger(genesis="3f" * 32, members=MEMBERS)
GOSSIP = Peer(
    name=f"{A}.{'0' * 12}",
    node_id=A,
    hardware="0" * 12,
    address="192.0.2.1",
    alive=True,
    phase="m",
    genesis="3f" * 32,
    wireguard_port=51820,
    addresses=(),
    voter=False,
    seen=0.0,
)


def mesh(handshake: int | None, since: float, address: str = "192.0.2.1") -> MeshView:
    """A mesh in which A was heard at that time."""
    return MeshView(sessions={wireguard_key(A): Session(handshake, since, (address, 51820))})


def contacts(folder: Path) -> Contacts:
    return Contacts(folder / "contacts.json")


def test_a_member_that_the_mesh_reaches_and_gossip_does_not_is_joined_once_for_each_handshake(
    tmp_path: Path,
) -> None:
    noted = contacts(tmp_path)
    noted.note([], mesh(100, 10.0), LEDGER, 11.0)
    assert noted.take_back(PORT) == ("192.0.2.1:7946",)
    noted.note([], mesh(100, 10.0), LEDGER, 12.0)
    assert noted.take_back(PORT) == ()
    noted.note([], mesh(130, 40.0, "192.0.2.9"), LEDGER, 41.0)
    assert noted.take_back(PORT) == ("192.0.2.9:7946",)
    assert noted.take_back(PORT) == ()


def test_who_is_in_the_gossip_or_not_on_the_mesh_is_not_back(tmp_path: Path) -> None:
    noted = contacts(tmp_path)
    noted.note([GOSSIP], mesh(100, 10.0), LEDGER, 11.0)
    noted.note([], mesh(None, 10.0), LEDGER, 12.0)
    noted.note([], mesh(100, 10.0), LEDGER, 10.0 + LIVE_SECONDS)
    noted.note([], MeshView(), LEDGER, 14.0)
    assert noted.take_back(PORT) == ()


def test_a_dead_member_or_its_clone_in_the_gossip_hides_nobody_who_is_back(tmp_path: Path) -> None:
    noted = contacts(tmp_path)
    others = [replace(GOSSIP, alive=False), replace(GOSSIP, hardware="f" * 12)]
    noted.note(others, mesh(100, 10.0), LEDGER, 11.0)
    assert noted.take_back(PORT) == ("192.0.2.1:7946",)


def test_who_is_away_is_remembered_also_after_a_restart(tmp_path: Path) -> None:
    noted = contacts(tmp_path)
    noted.note([GOSSIP], MeshView(), LEDGER, 11.0)
    noted.note([], MeshView(), LEDGER, 11.0 + WRITE_AGAIN)
    assert noted.gossip_addresses(PORT) == ("192.0.2.1:7946",)
    assert contacts(tmp_path).gossip_addresses(PORT) == ("192.0.2.1:7946",)


def test_who_was_removed_is_forgotten(tmp_path: Path) -> None:
    noted = contacts(tmp_path)
    noted.note([GOSSIP], MeshView(), LEDGER, 11.0)
    noted.note([GOSSIP], mesh(100, 10.0), replace(LEDGER, members={B: MEMBERS[B]}), 11.0 + WRITE_AGAIN)
    assert noted.gossip_addresses(PORT) == ()
    assert noted.take_back(PORT) == ()
    assert contacts(tmp_path).gossip_addresses(PORT) == ()


def test_a_damaged_file_holds_nothing(tmp_path: Path) -> None:
    for content in (b"", b"[", b"[1]", b'{"a": 1}', b'{"a": [["host"]]}', b'{"a": [["host", "x"]]}'):
        (tmp_path / "contacts.json").write_bytes(content)
        assert contacts(tmp_path).gossip_addresses(PORT) == ()
