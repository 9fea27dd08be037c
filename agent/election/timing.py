# SPDX-License-Identifier: Apache-2.0
"""How long Raft waits for what. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Times of Raft in seconds. The election's are etcd's default: 1 s, drawn from 1 to 2."""

    heartbeat: float = 0.2
    election: float = 1.0  # a follower that hears nothing stands for election after this, up to twice of it
    step_down: float = (
        2.0  # a leader that no majority answers believes in itself so long; below the lease time
    )
    tick: float = 0.1  # at most between two looks at the clock
    hang_up: float = 0.15  # a leader whose connection ended gets so long, up to five times, to come back
    compact_entries: int = 2000
    compact_seconds: float = 600.0
