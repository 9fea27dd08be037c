# SPDX-License-Identifier: Apache-2.0
"""Where roles may run, who gets them, what the supervisor is told."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.cluster import Lease, Ledger, Member, Peer, Secret, Server, Servers
from agent.errors import ClusterError
from agent.facts import read_facts
from agent.identity import identity_of_seed
from agent.membership.addresses import mesh_network, role_ipv6
from agent.membership.secrets import seal_for
from agent.roles import secret
from agent.roles.candidates import COORDINATOR, list_candidates
from agent.roles.composition import (
    compose_order,
    find_conflicts,
    list_addresses,
    list_ordered,
    list_served,
)
from agent.roles.order import Host, Order, OrderedRole, ServerGroup, decode_order, encode_order
from agent.roles.placement import find_obstacle
from agent.roles.render import render
from agent.roles.role import Form, Kind, Placement, Role, SharedSecret
from agent.roles.role_file import read_role
from agent.service.duties import list_secrets
from agent.service.server_roles import ServerRoles
from agent.tree import Tree
from tests.small_cluster import make_genesis
from tests.test_role_file import FOLDERS

PROJECT = Path(__file__).parent.parent
SEEDS = {identity_of_seed(bytes([n]) * 32).node_id: bytes([n]) * 32 for n in range(1, 5)}
NODES = sorted(SEEDS)
CLUSTER = "abcdefghijklmnopqrstuvwxyz"
FACTS = read_facts(Tree())


def ledger(**changes: object) -> Ledger:
    members = {node: Member(node, "0" * 11 + str(n), f"10.86.0.{n}", None, 0) for n, node in enumerate(NODES)}
    made = Ledger(genesis="0" * 64, members=members, voters=tuple(NODES[:3]))
    return replace(made, **changes)  # type: ignore[arg-type]


def peer(number: int, *roles: str, alive: bool = True) -> Peer:
    node = NODES[number]
    hardware = "0" * 11 + str(number)
    name = f"{node}.{hardware}"
    return Peer(name, node, hardware, "192.0.2.1", alive, "m", None, 51820, (), number < 3, 0.0, roles)


def role(name: str = "queue", **changes: object) -> Role:
    made = Role(
        name,
        PROJECT,
        Kind.LEADER,
        "",
        Placement(),
        (),
        (SharedSecret(f"{name}/key", 32),),
        (),
        (f"{name}.service",),
        None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_machine_that_lacks_something_is_told_what() -> None:
    few = FACTS._replace(memory_bytes=512 << 20, gpus=(), cpu=FACTS.cpu._replace(threads=1))
    assert find_obstacle(Placement(), few, ()) is None
    assert find_obstacle(Placement(cores=2), few, ()) == "needs 2 cores, and has 1"
    assert find_obstacle(Placement(memory=1024), few, ()) == "needs 1024 MiB of memory, and has 512"
    assert find_obstacle(Placement(gpu=True), few, ()) == "needs a GPU"
    assert "needs a machine of riscv64" in str(find_obstacle(Placement(architectures=("riscv64",)), few, ()))
    assert "ssd" in str(find_obstacle(Placement(labels=("ssd",)), few, ("rack-2",)))
    assert find_obstacle(Placement(labels=("ssd",)), few, ("ssd",)) is None


def test_candidates_are_the_living_members_that_announce_the_role() -> None:
    me = NODES[0]
    peers = [peer(1, "queue"), peer(2), peer(3, "queue"), replace(peer(3, "queue"), hardware="f" * 12)]
    found = list_candidates(me, ["queue"], ledger(), peers)
    assert found == {COORDINATOR: NODES[:3], "queue": [NODES[0], NODES[1], NODES[3]]}
    dead = [replace(each, alive=False) for each in peers]
    assert list_candidates(me, [], ledger(), dead) == {COORDINATOR: [me]}


def test_roles_are_spread() -> None:
    peers = [peer(1, "hub", "queue"), peer(2, "hub", "queue")]
    found = list_candidates(NODES[0], ["hub", "queue"], ledger(), peers)
    assert found["hub"][0] != found["queue"][0]
    leases = {"hub": Lease("hub", NODES[0], 1, 1)}
    again = list_candidates(NODES[0], ["hub", "queue"], ledger(leases=leases), peers)
    assert again["queue"][-1] == NODES[0]


def test_the_address_of_a_role_is_where_its_holder_is() -> None:
    leases = {
        "queue": Lease("queue", NODES[1], 4, 1),
        "hub": Lease("hub", NODES[0], 2, 1),
        "lost": Lease("lost", None, 2, 1),
        COORDINATOR: Lease(COORDINATOR, NODES[1], 1, 1),
    }
    address = str(role_ipv6(CLUSTER, "queue"))
    assert role_ipv6(CLUSTER, "queue") in mesh_network(CLUSTER)
    assert list_addresses(CLUSTER, ledger(leases=leases), NODES[0], ()) == {NODES[1]: (address,)}
    # This node's own address follows what it may do now, not what the ledger says.
    mine = list_addresses(CLUSTER, ledger(leases=leases), NODES[1], ["queue", COORDINATOR])
    assert mine == {NODES[1]: (address,), NODES[0]: (str(role_ipv6(CLUSTER, "hub")),)}


def test_a_secret_is_made_given_to_who_comes_and_made_anew_when_somebody_goes() -> None:
    roles = {"queue": role()}
    held = {"queue": Lease("queue", NODES[0], 1, 1)}
    (first,) = list_secrets(NODES[0], ledger(leases=held), roles, {})
    assert first.anew
    assert list_secrets(NODES[1], ledger(leases=held), roles, {}) == ()
    content = secret.make(first.secret, ledger())
    sealed = seal_for(content, NODES[:3])
    before = ledger(leases=held, secrets={"queue/key": Secret("queue/key", 1, sealed, "queue")})
    for node in NODES[:3]:
        found = secret.read(before, "queue/key", node, SEEDS[node])
        assert found == (0, content[8:])
    assert secret.read(before, "queue/key", NODES[3], SEEDS[NODES[3]]) is None
    (again,) = list_secrets(NODES[0], before, roles, {"queue/key": 0})
    assert not again.anew
    all_have = replace(
        before, secrets={"queue/key": Secret("queue/key", 2, seal_for(content, NODES), "queue")}
    )
    assert list_secrets(NODES[0], all_have, roles, {"queue/key": 0}) == ()
    one_gone = replace(all_have, removed={"x": 7})
    (anew,) = list_secrets(NODES[0], one_gone, roles, {"queue/key": 0})
    assert anew.anew


def test_a_secret_that_cannot_be_changed_outlasts_a_removal() -> None:
    token = SharedSecret("queue/key", 16, Form.HEX, renewed=False)
    roles = {"queue": role(kind=Kind.SERVERS, secrets=(token,))}
    content = secret.make(token, ledger())
    assert len(bytes.fromhex(content[8:].decode())) == 16
    sealed = {"queue/key": Secret("queue/key", 1, seal_for(content, NODES), "queue")}
    one_gone = ledger(
        leases={"queue": Lease("queue", NODES[0], 1, 1)}, secrets=sealed, removed={"x": 7, "y": 8}
    )
    assert list_secrets(NODES[0], one_gone, roles, {"queue/key": 0}) == ()
    (unknown,) = list_secrets(NODES[0], one_gone, roles, {})
    assert unknown.anew, "nobody can open it"


def serving(*nodes: str, begun: bool = True, gone: tuple[str, ...] = ()) -> Ledger:
    servers = tuple(Server(node, 7 + number, ready=begun) for number, node in enumerate(nodes))
    return ledger(servers={"db": Servers("db", 1, nodes[0], begun, servers, gone)})


def test_a_server_that_was_off_begins_nothing_by_an_old_ledger() -> None:
    roles = {"db": role("db", kind=Kind.SERVERS), "queue": role()}
    assert list_served(roles, serving(NODES[0], begun=False), NODES[0], fresh=False) == ()
    mine = (OrderedRole("db", 7, None),)
    assert list_served(roles, serving(NODES[0], begun=False), NODES[0], fresh=True) == mine
    assert list_served(roles, serving(NODES[0]), NODES[0], fresh=False) == mine
    assert list_served(roles, serving(NODES[0]), NODES[1], fresh=True) == ()
    # Its lease, which is for its address, starts nothing.
    assert list_ordered(roles, {}, [("db", 3, 17.0), ("queue", 2, 17.0)]) == (OrderedRole("queue", 2, 17.0),)


def test_what_excludes_a_server_waits_where_one_is_was_or_comes() -> None:
    roles = {"db": role("db", kind=Kind.SERVERS), "client": role("client", kind=Kind.EVERY, unless=("db",))}
    known = serving(NODES[0], gone=(NODES[1],))
    found = [find_conflicts(roles, known, node, ()).get("client") for node in NODES[:3]]
    assert found == ["it has db", "db has not let go of it yet", None]
    assert find_conflicts(roles, known, NODES[2], ["db"]) == {"client": "it may get db"}
    assert find_conflicts(roles, ledger(), NODES[0], ()) == {}


def test_who_was_chosen_just_now_begins_nothing_that_must_not_run_beside() -> None:
    """The ledger that the tick follows may be the one before."""
    servers = ServerRoles(NODES[0], {"db": role("db", kind=Kind.SERVERS, count=3)})
    able = {"db": NODES[:3]}
    comings = []
    for known in (ledger(), serving(NODES[1]), serving(NODES[0], NODES[1]), serving(*NODES[1:4])):
        servers.look_ahead(known, able)
        comings.append(servers.coming)
    assert comings == [("db",), ("db",), ("db",), ()]


def test_an_order_names_servers_and_who_went_to_who_lets_go() -> None:
    known = serving(NODES[1], NODES[0], gone=(NODES[3],))
    for cleans in ((), ("db",)):
        made = compose_order(NODES[0], make_genesis(), known, (), {}, cleans=cleans)
        assert decode_order(encode_order(made)) == made
        (group,) = made.servers
        assert [host.node_id for host in group.nodes] == [NODES[1], NODES[0]]
        assert (group.first, group.address) == (NODES[1], str(role_ipv6(made_id(), "db")))
        assert [each.node_id for each in made.gone] == ([NODES[3]] if cleans else [])


def made_id() -> str:
    return make_genesis().cluster_id


def order(*roles: OrderedRole) -> Order:
    me = Host(NODES[0], "n-abcdefghij", "10.86.0.1", "fd00::1", voter=True)
    return Order("lab", "10.86.0.0/16", "fd00::/64", me, (me,), (), roles, ())


def test_an_order_arrives_as_it_was_given_and_nothing_else_does() -> None:
    given = order(OrderedRole("queue", 3, 17.5), OrderedRole("worker", 0, None))
    line = encode_order(given)
    assert decode_order(line) == given
    for changed in (
        line[:-1],
        line.replace(b'"version": 1', b'"version": 2'),
        line.replace(b"n-abcdefghij", b"evil name\\nx"),
        line.replace(b"fd00::1", b"fd00::1; rm"),
        line.replace(b'"queue"', b'"../etc"'),
        b"[]\n",
        b"",
    ):
        with pytest.raises(ClusterError):
            decode_order(changed)


def test_the_templates_of_all_roles_render() -> None:
    for folder in FOLDERS:
        found = read_role(folder)
        holders: list[dict[str, object]] = [
            {"role": name, "hostname": "n-abcdefghij", "node_id": NODES[0], "address": "fd00::7", "epoch": 1}
            for name in ("slurm-controller", "jupyterhub", "coordinator")
        ]
        group = ServerGroup("k3s-server", 1, NODES[0], begun=False, address="fd00::8", nodes=())
        given = encode_order(replace(order(), servers=(group,))).replace(b'"holders": []', _json(holders))
        whole = decode_order(given)
        files = render(found, whole, FACTS, 1, lambda name: f"/run/{name}")
        assert files.keys() == {file.path for file in found.files}
        assert all(b"{{" not in content for content in files.values())


def test_a_name_that_a_template_does_not_have_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    folder.mkdir()
    (folder / "x.j2").write_text("{{ nothing }}")
    (folder / "role.yaml").write_text(
        "{version: 1, kind: every, description: x, units: [], files: [{path: /run/x, template: x.j2}]}"
    )
    with pytest.raises(ClusterError, match=r"role example: x\.j2: 'nothing' is undefined"):
        render(read_role(folder), order(), FACTS, 0, str)


def _json(holders: list[dict[str, object]]) -> bytes:
    import json  # noqa: PLC0415

    return b'"holders": ' + json.dumps(holders).encode()
