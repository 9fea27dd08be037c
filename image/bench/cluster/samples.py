# SPDX-License-Identifier: Apache-2.0
"""What the cluster part measures, and what comes of it: percentiles, targets, growth. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from image.bench.figures import Figure

STARTED = "last of 5 nodes started to all agents work"
FOUNDED = "last of 5 nodes started to one is a member"
FOLLOWED = "last of 5 nodes started to all are members"
FORMED = "last of 5 nodes started to formed"
JOINED = "one more node started to member everywhere"
SEEN = "member killed to seen by all others"
GONE = "remove to its mesh peer gone everywhere"
COMMITTED = "Raft leader killed to the next commit"
HELD = "lease holder killed to the new holder"
SERF_FORMED = "bare Serf: last of 5 started to all see 5"
SERF_JOINED = "bare Serf: one more started to all see it"
SEEN_BY_SERF = "bare Serf: member killed to seen by all others"
ETCD_COMMITTED = "etcd, 3 nodes: leader killed to the next write"
AGENT_CPU, AGENT_MEMORY = "idle agent: CPU", "idle agent: resident memory"
SERF_CPU, SERF_MEMORY = "idle Serf: CPU", "idle Serf: resident memory"

SHARES = {"p50": 0.5, "p95": 0.95}
FORMED_RATIO, FORMED_MORE = 3.0, 1.0
"""Forming takes at most so many times what bare Serf's convergence takes, and so many seconds more."""
COMMIT_RATIO = 1.5
"""From the leader's end to the next commit, in units of etcd's."""
SEEN_RATIO = 1.1
"""As fast as bare Serf: when a failure is noticed is drawn by lot, so a tenth more is no difference."""
CPU_LIMIT, MEMORY_LIMIT = 1.0, 60.0
"""Percent of a core, and MiB, of an idle agent."""
TICK_MEMBERS, TICK_LIMIT = 1000, 50.0
"""A tick over so many members takes less than so many milliseconds."""
GROWTH_LIMIT = 1.2
"""Exponent of the growth of a tick: 1 is linear, 1.13 what sorting adds, 2 quadratic."""

Series = Mapping[str, Sequence[float]]
"""Samples by what was measured: one or more a run."""


@dataclass(frozen=True)
class Measured:
    """All samples: times in seconds, CPU in percent of a core, memory in MiB, ticks by number of members."""

    times: Series
    idle: Series
    ticks: Mapping[int, Sequence[float]]
    lease: float  # seconds for which a role is lent


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that is not below `share` (0 to 1) of all: the nearest rank."""
    return sorted(samples)[max(1, math.ceil(share * len(samples))) - 1]


def judge(measured: Measured) -> list[Figure]:
    """Return what has a target, p50 and p95 of each; what it is compared with is taken at the same share."""
    both = [list(_judge(measured, label, share)) for label, share in SHARES.items()]
    return [figure for pair in zip(*both, strict=True) for figure in pair] + [
        Figure(
            "tick: growth from 1000 to 5000 members", find_growth(measured.ticks), "exponent", GROWTH_LIMIT
        )
    ]


def find_growth(ticks: Mapping[int, Sequence[float]]) -> float:
    """Return the exponent with which the median tick grows between the two largest numbers of members."""
    less, more = sorted(ticks)[-2:]
    ratio = percentile(ticks[more], 0.5) / percentile(ticks[less], 0.5)
    return math.log(ratio) / math.log(more / less)


def list_series(measured: Measured) -> Iterator[tuple[str, str, Sequence[float]]]:
    """Return name, unit and samples of all that was measured, in the order of a report."""
    for name, samples in measured.times.items():
        yield name, "s", samples
    for name, samples in measured.idle.items():
        yield name, "%" if name in (AGENT_CPU, SERF_CPU) else "MiB", samples
    for members, seconds in sorted(measured.ticks.items()):
        yield f"tick over {members} members", "ms", [1000 * each for each in seconds]


def _judge(measured: Measured, label: str, share: float) -> Iterator[Figure]:
    at = {name: percentile(samples, share) for name, samples in {**measured.times, **measured.idle}.items()}
    tick = 1000 * percentile(measured.ticks[TICK_MEMBERS], share)
    for name, limit in (
        (FORMED, FORMED_RATIO * at[SERF_FORMED] + FORMED_MORE),
        (COMMITTED, COMMIT_RATIO * at[ETCD_COMMITTED]),
        (HELD, measured.lease + at[COMMITTED]),
        (SEEN, SEEN_RATIO * at[SEEN_BY_SERF]),
    ):
        yield Figure(f"{name}, {label}", at[name], "s", round(limit, 2))
    yield Figure(f"{AGENT_CPU}, {label}", at[AGENT_CPU], "% of a core", CPU_LIMIT)
    yield Figure(f"{AGENT_MEMORY}, {label}", at[AGENT_MEMORY], "MiB", MEMORY_LIMIT)
    yield Figure(f"tick over {TICK_MEMBERS} members, {label}", tick, "ms", TICK_LIMIT)
