# SPDX-License-Identifier: Apache-2.0
"""Find the addresses behind seeds: hosts that the operator named, and DNS SRV records (RFC 2782).

Asking takes as long as DNS takes to fail, so a thread does it; the loop gets the result by a callback. Hosts
are asked for in the system's way (so /etc/hosts and systemd-resolved count), SRV records by dnspython, which
is imported only by who uses them: it costs some 5 MB.
"""

import re
import socket
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.discovery.join_plan import join_port
from agent.errors import ClusterError

SRV_SECONDS = 5.0
MAX_ADDRESSES = 64
_MAX_TARGETS = 16
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\.?\Z){_LABEL}(\.{_LABEL})*\.?")
_SEED = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")


class Found(NamedTuple):
    addresses: tuple[str, ...]  # host:port, as Serf reads them
    failures: tuple[str, ...]  # sentences for people


def parse_seed(text: str, default_port: int) -> tuple[str, int]:
    """Return host and port of a seed: `host`, `host:port`, `[IPv6]:port` or an IPv6 address.

    Raises ClusterError when it is none of these.
    """
    if _is_ipv6(text):
        return text, default_port
    match = _SEED.fullmatch(text)
    if match:
        port = int(match["port"] or default_port)
        host = match["v6"] or match["host"]
        if 0 < port < 1 << 16 and (_is_ipv6(host) if match["v6"] else _NAME.fullmatch(host)):
            return host, port
    raise ClusterError(f"{text[:80]!r} is not a seed", hint="give HOST, HOST:PORT or [IPV6]:PORT")


def check_srv_name(text: str) -> None:
    """Raise ClusterError unless `text` can be the name of SRV records, like _cluster-os._udp.example.org."""
    if not _NAME.fullmatch(text) or "." not in text.strip("."):
        raise ClusterError(
            f"{text[:80]!r} is not a DNS name", hint="give one like _cluster-os._udp.example.org"
        )


def resolve(seeds: Sequence[str], srv: str | None, default_port: int) -> Found:
    """Return the addresses of all seeds, without doubles; takes its time, raises nothing of the network."""
    targets: list[tuple[str, int]] = []
    failures: list[str] = []
    for seed in seeds[:_MAX_TARGETS]:
        try:
            targets.append(parse_seed(seed, default_port))
        except ClusterError as error:
            failures.append(error.message)
    if srv:
        try:
            check_srv_name(srv)
            targets += _ask_srv(srv)
        except ClusterError as error:
            failures.append(error.message)
    addresses: dict[str, None] = {}
    for host, port in targets:
        try:
            addresses.update(dict.fromkeys(_ask_host(host, port)))
        except ClusterError as error:
            failures.append(error.message)
    return Found(tuple(addresses)[:MAX_ADDRESSES], tuple(failures))


class Resolver:
    """Resolves beside the loop, once at a time, and calls `on_found` from a thread of its own."""

    def __init__(
        self, seeds: Sequence[str], srv: str | None, default_port: int, on_found: Callable[[Found], None]
    ) -> None:
        self._seeds = tuple(seeds)
        self._srv = srv
        self._default_port = default_port
        self._on_found = on_found
        self._busy = threading.Lock()

    def start(self) -> bool:
        """Begin to resolve; False when there is nothing to do or it is being done."""
        if not (self._seeds or self._srv) or not self._busy.acquire(blocking=False):
            return False
        threading.Thread(target=self._run, name="seeds", daemon=True).start()
        return True

    def _run(self) -> None:
        try:
            found = resolve(self._seeds, self._srv, self._default_port)
        finally:
            self._busy.release()
        self._on_found(found)


def _ask_host(host: str, port: int) -> list[str]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ClusterError(f"seed {host} has no address: {reason.lower()}") from None
    found = [str(answer[4][0]) for answer in answers if answer[0] in (socket.AF_INET, socket.AF_INET6)]
    return [join_port(address, port) for address in found if "%" not in address]


def _ask_srv(name: str) -> list[tuple[str, int]]:
    # Here and not above: see the module's docstring.
    import dns.exception  # noqa: PLC0415
    import dns.resolver  # noqa: PLC0415
    from dns.rdtypes.IN.SRV import SRV  # noqa: PLC0415

    try:
        # Absolute, as SRV names are: the search domain of a DHCP server shall not choose whom we join.
        answer = dns.resolver.resolve(name.rstrip(".") + ".", "SRV", lifetime=SRV_SECONDS)
        records = [entry for entry in answer if isinstance(entry, SRV)]
        records.sort(key=lambda entry: (entry.priority, -entry.weight))
        found = [(str(entry.target).rstrip("."), int(entry.port)) for entry in records]
    except (dns.exception.DNSException, OSError) as error:
        raise ClusterError(f"no seeds by DNS: {' '.join(str(error).split())[:200]}") from None
    return [(host, port) for host, port in found if _NAME.fullmatch(host) and port][:_MAX_TARGETS]


def _is_ipv6(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True
