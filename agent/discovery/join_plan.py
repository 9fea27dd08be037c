# SPDX-License-Identifier: Apache-2.0
"""Which addresses to join now. Pure.

Candidates come from mDNS, seeds, DNS and the addresses of members in former lives. Serf joins each address
once when told to, and afterwards tries again only nodes that it has met: so trying again is ours, also after
a success, as two halves that never met would stay apart for ever.

A wait after a try grows twofold with each further try that changed nothing, and is spread by a hash of
address, node and number of tries, so that machines that start together do not knock together. `now` and all
times are monotonic seconds.
"""

import hashlib
import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

ALONE_SECONDS = 1.0  # the first wait while this node sees no other
FIRST_SECONDS = 5.0  # the first wait otherwise
LAST_SECONDS = 120.0  # no wait is longer
ALONE_LAST_SECONDS = 15.0
FORGET_SECONDS = 3600.0  # after nobody spoke of an address any more
AT_ONCE = 4  # joins that run at one time
MAX_CANDIDATES = 256  # as anybody on the LAN can announce addresses
_SPREAD = 0.5  # a wait is shortened by up to this part


@dataclass(frozen=True)
class Candidate:
    """An address at which a node may be."""

    address: str  # host:port or [host]:port, an IP address and no name
    appeared: float  # last time it was news: first told of, or again after it was forgotten
    seen: float  # last time somebody spoke of it


@dataclass(frozen=True)
class Attempt:
    """The tries to join an address."""

    last: float
    tries: int  # since the address was last news


def note(
    candidates: Mapping[str, Candidate], addresses: Iterable[str], now: float, *, news: bool = False
) -> dict[str, Candidate]:
    """Return `candidates` with `addresses` spoken of at `now`.

    `news`: they were announced just now, as a node does that has started, so waiting is over.
    """
    noted = dict(candidates)
    for address in addresses:
        old = noted.get(address)
        if old:
            noted[address] = replace(old, seen=now, appeared=now if news else old.appeared)
        elif len(noted) < MAX_CANDIDATES:
            noted[address] = Candidate(address, now, now)
    return noted


def forget(candidates: Mapping[str, Candidate], now: float) -> dict[str, Candidate]:
    """Return `candidates` without those that nobody spoke of for an hour."""
    return {key: entry for key, entry in candidates.items() if now - entry.seen <= FORGET_SECONDS}


def record(
    attempts: Mapping[str, Attempt], address: str, candidates: Mapping[str, Candidate], now: float
) -> dict[str, Attempt]:
    """Return `attempts` with a try to join `address` that begins at `now`; forgotten addresses go.

    When Serf was started again, it knows nobody: begin with no attempts.
    """
    kept = {key: entry for key, entry in attempts.items() if key in candidates}
    before = kept.get(address)
    candidate = candidates.get(address)
    fresh = before is None or (candidate is not None and candidate.appeared > before.last)
    kept[address] = Attempt(now, 1 if fresh or before is None else before.tries + 1)
    return kept


def plan_joins(
    candidates: Mapping[str, Candidate],
    alive: Collection[str],
    attempts: Mapping[str, Attempt],
    now: float,
    *,
    own: Collection[str],
    name: str,
) -> tuple[str, ...]:
    """Return the addresses to join now, those first that waited longest, AT_ONCE at most.

    `alive`: addresses of the other nodes that Serf sees alive; they are joined already. `own`: addresses of
    this node; it never joins itself. `name`: of this node, to spread the waits.
    """
    skipped = {*map(normalise, alive), *map(normalise, own)}
    due = []
    for address, candidate in candidates.items():
        if normalise(address) in skipped or now - candidate.seen > FORGET_SECONDS:
            continue
        attempt = attempts.get(address)
        if attempt is None or candidate.appeared > attempt.last:
            due.append((candidate.appeared, address))
        elif now >= (at := attempt.last + _wait(address, name, attempt.tries, alone=not alive)):
            due.append((at, address))
    return tuple(address for _, address in sorted(due)[:AT_ONCE])


def join_port(address: str, port: int) -> str:
    """Return `address` (an IP address) with `port`, as Serf reads it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def normalise(address: str) -> str:
    """Return an address with its port in the one form that `join_port` gives; others as they are."""
    host, _, port = address.rpartition(":")
    try:
        return f"{ipaddress.ip_address(host.strip('[]')).compressed} {int(port)}"
    except ValueError:
        return address


def _wait(address: str, name: str, tries: int, *, alone: bool) -> float:
    first, last = (ALONE_SECONDS, ALONE_LAST_SECONDS) if alone else (FIRST_SECONDS, LAST_SECONDS)
    wait = min(first * 2.0 ** min(tries - 1, 16), last)
    digest = hashlib.sha256(f"{address} {name} {tries}".encode()).digest()
    return wait * (1 - _SPREAD * int.from_bytes(digest[:4]) / 2**32)
