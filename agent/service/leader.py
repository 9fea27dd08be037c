# SPDX-License-Identifier: Apache-2.0
"""Does in the ledger what is this node's to see to: duties, leases, voters. Pure modules decide what."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from nacl.utils import random

from agent.cluster import Ledger, Peer
from agent.config import Election
from agent.election import leases, voters
from agent.election.pending import Outcome
from agent.membership import commands
from agent.membership.ledger_servers import servers_of
from agent.membership.secrets import ADMISSION, GOSSIP, KEY_BYTES
from agent.roles import secret
from agent.roles.candidates import COORDINATOR, list_candidates
from agent.roles.role import Roles
from agent.roles.servers import find_lease_candidates
from agent.service.consensus import Consensus
from agent.service.duties import Duty, GiveSecret, RotateGossip, list_duties, list_secrets
from agent.service.holding import Holding
from agent.service.membership import Membership
from agent.service.server_roles import ServerRoles

INF = float("inf")
PATIENCE = 10.0
"""Seconds after which something of which nothing was heard is begun again."""
_log = logging.getLogger("leader")


class Leader:
    """Commits what is due, each thing once at a time."""

    def __init__(self, seed: bytes, me: str, config: Election, roles: Roles) -> None:
        self._seed = seed
        self._me = me
        self._defined = roles
        self.roles: tuple[str, ...] = ()  # of kind leader, that this node can hold
        ttl = float(config.lease)
        self._times = leases.LeaseTimes(ttl, stop_margin=ttl / 4, grant_margin=ttl / 24)
        grace = float(config.voter_grace)
        self._limits = voters.Limits(
            grace=grace,
            settled=min(grace, voters.LIMITS.settled),
            joined=min(grace, voters.LIMITS.joined),
        )
        self._seen: dict[str, leases.Seen] = {}
        self._under_way: dict[str, float] = {}
        self._presence: dict[str, voters.Presence] = {}  # of the other members, while this node leads
        self.holding = Holding(me, self._times)
        self.servers = ServerRoles(me, roles)
        self.voters_sentence = ""

    def tick(self, membership: Membership, consensus: Consensus, peers: Iterable[Peer], now: float) -> str:
        """Do what is due; return what was begun, empty for nothing."""
        applied = consensus.applied
        if applied is None:
            # Raft has been stopped, or follows anew: what runs here still ends in time.
            return ", ".join(self.holding.tick(membership.ledger, consensus))
        ledger = applied.state
        self._seen = leases.watch(self._seen, ledger, applied.at)
        self._under_way = {name: end for name, end in self._under_way.items() if end > now}
        peers = list(peers)
        self.servers.watch(ledger, {peer.node_id for peer in peers if peer.alive}, now)
        begun = list(self.holding.tick(ledger, consensus, self.servers.withheld(ledger)))
        begun += self.servers.tell(ledger, self.holding.acting, consensus, now)
        leads = consensus.leader_since is not None
        for duty in (*list_duties(self._me, ledger, leads=leads), *self._list_secrets(ledger)):
            if self._begin(_name(duty), now):
                begun += self._see_to(duty, ledger, membership, consensus)
        able = list_candidates(self._me, self.roles, ledger, peers) if leads or self.servers.roles else {}
        self.servers.look_ahead(ledger, able)
        if not leads:
            self._presence = {}
        else:
            begun += self.servers.arrange(ledger, able, consensus, now)
            begun += self._grant(ledger, able, consensus, now)
            begun += self._arrange_voters(ledger, peers, consensus, now)
        return ", ".join(begun)

    def look_at(self, consensus: Consensus, now: float) -> float:
        """Return when to `tick` again at the latest, for what only the clock tells (monotonic)."""
        ends = leases.next_end(self._seen, now, self._times) if consensus.leader_since is not None else INF
        return min(ends, now + self.holding.wait())

    def _list_secrets(self, ledger: Ledger) -> Sequence[Duty]:
        held = {role for role, lease in ledger.leases.items() if lease.holder == self._me}
        mine = (role for role in self._defined.values() if role.name in held)
        names = {each.name for role in mine for each in role.secrets}
        known = {
            name: secret.read(ledger, name, self._me, self._seed) for name in names & ledger.secrets.keys()
        }
        removals = {name: found[0] for name, found in known.items() if found is not None}
        return list_secrets(self._me, ledger, self._defined, removals)

    def _see_to(
        self, duty: Duty, ledger: Ledger, membership: Membership, consensus: Consensus
    ) -> Iterable[str]:
        if isinstance(duty, RotateGossip):
            lease = ledger.leases.get(COORDINATOR)
            mine = lease is not None and lease.holder == self._me
            if mine and not self.holding.may_act(COORDINATOR, ledger):
                return
            role, epoch = (COORDINATOR, lease.epoch) if mine and lease else (None, 0)
            key = random(KEY_BYTES)
            command = commands.put_secret(ledger, GOSSIP, key, ledger.members, role=role, epoch=epoch)
            yield "takes a new gossip key"
        elif isinstance(duty, GiveSecret):
            if not self.holding.may_act(duty.role, ledger):
                return
            old = None if duty.anew else secret.read(ledger, duty.secret.name, self._me, self._seed)
            value = secret.make(duty.secret, ledger) if old is None else secret.join(*old)
            epoch = ledger.leases[duty.role].epoch
            command = commands.put_secret(
                ledger, duty.secret.name, value, ledger.members, role=duty.role, epoch=epoch
            )
            yield f"gives {'a new' if duty.anew else 'the'} secret {duty.secret.name} to all members"
        else:
            seed = membership.secrets.admission_seed
            if seed is None:
                return
            command = commands.put_secret(ledger, ADMISSION, seed, ledger.voters)
            yield "gives the admission key to the new voters"
        consensus.commit(command, self._done(_name(duty)))

    def _grant(
        self, ledger: Ledger, able: Mapping[str, Sequence[str]], consensus: Consensus, now: float
    ) -> Iterable[str]:
        candidates = {
            role: find_lease_candidates(servers_of(ledger, role), nodes)
            if role in self.servers.roles or role in ledger.servers
            else nodes
            for role, nodes in able.items()
        }
        for grant in leases.grants(ledger, self._seen, candidates, now, self._times):
            name = f"grant {grant.role}"
            if self._begin(name, now):
                consensus.commit(commands.lease_grant(ledger, grant.role, grant.holder), self._done(name))
                yield f"gives {grant.role} to {grant.holder}: {grant.reason}"

    def _arrange_voters(
        self, ledger: Ledger, peers: Iterable[Peer], consensus: Consensus, now: float
    ) -> Iterable[str]:
        self._presence = voters.see_members(self._presence, ledger, peers, me=self._me, now=now)
        plan = voters.plan_voters(
            ledger, consensus.status, self._presence, me=self._me, now=now, limits=self._limits
        )
        self.voters_sentence = plan.reason
        if plan.step is not None and self._begin("voters", now):
            self._take_step(plan.step, ledger, consensus)
            yield plan.reason

    def _take_step(self, step: voters.Step, ledger: Ledger, consensus: Consensus) -> None:
        raft = consensus.raft
        assert raft is not None
        if step.kind in ("name", "unname"):
            named = {*ledger.voters} ^ {step.node}
            consensus.commit(commands.set_voters(named), self._done("voters"))
            return
        member = ledger.members.get(step.node)
        host = member.ipv4 if member else step.node

        def heard(outcome: Outcome, _result: object) -> None:
            _log.info("%s %s: %s", step.kind, step.node, outcome.value)

        if step.kind == "add":
            raft.add_voter(host, heard)
        elif step.kind == "remove":
            raft.remove_voter(host, heard)
        else:
            raft.transfer_leadership(host, heard)

    def _begin(self, name: str, now: float) -> bool:
        """Tell whether `name` may begin; it may again when it was heard of, or after a while."""
        if name in self._under_way:
            return False
        # Changes of Raft's own list are told on its thread, so they just take their time.
        self._under_way[name] = now + (2.0 if name == "voters" else PATIENCE)
        return True

    def _done(self, name: str) -> Callable[[bool, str], None]:
        def done(applied: bool, reason: str) -> None:
            self._under_way.pop(name, None)
            _log.log(logging.INFO if applied else logging.DEBUG, "%s: %s", name, reason)

        return done


def _name(duty: Duty) -> str:
    """Return the name under which a duty is under way."""
    return f"secret {duty.secret.name}" if isinstance(duty, GiveSecret) else type(duty).__name__
