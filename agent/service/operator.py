# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of this node by the control socket."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nacl.utils import random

from agent import files
from agent.cluster import Credential
from agent.control.protocol import USERS
from agent.discovery.join_plan import join_port
from agent.discovery.seeds import parse_seed
from agent.errors import ClusterError
from agent.membership import commands, ticket
from agent.membership import credential as credentials
from agent.membership import ledger as ledgers
from agent.membership.ledger_servers import servers_of
from agent.service.consensus import Done
from agent.service.gossip import Announced
from agent.service.recovery import recover
from agent.service.requests import Request
from agent.service.support import collect

if TYPE_CHECKING:
    from agent.service.daemon import Daemon

_log = logging.getLogger("operator")
_NO_MEMBER = ClusterError(
    "this node is no member of a cluster, so it can change none",
    hint="run it on a member; see: node-agent status",
)


class Operator:
    """Answers requests, on the loop's thread."""

    def __init__(self, daemon: "Daemon") -> None:
        self._daemon = daemon
        self._handlers = {
            "status": self._status,
            "approve": self._approve,
            "remove": self._remove,
            "leave": self._leave,
            "join": self._join,
            "token": self._token,
            "recover": self._recover,
            "reset": self._reset,
            "reload": self._reload,
            "support": self._support,
            **dict.fromkeys(USERS, self._users),
        }

    def answer(self, request: Request) -> None:
        """Answer a request, now or when what it asks was committed."""
        try:
            self._handlers[request.content["request"]](request)
        except ClusterError as error:
            request.refuse(error)

    def reload_soon(self) -> None:
        """Have the loop read the configuration anew; for a signal handler."""
        self._daemon.inbox.put(Request({"request": "reload"}))

    def _status(self, request: Request) -> None:
        if self._daemon.status is None:
            raise ClusterError("the agent has just started", hint="try again")
        request.answer({"status": self._daemon.status.to_dict()})

    def _approve(self, request: Request) -> None:
        node = request.content["node"]
        membership = self._daemon.membership
        if membership is None:
            raise _NO_MEMBER
        hardware = None
        member = membership.ledger.members.get(node)
        if member is not None:
            seen = {
                peer.hardware for peer in self._daemon.gossip.peers if peer.alive and peer.node_id == node
            }
            if len(seen) != 1 or seen == {member.hardware}:
                raise ClusterError(
                    f"{node} is a member already",
                    hint="a member with a new board is approved while it, and no copy of it, is switched on",
                )
            (hardware,) = seen
        self._commit(request, commands.approve(node, hardware))

    def _remove(self, request: Request) -> None:
        self._take_out(request, request.content["node"])

    def _leave(self, request: Request) -> None:
        daemon = self._daemon
        membership = daemon.membership
        if membership is not None and daemon.ordering.working:
            # No role gives up its work for a removal that is refused in the end.
            result = ledgers.reduce(membership.ledger, commands.remove(daemon.me), membership.genesis)[1]
            if not result.applied:
                raise ClusterError(result.reason, hint="see: node-agent status")
            daemon.leaving.begin()
            working = ", ".join(daemon.ordering.working)
            request.say(f"leaves when {working} gave up its work here; see: node-agent roles")
            return
        self.leave(request)

    def leave(self, request: Request) -> None:
        """Have the ledger remove this node, at once."""
        self._take_out(request, self._daemon.me, self._daemon.following.take_removal)

    def _join(self, request: Request) -> None:
        daemon = self._daemon
        if daemon.damage:
            raise ClusterError(f"this node cannot tell whether it is a member: {daemon.damage}")
        if "host" in request.content:
            host, port = parse_seed(request.content["host"], daemon.config.discovery.bind_port)
            daemon.gossip.add_candidates(Announced((join_port(host, port),), news=True), time.monotonic())
            request.say(f"tries to reach the cluster at {host} port {port}")
            return
        if daemon.membership is not None:
            raise ClusterError(
                f"this node belongs to cluster {daemon.membership.genesis.name} already",
                hint="to take it away from there: node-agent leave",
            )
        content = request.content["credential"].encode()
        given = credentials.decode(content, "the credential")
        files.replace(daemon.place.credential, content, mode=0o600)
        daemon.take_credential(given)
        request.say(f"took the credential of cluster {given.name}")

    def _token(self, request: Request) -> None:
        daemon, membership = self._daemon, self._daemon.membership
        if membership is None:
            raise _NO_MEMBER
        seed = membership.secrets.admission_seed
        if seed is None:
            voters = ", ".join(membership.ledger.voters)
            raise ClusterError("only a voter can issue a token", hint=f"run it on one of: {voters}")
        ends = int(time.time()) + request.content["ttl"]
        genesis, ledger = membership.genesis, membership.ledger
        given = Credential(
            cluster_id=genesis.cluster_id,
            name=genesis.name,
            gossip_key=membership.secrets.gossip_key,
            operator_key=genesis.operator_key,
            ticket=ticket.sign_ticket(seed, genesis.cluster_id, random(ticket.NONCE_BYTES), expires=ends),
            machines=genesis.machines,
            voters=genesis.voters,
            policy=genesis.policy,
            allowlist=daemon.credential.allowlist if daemon.credential else ledger.allowlist,
            ipv4_range=genesis.ipv4_range,
            seeds=tuple(daemon.gossip.addresses[:1]),
            srv=daemon.credential.srv if daemon.credential else None,
        )
        request.answer({"credential": credentials.encode(given).decode(), "expires": ends})

    def _recover(self, request: Request) -> None:
        recover(self._daemon, request)

    def _reset(self, request: Request) -> None:
        membership = self._daemon.membership
        if membership is None:
            raise _NO_MEMBER
        servers = servers_of(membership.ledger, request.content["role"])
        self._commit(request, commands.servers_reset(servers.role, servers.generation))

    def _reload(self, request: Request) -> None:
        try:
            self._daemon.reload()
        except ClusterError as error:
            # After a signal nobody waits for the answer.
            _log.warning("the configuration stays as it was: %s", error.message)
            raise
        request.say("read the configuration anew")

    def _users(self, request: Request) -> None:
        daemon = self._daemon
        daemon.users.answer(daemon.membership, request, lambda command: self._commit(request, command))

    def _support(self, request: Request) -> None:
        request.answer({"files": collect(self._daemon)})

    def _take_out(self, request: Request, node: str, then: Callable[[], None] | None = None) -> None:
        """Have the ledger remove a node as soon as that costs no majority; `then` is called once it did."""
        if self._daemon.membership is None:
            raise _NO_MEMBER
        self._daemon.removing.ask(node, self._tell(request, then), time.monotonic())

    def _commit(self, request: Request, command: bytes) -> None:
        """Have the ledger changed."""
        if self._daemon.membership is None:
            raise _NO_MEMBER
        self._daemon.consensus.commit(command, self._tell(request))

    def _tell(self, request: Request, then: Callable[[], None] | None = None) -> Done:
        """Return what answers the request when it is known what became of it."""

        def done(applied: bool, reason: str) -> None:
            if applied:
                request.say(reason)
                if then is not None:
                    then()
            else:
                # After a drain nobody waits for the answer.
                _log.warning("%s: refused: %s", request.content["request"], reason)
                request.refuse(ClusterError(reason, hint="see: node-agent status"))

        return done
