# SPDX-License-Identifier: Apache-2.0
"""How long Raft waits for what. Pure."""

from dataclasses import dataclass

from agent.election.message import BATCH, CHUNK
from agent.errors import ClusterError


@dataclass(frozen=True)
class Timing:
    """Times of Raft in seconds. Those of the election are etcd's default: 1 s, drawn from 1 to 2.

    A heartbeat has to be less than a third of an election, as PySyncObj demands.
    """

    heartbeat: float = 0.2
    election: float = 1.0  # a follower that hears nothing stands for election after this to twice this
    step_down: float = 2.0  # a leader that no majority answers leads so long; below the time of a lease
    tick: float = 0.25  # at most between two looks at connections and time limits
    hang_up: float = 0.15  # a leader whose connection ended has this to five times this to come back
    compact_entries: int = 2000
    compact_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not 0 < 3 * self.heartbeat < self.election:
            raise ClusterError("a heartbeat of Raft has to be less than a third of an election's time")

    def wait(self, due: float) -> float:
        """Return how long to wait for messages when the clock asks for something in `due` seconds."""
        # What is overdue is done before the wait, or cannot be done at all: alone, nobody is elected.
        return min(due + 0.001 if due > 0 else self.heartbeat, self.tick)

    def settings(self) -> dict[str, object]:
        """Return these times, and what else is the same for every replica, as PySyncObj's configuration."""
        return {
            "appendEntriesPeriod": self.heartbeat,
            "raftMinTimeout": self.election,
            "raftMaxTimeout": self.election * 2,
            "leaderFallbackTimeout": self.step_down,
            "connectionTimeout": self.election * 2,  # of its own transport, which is not used
            "logCompactionMinEntries": self.compact_entries,
            "logCompactionMinTime": self.compact_seconds,
            "logCompactionBatchSize": CHUNK,
            "appendEntriesBatchSizeBytes": BATCH,
            "appendEntriesUseBatch": False,  # or each command would wait for the next heartbeat
            "commandsWaitLeader": False,  # a command without a leader is ours to keep, with its time limit
            "dynamicMembershipChange": True,
            "useFork": False,
            "autoTick": False,
        }
