# SPDX-License-Identifier: Apache-2.0
"""A small made-up cluster for tests of the membership: operator, nodes, credential, genesis."""

from collections.abc import Iterable
from functools import lru_cache

from agent.cluster import Certificate, Credential, Genesis, Ledger, Policy
from agent.formation.genesis import digest_allowlist
from agent.identity import identity_of_seed
from agent.membership import commands
from agent.membership.certificate import issue_certificate
from agent.membership.ledger import Result, begin, reduce
from agent.membership.secrets import derive_raft_password, seal_for
from agent.membership.ticket import sign_ticket

CLUSTER = "abcdefghijklmnopqrstuvwxyz"
OPERATOR, ADMISSION = b"\xaa" * 32, b"\xbb" * 32
GOSSIP_KEY = b"gossip key of thirty-two bytes.."
RAFT_PASSWORD = derive_raft_password(ADMISSION)
SEEDS = {identity_of_seed(seed).node_id: seed for seed in (bytes([n]) * 32 for n in range(1, 9))}
NODES = tuple(sorted(SEEDS))
HARDWARE = {node_id: f"{number:012x}" for number, node_id in enumerate(NODES)}
OTHER_HARDWARE = "ffffffffffff"
FOUNDERS = NODES[:3]


def make_credential(policy: Policy = Policy.AUTO, allowlist: tuple[str, ...] = ()) -> Credential:
    return Credential(
        cluster_id=CLUSTER,
        name="lab",
        gossip_key=GOSSIP_KEY,
        operator_key=identity_of_seed(OPERATOR).public_key,
        ticket=sign_ticket(OPERATOR, CLUSTER, b"n" * 16),
        machines=5,
        voters=5,
        policy=policy,
        allowlist=allowlist,
        ipv4_range="10.86.0.0/16",
        seeds=(),
        srv=None,
    )


@lru_cache
def make_genesis(
    policy: Policy = Policy.AUTO, allowlist: tuple[str, ...] = (), founders: tuple[str, ...] = FOUNDERS
) -> Genesis:
    boxes = seal_for(ADMISSION, founders)
    return Genesis(
        cluster_id=CLUSTER,
        name="lab",
        instance=b"i" * 16,
        machines=5,
        voters=5,
        policy=policy,
        allowlist_digest=digest_allowlist(allowlist),
        ipv4_range="10.86.0.0/16",
        operator_key=identity_of_seed(OPERATOR).public_key,
        admission_key=identity_of_seed(ADMISSION).public_key,
        founders=founders,
        hardware=tuple(HARDWARE[node_id] for node_id in founders),
        sealed=tuple(boxes[node_id] for node_id in founders),
    )


@lru_cache(maxsize=1000)
def certify(genesis: str, node_id: str, hardware: str | None = None) -> Certificate:
    return issue_certificate(ADMISSION, genesis, node_id, hardware or HARDWARE[node_id])


def admit(ledger: Ledger, node_id: str, hardware: str | None = None) -> bytes:
    certificate = certify(ledger.genesis, node_id, hardware)
    return commands.admit(certificate, ledger, gossip_key=GOSSIP_KEY, raft_password=RAFT_PASSWORD)


class Log:
    """A ledger that takes one command after the other."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.ledger = begin(genesis)

    def take(self, command: bytes) -> Result:
        self.ledger, result = reduce(self.ledger, command, self.genesis)
        return result

    def apply(self, command: bytes) -> None:
        result = self.take(command)
        assert result.applied, result.reason

    def refuse(self, command: bytes, reason: str) -> None:
        before = self.ledger
        result = self.take(command)
        assert not result.applied
        assert reason in result.reason
        assert self.ledger is before
        assert result.revision == before.revision

    def admit(self, *node_ids: str) -> "Log":
        for node_id in node_ids:
            self.apply(admit(self.ledger, node_id))
        return self

    def boxes_for(self, name: str) -> Iterable[str]:
        return self.ledger.secrets[name].sealed
