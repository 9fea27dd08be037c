# SPDX-License-Identifier: Apache-2.0
"""What a formed cluster listens on, and that garbage there changes nothing, whoever sends it."""

import random
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest

from agent.cluster import Phase
from agent.discovery.query_size import query_room
from agent.discovery.serf_records import QueryReceived
from agent.discovery.tags import Announcement, encode, name_node
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from agent.membership.join_request import JoinRequest, seal_request
from harness.waiting import wait_for
from image.toolstree import ToolsTree
from tests.cluster.bundle import Operator
from tests.cluster.bundle import encode as encode_credential
from tests.cluster.gossip import Gossiper
from tests.cluster.machines import FORM_LIMIT, PROJECT, Machine, Machines, members, wait_formed
from tests.cluster.observed import ledger, process, wait_alive, wait_holder, wait_voters

SEED = 5
"""Of the garbage, so that a failure comes again."""
QUERIES = ("cos-form", "cos-join", "cos-blob", "cos-gone", "cos-", "x" * 100)
ROGUE = 9
OPERATOR = Operator(3)
UNMOVED = ("phase", "cluster", "members", "raft", "leases", "removed", "clones", "foreign")


@pytest.fixture(scope="module")
def formed(heap: Machines) -> list[Machine]:
    machines = heap.start(3, encode_credential(OPERATOR.plan))
    wait_formed(machines)
    # Two of them may have founded it: the third gets its vote afterwards.
    wait_voters(machines, 3)
    return machines


@pytest.fixture
def cluster(formed: list[Machine]) -> Iterator[list[Machine]]:
    """Three members; after the test they are as before: same members, leader, term, holder, programs."""
    wait_alive(formed)
    wait_holder(formed, 20)
    before = [state_of(machine) for machine in formed]
    yield formed
    wait_alive(formed)
    assert [state_of(machine) for machine in formed] == before
    for machine in formed:
        assert "an error of the agent itself" not in machine.log()
        assert not machine.status()["error"]


@pytest.fixture
def rogue(heap: Machines, tools: ToolsTree, formed: list[Machine]) -> Iterator[Gossiper]:
    """A Serf with the right gossip key, not started yet, that is no node."""
    gossiper = Gossiper(ROGUE, heap.folder, heap.switch, tools, OPERATOR.plan.gossip_key)
    try:
        yield gossiper
    finally:
        with suppress(ClusterError):
            gossiper.call(gossiper.rpc.leave)
        gossiper.end()
        heap.switch.unplug(ROGUE)


def state_of(machine: Machine) -> object:
    status = machine.status()
    return (
        status["phase"],
        status["cluster"],
        members(machine),
        (status["raft"]["leader"], status["raft"]["term"]),
        [(lease["holder"], lease["epoch"]) for lease in status["leases"]],
        (status["removed"], status["clones"]),
        ledger(machine),
        [process(machine, role) for role in ("agent", "serf", "wireguard")],
    )


def start(rogue: Gossiper, members: list[Machine]) -> None:
    """Start the rogue and have all see it."""
    rogue.start()
    rogue.call(rogue.rpc.join, [f"{machine.address}:7946" for machine in members])
    wait_for("the rogue to see all", lambda: list(rogue.statuses().values()).count("alive") == 4, 20)


def listeners(machine: Machine) -> set[tuple[str, str, int]]:
    """Where programs of the machine listen: protocol, place, port."""
    done = machine.inside("ss", "-Hltun")
    assert done.returncode == 0, done.stderr
    mesh = machine.status()["mesh"]
    places = {"0.0.0.0": "all", "*": "all", "[::]": "all", "127.0.0.1": "loopback", mesh["ipv4"]: "mesh"}
    places[f"[{mesh['ipv6']}]"] = "mesh"
    found = set()
    for line in done.stdout.splitlines():
        protocol, _state, _, _, local, *_ = line.split()
        address, _, port = local.rpartition(":")
        plain = address.partition("%")[0]
        underlay = plain == machine.address or plain.startswith("[fe80:")
        found.add((protocol, "underlay" if underlay else places.get(plain, plain), int(port)))
    return found


def test_there_are_the_expected_listeners_only(cluster: list[Machine]) -> None:
    for machine in cluster:
        assert listeners(machine) == {
            ("tcp", "all", 7946),
            ("udp", "all", 7946),
            ("udp", "all", 51820),
            ("udp", "all", 5353),
            ("udp", "underlay", 5353),
            ("tcp", "loopback", 7373),
            ("tcp", "mesh", 7950),
            ("tcp", "mesh", 7980),
        }


def test_metrics_are_served_on_the_mesh_only(cluster: list[Machine]) -> None:
    here, there = cluster[:2]
    ask = (
        "import sys, urllib.request as r; "
        "print(r.build_opener(r.ProxyHandler({})).open(sys.argv[1], timeout=3).read().decode())"
    )
    url = "http://{}:7980/metrics"
    mesh = there.status()["mesh"]["ipv4"]
    for machine in (here, there):
        done = machine.inside("python3", "-S", "-c", ask, url.format(mesh))
        assert done.returncode == 0, done.stderr
        assert re.search(r"^clusteros_\w*members\{state=\"alive\"\} 3$", done.stdout, re.MULTILINE)
    for machine, address in ((here, there.address), (there, there.address), (there, "127.0.0.1")):
        assert machine.inside("python3", "-S", "-c", ask, url.format(address)).returncode != 0


def test_garbage_on_every_open_port_changes_nothing(cluster: list[Machine]) -> None:
    victim, neighbour, _ = cluster
    mesh = victim.status()["mesh"]["ipv4"]
    targets = [
        (neighbour, "tcp", victim.address, 7946),
        (neighbour, "udp", victim.address, 7946),
        (neighbour, "udp", victim.address, 51820),
        (neighbour, "udp", victim.address, 5353),
        (neighbour, "tcp", mesh, 7950),
        (neighbour, "tcp", mesh, 7980),
        (victim, "tcp", "127.0.0.1", 7373),
    ]
    for sender, kind, address, port in targets:
        program = str(PROJECT / "tests/cluster/garbage.py")
        done = sender.inside("python3", "-S", program, kind, address, str(port), str(SEED))
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["nothing", "noise", "other version", "long", "somebody else's", "no name"])
def test_a_holder_of_the_gossip_key_that_is_no_node_is_no_peer(
    cluster: list[Machine], rogue: Gossiper, what: str
) -> None:
    theirs = encode(
        Announcement(Phase.MEMBER, None, 51820),
        name_node(cluster[0].node_id, cluster[0].hardware),
        cluster[0]._seed,
    )
    tags = {
        "nothing": {},
        "noise": {"v": "1", "p": "\x00\xff", "g": "=" * 40, "w": "99999", "a": ",,,", "o": "2", "s": "!"},
        "other version": {**rogue.settings.tags, "v": "2"},
        "long": {"v": "1", "s": "A" * 480},
        "somebody else's": theirs,
        "no name": dict(rogue.settings.tags),
    }[what]
    name = "localhost" if what == "no name" else rogue.name
    rogue.settings = replace(rogue.settings, name=name, tags=tags)
    start(rogue, cluster)
    wait_ticks(cluster)
    for machine in cluster:
        assert not machine.status()["pending"]
        assert not machine.status()["foreign"]


def wait_ticks(machines: list[Machine]) -> None:
    """Wait until the loop of each has gone round twice."""

    def counts() -> list[int]:
        return [machine.status()["tick"]["count"] for machine in machines]

    before = counts()
    wait_for("ticks", lambda: all(new > old + 1 for new, old in zip(counts(), before, strict=True)), 20)


def test_queries_answers_and_events_of_a_holder_of_the_gossip_key_change_nothing(
    cluster: list[Machine], rogue: Gossiper
) -> None:
    start(rogue, cluster)
    chance = random.Random(SEED)
    for name in QUERIES:
        for size in (0, 1, 33, 97, 300, query_room() - 92):
            rogue.call(rogue.rpc.query, name, chance.randbytes(size), seconds=1.0)
    for name in (*QUERIES, "y" * 50):
        for size in (0, 200, 400):
            # Serf itself refuses events of more than 512 bytes.
            with suppress(ClusterError):
                rogue.call(rogue.rpc.send_event, name, chance.randbytes(size))
    with pytest.raises(ClusterError, match="limit"):
        rogue.call(rogue.rpc.send_event, "z", bytes(513))


def test_a_request_to_join_that_is_repeated_changes_nothing(cluster: list[Machine], rogue: Gossiper) -> None:
    """Who has the gossip key can repeat what a member once asked, and gets what only that one can read."""
    member = cluster[1]
    request = JoinRequest(
        node_id=member.node_id,
        nonce=bytes(16),
        genesis=None,
        ticket=OPERATOR.plan.ticket,
        hardware=member.hardware,
        hostname=identity_of_seed(member._seed).hostname,
    )
    payload = seal_request(member._seed, request)
    start(rogue, cluster)
    for _ in range(5):
        rogue.call(rogue.rpc.query, "cos-join", payload, seconds=1.0)


def test_a_machine_joins_while_a_holder_of_the_gossip_key_answers_everything(
    heap: Machines, formed: list[Machine], rogue: Gossiper
) -> None:
    # A node asks the voters in the order of their names.
    seeds = (number.to_bytes(32) for number in count())
    lowest = min(machine.node_id for machine in formed)
    rogue.seed = next(seed for seed in seeds if identity_of_seed(seed).node_id < lowest)
    rogue.name = name_node(identity_of_seed(rogue.seed).node_id, "0" * 12)
    rogue.settings = replace(
        rogue.settings,
        name=rogue.name,
        tags=encode(
            Announcement(Phase.MEMBER, formed[0].status()["cluster"]["genesis"], 51820, voter=True),
            rogue.name,
            rogue.seed,
        ),
    )
    start(rogue, formed)
    over = threading.Event()
    chance = random.Random(SEED)
    answered = []

    def answer() -> None:
        while not over.is_set():
            with suppress(AssertionError, ClusterError):
                query = rogue.expect(QueryReceived, limit=0)
                rogue.call(rogue.rpc.respond, query.id, chance.randbytes(chance.choice((0, 40, 300, 1000))))
                answered.append(query.name)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        late = heap[4]
        late.give(encode_credential(OPERATOR.plan))
        late.start()
        wait_formed([*formed, late], FORM_LIMIT)
    finally:
        over.set()
        thread.join()
    assert answered, "it was asked nothing"
    assert "an error of the agent itself" not in late.log()
