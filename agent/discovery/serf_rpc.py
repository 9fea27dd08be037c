# SPDX-License-Identifier: Apache-2.0
"""The one module that talks to Serf: its commands over the RPC on the loopback address.

Serf works through the requests of one connection one after the other, and a `join` lasts as long as the other
side takes to answer, up to 10 s an address. So a join gets a connection of its own: it must not delay the
answers to queries.

Serf holds member events back for a second (its `CoalescePeriod`, which no configuration sets), but writes
each into its log at once: `monitor` brings that. It drops events when more than 512 wait, so whoever needs to
know for sure also asks `members`.

Source: https://github.com/hashicorp/serf/blob/v0.10.1/cmd/serf/command/agent/ipc.go
"""

from collections.abc import Callable, Mapping, Sequence

from agent.discovery.serf_connection import Connection
from agent.discovery.serf_records import (
    Event,
    Lost,
    QueryDone,
    SerfMember,
    read_answer,
    read_event,
    read_log,
    read_members,
    read_stats,
)
from agent.discovery.serf_stream import Record, Shape
from agent.errors import ClusterError

HOST, PORT = "127.0.0.1", 7373
JOIN_SECONDS = 12.0  # for one address: TCPTimeout of memberlist's LAN profile is 10 s
TAGS_SECONDS = 3.0  # Serf waits for the news to be on its way, as long as its `broadcast_timeout` says
_MAX_JOIN_ADDRESSES = 16


class SerfRpc:
    """A client that connects by `connect`, again after a `Lost` event, as often as one likes.

    `on_event` gets all events in the reading thread: it must be quick, must not raise, and must not call this
    class (put the event into a queue). `time_limit` in seconds for each command. Every command raises
    ClusterError when there is no connection, when Serf gives no answer in time or when it refuses.
    """

    def __init__(
        self,
        auth_key: str,
        on_event: Callable[[Event], None],
        *,
        host: str = HOST,
        port: int = PORT,
        time_limit: float = 5.0,
    ) -> None:
        self._auth_key = auth_key
        self._on_event = on_event
        self._address = (host, port)
        self._time_limit = time_limit
        self._connection: Connection | None = None

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.alive

    def connect(self) -> None:
        """Connect and authenticate, in place of an earlier connection; without `stream` no events follow."""
        self.close()
        self._connection = Connection(
            *self._address,
            self._auth_key,
            time_limit=self._time_limit,
            on_record=self._hand_on,
            on_lost=lambda error: self._on_event(Lost(error)),
        )

    def close(self) -> None:
        """End the connection without a `Lost` event."""
        connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def stream(self, kinds: str = "*") -> None:
        """Have events handed to `on_event`: all, or a list like `member-join,query:cos-form`."""
        self._require().request("stream", {"Type": kinds}, shape=Shape.STREAM)

    def monitor(self) -> None:
        """Have a MembersLogged handed to `on_event` as soon as Serf sees a change of its members."""
        self._require().request("monitor", {"LogLevel": "INFO"}, shape=Shape.STREAM)

    def members(self) -> tuple[SerfMember, ...]:
        """Return all members that Serf knows, this node and the failed ones included."""
        return read_members(self._require().request("members", shape=Shape.BODY).body or {})

    def set_tags(self, tags: Mapping[str, str], delete: Sequence[str] = ()) -> None:
        """Set these tags of this node and delete others; Serf refuses more than 512 bytes in all."""
        body = {"Tags": dict(tags), "DeleteTags": list(delete)}
        self._require().request("tags", body, time_limit=max(self._time_limit, TAGS_SECONDS))

    def query(
        self, name: str, payload: bytes, *, nodes: Sequence[str] = (), ack: bool = False, seconds: float = 2.0
    ) -> int:
        """Ask all nodes, or those with the Serf names `nodes`, and return the number of this query.

        For the size of a payload see agent/discovery/query_size.py; Serf refuses what is larger.
        QueryAnswer, QueryAcknowledged (with `ack`) and, after `seconds`, QueryDone with that number go to
        `on_event`, maybe before this returns. A node answers once at most.
        """
        body = {
            "Name": name,
            "Payload": payload,
            "FilterNodes": list(nodes),
            "RequestAck": ack,
            "Timeout": int(seconds * 1_000_000_000),
        }
        return self._require().request("query", body, shape=Shape.STREAM).seq

    def respond(self, query: int, payload: bytes) -> None:
        """Answer the query of a QueryReceived event; Serf refuses when it is over or was answered."""
        self._require().request("respond", {"ID": query, "Payload": payload})

    def send_event(self, name: str, payload: bytes, *, coalesce: bool = False) -> None:
        """Send a user event to all nodes, 512 bytes at most; it may arrive never or twice."""
        self._require().request("event", {"Name": name, "Payload": payload, "Coalesce": coalesce})

    def stats(self) -> dict[str, dict[str, str]]:
        """Return Serf's own figures, for `node-agent status` and metrics."""
        return read_stats(self._require().request("stats", shape=Shape.BODY).body or {})

    def leave(self) -> None:
        """Leave the cluster for good and end Serf; on request only, never because a machine shuts down."""
        self._require().request("leave", time_limit=4 * self._time_limit)

    def force_leave(self, name: str) -> None:
        """Have a failed node counted as one that left, on all nodes."""
        self._require().request("force-leave", {"Node": name}, shape=Shape.BODY)

    def join(self, addresses: Sequence[str]) -> int:
        """Join the nodes at `addresses` (`host:port`) and return how many of them answered.

        Lasts up to 12 s an address. Raises ClusterError when none answered.
        """
        if not 0 < len(addresses) <= _MAX_JOIN_ADDRESSES:
            raise ValueError(f"1 to {_MAX_JOIN_ADDRESSES} addresses can be joined at once")
        connection = Connection(
            *self._address,
            self._auth_key,
            time_limit=self._time_limit,
            on_record=lambda _record: False,
            on_lost=lambda _error: None,
        )
        try:
            record = connection.request(
                "join",
                {"Existing": list(addresses), "Replay": False},
                shape=Shape.BODY,
                time_limit=JOIN_SECONDS * len(addresses),
            )
        finally:
            connection.close()
        joined = (record.body or {}).get(b"Num")
        return joined if isinstance(joined, int) else 0

    def _require(self) -> Connection:
        if self._connection is None:
            raise ClusterError("not connected to Serf", hint="see: systemctl status clusteros-serf")
        return self._connection

    def _hand_on(self, record: Record) -> bool:
        body = record.body or {}
        event: Event | None
        if b"Log" in body:
            event = read_log(body)
        else:
            event = read_event(body) if b"Event" in body else read_answer(record.seq, body)
        if event:
            self._on_event(event)
        return isinstance(event, QueryDone)
