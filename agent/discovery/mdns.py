# SPDX-License-Identifier: Apache-2.0
"""The one module that speaks mDNS: announce this node on its LANs and find others of the same cluster.

What everybody on the LAN can see: the service type, a name that is random at each start, addresses and port,
and a mark by which nodes with the same gossip key know each other. The mark is an HMAC of a constant by that
key: it tells which machines belong together, and nothing about the key, the cluster or the nodes. It can be
copied, so an address that is found is a rumour: Serf's encryption decides.

A thread of its own drives the `zeroconf` library. It looks at the machine's addresses now and then; when they
changed it starts anew with those that are there, none included. Source: RFC 6762, RFC 6763.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

import ifaddr
from zeroconf import Error, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from agent.discovery.underlay import UnderlayAddress, is_underlay, list_reachable

SERVICE = "_cluster-os._udp.local."
_MARK_DIGITS = 32
_LOOK_SECONDS, _LOOK_CALM, _CALM_AFTER = 1.0, 5.0, 30
"""Seconds between two looks at the addresses, first and when they were the same at so many looks."""
_RESOLVE_MILLISECONDS = 3000
_CLOSE_SECONDS = 3.0
_MAX_LOOKUPS = 32
# Records that machines on the LAN may make us remember; beyond that we start anew.
MAX_REMEMBERED = 2000


def mark_cluster(gossip_key: bytes) -> str:
    """Return the mark of a cluster: 32 hexadecimal digits."""
    return hmac.new(gossip_key, b"mdns", hashlib.sha256).hexdigest()[:_MARK_DIGITS]


def list_addresses() -> tuple[UnderlayAddress, ...]:
    """Return the addresses of this machine on the underlay, as the kernel has them now."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            if is_underlay(adapter.name):
                found.append(UnderlayAddress(adapter.name, adapter.index or 0, text))
    return tuple(sorted(found))


class Mdns:
    """Announces the gossip port `port` from `start` to `close` and calls `on_found(address, port)`.

    `on_found` is called by the thread, more than once for an address; it must be quick and must not raise.
    """

    def __init__(self, gossip_key: bytes, port: int, on_found: Callable[[str, int], None]) -> None:
        self._mark = mark_cluster(gossip_key)
        self._port = port
        self._on_found = on_found
        self._instance = secrets.token_hex(16)
        self._error = ""
        self._remembered = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._ready = threading.Event()
        self._lookups: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="mdns", daemon=True)
        # Its warnings are about networks that come and go, which is our daily life.
        logging.getLogger("zeroconf").setLevel(logging.CRITICAL)

    @property
    def error(self) -> str:
        """Why nothing is announced at the moment; empty: nothing is wrong."""
        return self._error

    @property
    def remembered(self) -> int:
        """Records of other machines that are held, as counted at the last look."""
        return self._remembered

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Say goodbye and end the thread; does not raise."""
        if not self._thread.is_alive() or not self._ready.wait(_CLOSE_SECONDS):
            return
        assert self._loop is not None
        assert self._end is not None
        with suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(2 * _CLOSE_SECONDS)

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        responder: AsyncZeroconf | None = None
        using: tuple[UnderlayAddress, ...] = ()
        same = 0
        while not self._end.is_set():
            try:
                addresses = list_addresses()
                self._remembered = _count_records(responder) if responder else 0
                if responder and (addresses != using or self._remembered > MAX_REMEMBERED):
                    await self._shut(responder)
                    responder = None
                if responder is None and addresses:
                    responder = await self._open(addresses)
                same = same + 1 if addresses == using else 0
                using = addresses
                self._error = "" if addresses else "this machine has no address"
            except (OSError, RuntimeError, ValueError, Error) as error:
                self._error = str(error) or type(error).__name__
            with suppress(TimeoutError):
                await asyncio.wait_for(self._end.wait(), _LOOK_CALM if same > _CALM_AFTER else _LOOK_SECONDS)
        if responder:
            await self._shut(responder)

    async def _open(self, addresses: tuple[UnderlayAddress, ...]) -> AsyncZeroconf:
        ipv4 = [entry.address for entry in addresses if ":" not in entry.address]
        ipv6 = sorted({entry.number for entry in addresses if ":" in entry.address})
        responder = AsyncZeroconf(interfaces=[*ipv4, *ipv6])
        try:
            reachable = list_reachable(addresses)
            if reachable:
                # The name is random, so there is nothing to be asked for before it is used.
                await responder.async_register_service(self._describe(reachable), cooperating_responders=True)
            AsyncServiceBrowser(responder.zeroconf, SERVICE, handlers=[self._on_change])
        except BaseException:
            await self._shut(responder)
            raise
        return responder

    def _describe(self, reachable: tuple[str, ...]) -> AsyncServiceInfo:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in reachable]
        return AsyncServiceInfo(
            SERVICE,
            f"{self._instance}.{SERVICE}",
            addresses=[
                socket.inet_pton(family, address) for family, address in zip(families, reachable, strict=True)
            ],
            port=self._port,
            properties={"c": self._mark},
            server=f"{self._instance}.local.",
        )

    async def _shut(self, responder: AsyncZeroconf) -> None:
        for lookup in tuple(self._lookups):
            lookup.cancel()
        with suppress(OSError, RuntimeError, Error, TimeoutError):
            await asyncio.wait_for(responder.async_close(), _CLOSE_SECONDS)

    def _on_change(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed or name.startswith(self._instance):
            return
        if len(self._lookups) < _MAX_LOOKUPS:
            lookup = asyncio.ensure_future(self._look_up(zeroconf, service_type, name))
            self._lookups.add(lookup)
            lookup.add_done_callback(self._lookups.discard)

    async def _look_up(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        with suppress(OSError, RuntimeError, ValueError, Error):
            info = AsyncServiceInfo(service_type, name)
            if not await info.async_request(zeroconf, _RESOLVE_MILLISECONDS):
                return
            mark = info.properties.get(b"c") or b""
            if not hmac.compare_digest(mark, self._mark.encode()) or not info.port:
                return
            found = (
                UnderlayAddress("", 0, str(address))
                for address in info.ip_addresses_by_version(IPVersion.All)
            )
            for address in list_reachable(found):
                self._on_found(address, info.port)


def _count_records(responder: AsyncZeroconf) -> int:
    return sum(map(len, responder.zeroconf.cache.cache.values()))
