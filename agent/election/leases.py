# SPDX-License-Identifier: Apache-2.0
"""Who may act under a role lease, and when it goes to another node. Pure.

`now` and all other times are seconds of one clock of one node, which nobody sets: CLOCK_BOOTTIME at a
holder, as CLOCK_MONOTONIC stands still while a machine sleeps. Clocks of two nodes are never compared. They
must run alike but for far less than the margins (1.75 s in 6 s; crystals differ by 0.0001).

    holder   sends renewal r      learns: committed              must have stopped
             |s                   |                              |s + ttl - stop_margin
    ---------+--------------------+------------------------------+-------------------------------> time
    leader          |a: applies r                                           |a + ttl + grant_margin
                    |                                                       may commit a grant

r is applied after it was sent, a >= s, so between the stop and the grant are at least both margins: in that
time the holder's units stop. That the leader knows the newest renewal is no matter of its clock. A grant
names the epoch and the renewal that its author saw, and the ledger refuses it when another renewal is in the
log before it; a renewal that is in the log behind the grant is refused for its epoch. So nobody has to be the
only leader, or to know that it is: who is asks for less in vain.

A holder counts from its own sending, and only from such a renewal of which its own commit was answered as
applied. It does not count from the grant, which another node sent, nor from what it reads in the ledger,
where a renewal may be one that it sent before it was started anew.

A node that sleeps, or whose agent is stopped, stops nothing: its units must be bound to end by themselves
(the supervisor of the units has the deadline), and whatever it writes to shared state carries the epoch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent.cluster import Lease, Ledger


@dataclass(frozen=True)
class LeaseTimes:
    """In seconds."""

    ttl: float = 6.0
    stop_margin: float = 1.5  # a holder counts itself out so much earlier, to stop what it runs
    grant_margin: float = 0.25  # the leader waits so much longer

    @property
    def renewal(self) -> float:
        """How long after a renewal the next one is due."""
        return self.ttl / 3

    @property
    def retry(self) -> float:
        """How long after a renewal of which nothing is known the next try is due."""
        return self.ttl / 12


@dataclass(frozen=True)
class Hold:
    """A lease that this node has renewed in `epoch`: by a renewal, sent at `sent`, that is committed."""

    role: str
    epoch: int
    sent: float


@dataclass(frozen=True)
class Seen:
    """The state of a lease, and when this node had it applied: not later than that."""

    epoch: int
    renewal: int
    at: float


@dataclass(frozen=True)
class Grant:
    """A lease to give away, to be committed with the ledger that it was decided on."""

    role: str
    holder: str
    reason: str


TIMES = LeaseTimes()


# The holder.


def renewed(hold: Hold | None, role: str, epoch: int, sent: float) -> Hold:
    """Return the hold after a renewal, sent at `sent`, whose own commit was answered as applied."""
    if hold is not None and (hold.epoch, hold.sent) > (epoch, sent):
        return hold
    return Hold(role, epoch, sent)


def deadline(hold: Hold, times: LeaseTimes = TIMES) -> float:
    """Return the time from which the role must be stopped."""
    return hold.sent + times.ttl - times.stop_margin


def may_act(hold: Hold | None, lease: Lease | None, me: str, now: float, times: LeaseTimes = TIMES) -> bool:
    """Tell whether this node may run the role now; `lease` as its ledger has it."""
    if hold is None or lease is None or now >= deadline(hold, times):
        return False
    # The ledger may lag behind, and says then what was: that is no reason to stop.
    return lease.epoch < hold.epoch or (lease.epoch == hold.epoch and lease.holder == me)


def must_stop(hold: Hold | None, lease: Lease | None, me: str, now: float, times: LeaseTimes = TIMES) -> bool:
    """Tell whether this node, if it runs the role, has to stop it now."""
    return not may_act(hold, lease, me, now, times)


def renewal_due(
    hold: Hold | None,
    lease: Lease | None,
    me: str,
    now: float,
    *,
    asked: float | None,
    times: LeaseTimes = TIMES,
) -> bool:
    """Tell whether to send a renewal; `asked`: when the last one was sent, answered or not."""
    if lease is None or lease.holder != me:
        return False
    if asked is not None and now < asked + times.retry:
        return False
    return hold is None or hold.epoch != lease.epoch or now >= hold.sent + times.renewal


# The leader.


def watch(seen: Mapping[str, Seen], ledger: Ledger, at: float) -> dict[str, Seen]:
    """Return when each lease got the state that it has: `at` for what changed since `seen`.

    `at`: when this node applied the ledger, or later. To be called for what is new before `grants`, on all
    voters, so that a new leader need not wait the whole time anew.
    """
    found = {}
    for role, lease in ledger.leases.items():
        before = seen.get(role)
        same = before is not None and (before.epoch, before.renewal) == (lease.epoch, lease.renewal)
        found[role] = before if before is not None and same else Seen(lease.epoch, lease.renewal, at)
    return found


def grants(
    ledger: Ledger,
    seen: Mapping[str, Seen],
    candidates: Mapping[str, Sequence[str]],
    now: float,
    times: LeaseTimes = TIMES,
) -> tuple[Grant, ...]:
    """Return the leases to give away now, each to the first of the role's `candidates` (node IDs).

    `seen` is what `watch` returned for this very `ledger`. Only members get a lease.
    """
    found = []
    for role, nodes in sorted(candidates.items()):
        lease = ledger.leases.get(role)
        able = [node for node in nodes if node in ledger.members]
        reason = _why_free(lease, seen.get(role), now, times)
        if reason is None or not able:
            continue
        # Who let its lease run out comes last.
        others = [node for node in able if lease is None or node != lease.holder]
        found.append(Grant(role, (others or able)[0], reason))
    return tuple(found)


def next_end(seen: Mapping[str, Seen], now: float, times: LeaseTimes = TIMES) -> float:
    """Return when the next lease is over that is held now, unless it is renewed; infinite for none."""
    ends = (each.at + times.ttl + times.grant_margin for each in seen.values())
    return min((end for end in ends if end > now), default=float("inf"))


def _why_free(lease: Lease | None, seen: Seen | None, now: float, times: LeaseTimes) -> str | None:
    if lease is None:
        return "it was never held"
    if lease.holder is None:
        return "its holder gave it back"
    # Unknown to `watch`, or not in this state: wait until it is.
    if seen is None or (seen.epoch, seen.renewal) != (lease.epoch, lease.renewal):
        return None
    if now < seen.at + times.ttl + times.grant_margin:
        return None
    return f"{lease.holder} has not renewed it for {now - seen.at:.1f} s"
