# SPDX-License-Identifier: Apache-2.0
"""A role of kind servers on real agents and supervisors, with a recorder in the service's place."""

from collections.abc import Iterator

import pytest

from agent.cluster import Servers
from agent.membership.ledger_servers import servers_of
from harness.waiting import wait_for
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.observed import ledger, stays
from tests.cluster.role_machines import Roles, all_events

UNIT = "db.service"
CHOSEN = 40.0
"""Seconds for three servers, one after the other."""
REPLACE_AFTER = 12
"""Seconds that a server may be away here."""
NOTICED = 30.0
"""Seconds until gossip takes a machine for dead, and the next one is chosen and runs."""


@pytest.fixture(scope="module")
def roles(heap: Machines) -> Iterator[list[Roles]]:
    """Five machines with roles, switched off."""
    found = [Roles(heap[number], REPLACE_AFTER) for number in range(1, 6)]
    yield found
    for each in found:
        each.end()


def servers(machine: Machine) -> Servers:
    return servers_of(ledger(machine), "db")


def chosen(machine: Machine, roles: list[Roles]) -> list[str]:
    """The names of the machines that are servers, in order."""
    names = {each.machine.node_id: each.machine.name for each in roles}
    return [names[server.node_id] for server in servers(machine).nodes]


def run_on(roles: list[Roles]) -> set[str]:
    """Where the service runs by what the agents tell."""
    return {each.machine.name for each in roles if each.state("db")[0] == "running"}


def test_three_are_chosen_one_at_a_time_and_one_begins(heap: Machines, roles: list[Roles]) -> None:
    for each in roles:
        each.start()
    # The first one takes its time: nobody joins it before it runs.
    for each in roles:
        each.mark(UNIT, "slow", there=True)
    machines = heap.start(5, encode(make_credential(5)))
    wait_formed(machines)
    wait_for("the first one to start", lambda: all_events(roles), CHOSEN)
    stays("nobody else starts", lambda: len(all_events(roles)) == 1, 5)
    for each in roles:
        each.mark(UNIT, "slow", there=False)
    wait_for("three that run", lambda: len(run_on(roles)) == 3, CHOSEN)
    starts = [event for event in all_events(roles) if event.unit == UNIT]
    assert [event.verb for event in starts] == ["start"] * 3
    assert [event.begins for event in starts] == [True, False, False]
    assert [event.configuration.count("server n-") for event in starts] == [1, 2, 3]
    assert [event.machine for event in starts] == chosen(machines[0], roles)


def others(roles: list[Roles]) -> list[Roles]:
    """Those on which the service does not run, and that are switched on and members."""
    there = run_on(roles)
    return [
        each
        for each in roles
        if each.machine.name not in there and each.machine.status().get("phase") == "member"
    ]


def test_the_others_run_what_does_not_run_with_it(roles: list[Roles]) -> None:
    rest = others(roles)
    wait_for("the client", lambda: all(each.state("client")[0] == "running" for each in rest), CHOSEN)
    clients = {event.machine for event in all_events(roles) if event.unit == "client.service"}
    assert clients == {each.machine.name for each in rest}, "it began nowhere else"
    for each in rest:
        state, reason = each.state("db")
        assert state == "elsewhere"
        assert reason.endswith("have it")


def let_go(roles: list[Roles]) -> list[str]:
    """The host names of which the service let go, on any machine."""
    return [line for each in roles if each.gone.exists() for line in each.gone.read_text().split()]


def tokens(roles: list[Roles]) -> set[bytes]:
    """The tokens of the machines on which the service runs."""
    there = run_on(roles)
    return {(each.folder / "secrets/db.token").read_bytes() for each in roles if each.machine.name in there}


def test_all_have_one_token_and_it_outlasts_a_removal(roles: list[Roles]) -> None:
    before = tokens(roles)
    (token,) = before
    assert len(bytes.fromhex(token.decode())) == 16
    other = others(roles)[0]
    witness = next(each for each in roles if each is not other).machine
    assert witness.command("remove", other.machine.node_id, "--yes").returncode == 0
    wait_for("it to be let go of", lambda: other.hostname in let_go(roles), CHOSEN)
    wait_for("the ledger to say so", lambda: not servers(witness).gone, CHOSEN)
    assert tokens(roles) == before


def test_who_holds_the_role_gives_its_address_away_when_the_service_dies(roles: list[Roles]) -> None:
    def holder() -> str | None:
        witness = next(each.machine for each in roles if each.machine.status().get("phase") == "member")
        found = {lease["role"]: lease["holder"] for lease in witness.status()["leases"]}
        holder: str | None = found.get("db")
        return holder

    before = holder()
    (there,) = [each for each in roles if each.machine.node_id == before]
    there.mark(UNIT, "dead", there=True)
    wait_for("another holder", lambda: holder() not in (None, before), NOTICED)
    there.mark(UNIT, "dead", there=False)
    wait_for("three that run", lambda: len(run_on(roles)) == 3, 70)
    assert not any(event.begins for event in all_events(roles)[1:])


def test_one_that_is_away_is_waited_for_and_then_replaced(roles: list[Roles]) -> None:
    (spare,) = others(roles)
    there = [each for each in roles if each.machine.name in run_on(roles)]
    before = chosen(there[0].machine, roles)
    lost = next(each for each in roles if each.machine.name == before[-1])
    witness = next(each for each in roles if each.machine.name == before[0]).machine
    lost.cut_power()
    stays("nobody is replaced at once", lambda: chosen(witness, roles) == before, REPLACE_AFTER - 4)
    wait_for(
        "another one in its place",
        lambda: spare.machine.name in run_on([spare]) and len(chosen(witness, roles)) == 3,
        NOTICED + REPLACE_AFTER,
    )
    assert chosen(witness, roles) == [*before[:2], spare.machine.name]
    assert lost.hostname in let_go(roles), "the role let go of it before the other one joined"
    # It comes back as an ordinary member, and its service does not run there.
    lost.start()
    lost.machine.start()
    wait_for("it to have the other role", lambda: lost.state("client")[0] == "running", CHOSEN)
    assert lost.machine.name not in run_on(roles)
    assert sum(event.begins for event in all_events(roles)) == 1


def test_who_leaves_gives_up_its_work_first(roles: list[Roles]) -> None:
    (other,) = [each for each in others(roles) if each.state("client")[0] == "running"]
    (other.folder / "busy").touch()
    done = other.machine.command("leave", "--yes")
    assert "leaves when client gave up its work here" in done.stdout, done.stderr
    wait_for("it to be at it", lambda: other.state("client")[0] == "stopping", CHOSEN)
    stays("it is a member still", lambda: other.machine.status()["phase"] == "member", 3)
    done_there = [event.verb for event in other.events() if event.unit == "client.service"]
    assert done_there[-1] == "start", done_there
    (other.folder / "busy").unlink()
    wait_for("it to be out", lambda: other.machine.status()["phase"] == "removed", CHOSEN)
    assert [event.unit for event in other.events() if event.verb == "stop"][-1] == "client.service"


def test_nobody_else_begins_when_the_first_dies_before_it_said_that_it_runs(machines: Machines) -> None:
    roles = [Roles(machines[number], REPLACE_AFTER) for number in range(1, 5)]
    try:
        for each in roles:
            each.start()
            each.mark(UNIT, "slow", there=True)
        wait_formed(machines.start(4, encode(make_credential(4))))
        wait_for("the first one to start", lambda: all_events(roles), CHOSEN)
        (event,) = all_events(roles)
        assert event.begins
        (first,) = [each for each in roles if each.machine.name == event.machine]
        rest = [each for each in roles if each is not first]
        first.cut_power()
        for each in rest:
            each.mark(UNIT, "slow", there=False)
        stays("nobody else begins", lambda: len(all_events(roles)) == 1, REPLACE_AFTER + 3)
        witness = rest[0].machine
        refused = witness.command("role", "reset", "db", "--yes")
        assert refused.returncode == 1
        assert "may have the data of db" in refused.stderr
        assert witness.command("remove", first.machine.node_id, "--yes").returncode == 0
        stays("nobody begins by itself", lambda: len(all_events(roles)) == 1, 3)
        wait_for("it to be told", lambda: "role reset" in rest[0].state("db")[1], NOTICED)
        assert witness.command("role", "reset", "db", "--yes").returncode == 0
        wait_for("three that run", lambda: len(run_on(rest)) == 3, CHOSEN)
        # The first one comes back with what it knew then, and nobody to tell it otherwise.
        machines.switch.cut(first.machine.number)
        first.start()
        first.machine.start()
        wait_for("it to be a member in its own eyes", lambda: first.state("db")[0], NOTICED)
        stays("it begins nothing", lambda: len(first.events()) == 1, 10)
        beginnings = [event for event in all_events(roles) if event.begins]
        assert [event.configuration.count("generation 1") for event in beginnings] == [1, 0]
    finally:
        for each in roles:
            each.end()
