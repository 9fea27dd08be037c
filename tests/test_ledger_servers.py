# SPDX-License-Identifier: Apache-2.0
"""Roles of kind servers in the ledger: who begins them, once, and who may join."""

import pytest

from agent.cluster import Server
from agent.membership import commands
from agent.membership.ledger_file import decode_ledger, encode_ledger
from agent.membership.ledger_servers import MAX_SERVERS
from tests.small_cluster import FOUNDERS, NODES, Log, make_genesis

ONE, TWO, THREE = FOUNDERS
STRANGER = NODES[7]


@pytest.fixture
def log() -> Log:
    """A cluster of three founders, of policy auto."""
    return Log(make_genesis())


def choose(log: Log, node: str) -> bytes:
    return commands.servers_choose(log.ledger, "db", node)


def run(log: Log, *nodes: str) -> None:
    """Have these nodes chosen, each of them running before the next."""
    for node in nodes:
        log.apply(choose(log, node))
        log.apply(commands.servers_ready(log.ledger, "db", node))


def names(log: Log) -> list[str]:
    return [server.node_id for server in log.ledger.servers["db"].nodes]


def test_the_first_begins_and_the_others_join_one_at_a_time(log: Log) -> None:
    log.apply(choose(log, TWO))
    servers = log.ledger.servers["db"]
    assert (servers.first, servers.begun) == (TWO, False)
    assert servers.nodes == (Server(TWO, log.ledger.revision, ready=False),)
    log.refuse(choose(log, ONE), "nobody has the data of db")
    log.apply(commands.servers_ready(log.ledger, "db", TWO))
    assert log.ledger.servers["db"].begun
    log.apply(choose(log, ONE))
    log.refuse(choose(log, THREE), "added one at a time")
    log.apply(commands.servers_ready(log.ledger, "db", ONE))
    log.apply(choose(log, THREE))
    assert names(log) == [TWO, ONE, THREE]
    assert log.ledger.servers["db"].first == TWO


def test_nobody_else_begins_when_the_first_dies_before_anybody_joined(log: Log) -> None:
    log.apply(choose(log, ONE))
    log.refuse(commands.servers_drop(log.ledger, "db", ONE), "may be the only one that has the data")
    log.refuse(commands.servers_reset("db", 1), f"{ONE} may have the data of db")
    log.apply(commands.remove(ONE))
    assert log.ledger.servers["db"].first == ONE
    log.refuse(choose(log, TWO), "nobody has the data of db")
    # The operator's way out: it was removed for good, so what it had is lost.
    log.apply(commands.servers_reset("db", 1))
    log.refuse(commands.servers_reset("db", 2), "has not begun")
    log.apply(choose(log, TWO))
    servers = log.ledger.servers["db"]
    assert (servers.generation, servers.first, servers.begun) == (2, TWO, False)


def test_a_role_does_not_begin_anew_while_somebody_may_have_its_data(log: Log) -> None:
    run(log, ONE, TWO)
    log.refuse(commands.servers_reset("db", 1), "may have the data")
    log.apply(commands.remove(ONE))
    log.refuse(commands.servers_reset("db", 1), f"{TWO} may have the data")
    log.refuse(commands.servers_drop(log.ledger, "db", TWO), "the only one that has the data")
    log.apply(commands.remove(TWO))
    log.refuse(choose(log, THREE), "nobody has the data")
    log.refuse(commands.servers_reset("db", 2), "in generation 1 by now")
    log.refuse(commands.servers_reset("mail", 1), "is no role of kind servers")
    log.apply(commands.servers_reset("db", 1))
    assert log.ledger.servers["db"].gone == ()


def test_who_saw_other_servers_changes_nothing(log: Log) -> None:
    run(log, ONE)
    late = choose(log, THREE), commands.servers_drop(log.ledger, "db", ONE)
    run(log, TWO)
    for command in late:
        log.refuse(command, "are others by now")


def test_a_dropped_server_is_let_go_of_before_it_is_chosen_again(log: Log) -> None:
    run(log, ONE, TWO, THREE)
    log.apply(commands.servers_drop(log.ledger, "db", TWO))
    assert names(log) == [ONE, THREE]
    assert log.ledger.servers["db"].gone == (TWO,)
    log.refuse(choose(log, TWO), "has not let go")
    log.apply(commands.servers_let_go(log.ledger, "db", TWO))
    log.refuse(commands.servers_let_go(log.ledger, "db", TWO), "has let go of")
    since = log.ledger.revision
    log.apply(choose(log, TWO))
    server = log.ledger.servers["db"].find(TWO)
    assert server is not None
    assert (server.since, server.ready) == (since + 1, False)


def test_each_removed_member_is_let_go_of_be_it_a_server_or_not(log: Log) -> None:
    log.admit(NODES[4])
    run(log, ONE)
    log.apply(commands.remove(NODES[4]))
    log.apply(commands.remove(TWO))
    assert log.ledger.servers["db"].gone == tuple(sorted((NODES[4], TWO)))


def test_only_members_are_servers_and_few(log: Log) -> None:
    log.refuse(choose(log, STRANGER), "is no member")
    run(log, ONE)
    log.refuse(choose(log, ONE), "is a server of db already")
    log.refuse(commands.servers_ready(log.ledger, "db", ONE), "of which nothing was heard yet")
    log.refuse(commands.servers_ready(log.ledger, "db", TWO), "no server of db")
    log.refuse(commands.servers_drop(log.ledger, "db", TWO), "is no server")
    log.admit(*NODES[3:])
    run(log, TWO, THREE, *NODES[3:MAX_SERVERS])
    log.refuse(choose(log, NODES[7]), f"{MAX_SERVERS} servers")


def test_servers_are_kept_in_the_ledgers_file(log: Log) -> None:
    run(log, ONE, TWO, THREE)
    log.apply(commands.servers_drop(log.ledger, "db", TWO))
    assert decode_ledger(encode_ledger(log.ledger), "FILE") == log.ledger
