# SPDX-License-Identifier: Apache-2.0
"""Messages between replicas, by PySyncObj's interface of a transport.

Takes the place of pysyncobj.transport, for what that one lacks: nothing leaves before the journal is on the
disk, once for all that a round of messages brought; nothing is pickled; see also agent/election/network.py.
There is no remote administration: PySyncObj's utility messages are not taken.
"""

import logging
from collections.abc import Callable, Iterable

from agent.election import message
from agent.election.interfaces import Node, Poller
from agent.election.message import Message
from agent.election.network import Link, Name, Network

_log = logging.getLogger(__name__)
OBSERVER_HEARTBEAT = 1.0  # seconds between messages to an observer that say nothing new
Tell = Callable[[Node], None]


class Transport:
    """`sync` forces the journal to the disk, `make_node` makes a node of its id.

    `deliver` gets each message and the node that it is from, in place of PySyncObj's callback.
    """

    ready = True

    def __init__(
        self,
        link: Link,
        poller: Poller,
        voters: Iterable[Node],
        *,
        sync: Callable[[], None],
        deliver: Callable[[Node, Message], None],
        make_node: Callable[[str], Node],
        clock: Callable[[], float],
    ) -> None:
        self._sync, self._deliver, self._make_node, self._clock = sync, deliver, make_node, clock
        self._voters: dict[str, Node] = {node.id: node for node in voters}
        self._guests = link.guests
        self._others: dict[str, Node] = {}  # guests and observers that are connected
        self._told: dict[str, tuple[int, float]] = {}  # observer -> commit index that it was told, and when
        self._tell: dict[str, Tell | None] = {}
        self._network = Network(
            link, poller, clock, joined=self._joined, left=self._left, received=self._received
        )
        self._want()

    def tick(self) -> None:
        """Force to the disk what was promised, then let the messages out; look after the connections."""
        self._network.tick()
        self._sync()
        self._network.flush()

    def send(self, node: Node, content: Message) -> bool:
        """Send with the next `tick`; False when there is no connection."""
        found = self._network.find(_name(node))
        if found is None:
            return False
        if not node.id.startswith("observer") or self._is_news(node, content):
            found.send(message.encode(content))
        return found.open

    def knows(self, node: Node) -> bool:
        """Tell whether Raft or the caller counts the node among the voters."""
        return node.id in self._network.wanted

    def addNode(self, node: Node) -> None:
        self._voters[node.id] = node
        self._want()
        if self._network.find(_name(node)) is not None:
            self._call("joined", node)

    def dropNode(self, node: Node) -> None:
        # Out of what is wanted first: it is not called again.
        self._guests -= {node.id}
        self._network.wanted.discard(node.id)
        self._network.drop(node.id, "it has no vote any more")
        self._voters.pop(node.id, None)

    def destroy(self) -> None:
        self._tell.clear()
        self._network.close()

    def setOnNodeConnectedCallback(self, callback: Tell | None) -> None:
        self._tell["joined"] = callback

    def setOnNodeDisconnectedCallback(self, callback: Tell | None) -> None:
        self._tell["left"] = callback

    def setOnReadonlyNodeConnectedCallback(self, callback: Tell | None) -> None:
        self._tell["observer joined"] = callback

    def setOnReadonlyNodeDisconnectedCallback(self, callback: Tell | None) -> None:
        self._tell["observer left"] = callback

    def setOnMessageReceivedCallback(self, callback: object) -> None:
        """`deliver` gets the messages."""

    def setOnUtilityMessageCallback(self, message: str, callback: object) -> None:
        """There is no remote administration."""

    def tryGetReady(self) -> None:
        """Always is: the port is had, or the constructor has failed."""

    def meet(self, guests: frozenset[str]) -> None:
        """Take the voters that the caller knows of, in place of those of before."""
        self._guests = guests
        self._want()

    def _want(self) -> None:
        self._network.wanted = {*self._voters, *self._guests}

    def _is_news(self, node: Node, content: Message) -> bool:
        """Spare the leader most heartbeats to observers, who elect nobody when they hear nothing."""
        if content.get("entries") != []:
            return True
        commit, now = content["commit_index"], self._clock()
        told, at = self._told.get(node.id, (-1, 0.0))
        if commit == told and now - at < OBSERVER_HEARTBEAT:
            return False
        self._told[node.id] = commit, now
        return True

    def _joined(self, name: Name) -> None:
        role, there = name
        if role == "voter" and there in self._voters:
            self._call("joined", self._voters[there])
            return
        node = self._others[_id(name)] = self._make_node(_id(name))
        if role == "observer":
            self._call("observer joined", node)

    def _left(self, name: Name) -> None:
        role, there = name
        other = self._others.pop(_id(name), None)
        self._told.pop(_id(name), None)
        if role == "observer" and other is not None:
            self._call("observer left", other)
        elif there in self._voters:
            self._call("left", self._voters[there])

    def _received(self, name: Name, payload: bytes) -> None:
        node = self._voters.get(name[1]) if name[0] == "voter" else None
        self._deliver(node or self._others[_id(name)], message.decode(payload))

    def _call(self, event: str, node: Node) -> None:
        if (tell := self._tell.get(event)) is not None:
            tell(node)


def _id(name: Name) -> str:
    role, there = name
    return there if role == "voter" else f"observer {there}"


def _name(node: Node) -> Name:
    role, _, there = node.id.rpartition(" ")
    return role or "voter", there
