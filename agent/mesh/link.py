# SPDX-License-Identifier: Apache-2.0
"""The mesh's link in the kernel, by rtnetlink: reads it, and does the steps of agent/mesh/link_plan.py.

Owns the link of the given name with its addresses, and reads the interfaces of the underlay. Needs
CAP_NET_ADMIN.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from pyroute2 import IPRoute, NetlinkError

from agent.discovery.underlay import is_underlay
from agent.errors import ClusterError
from agent.mesh.link_plan import LinkSettings, LinkState, Nic, Step, Verb

_UP = 0x1  # IFF_UP, linux/if.h
_MAIN_TABLE = 254
_LINK_SCOPE = 253
_FOR_EVER = 0xFFFFFFFF
_IPV6_OFF = (errno.EACCES, errno.EOPNOTSUPP, errno.EAFNOSUPPORT)
_HINTS = {
    errno.EPERM: "it takes the capability CAP_NET_ADMIN: run as root",
    errno.EACCES: "it takes the capability CAP_NET_ADMIN: run as root",
    errno.EADDRINUSE: "another program uses the UDP port; see networking.listen_port",
    errno.ENODEV: "the interface has just gone; it is made again at the next look",
    errno.EOPNOTSUPP: "the kernel has no WireGuard, or an interface of that name is of another kind",
}


class Applied(NamedTuple):
    """What was done, and what should be and cannot: parts of sentences."""

    done: tuple[str, ...]
    warnings: tuple[str, ...]


class _Message(Protocol):
    """An answer of the kernel as pyroute2 gives it."""

    def get_attr(self, name: str) -> Any: ...  # noqa: ANN401 - an attribute has the type that the kernel says

    def __getitem__(self, field: str) -> int: ...


class Link:
    """The link `name`; every method raises ClusterError when the kernel refuses."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._route: IPRoute | None = None

    def read(self, settings: LinkSettings) -> LinkState | None:
        """Return the link as it is, None when there is none."""
        with self._netlink("read") as route:
            try:
                link = route.link("get", ifname=self.name)[0]
            except NetlinkError as error:
                if error.code == errno.ENODEV:
                    return None
                raise
            index = link["index"]
            return LinkState(
                index=index,
                kind=_kind(link),
                up=bool(link["flags"] & _UP),
                mtu=link.get_attr("IFLA_MTU"),
                addresses=frozenset(
                    _cidr(address) for address in route.get_addr(index=index) if not _is_automatic(address)
                ),
                routed=frozenset(
                    network
                    for network in settings.addresses.values()
                    if _leads(route, network, settings, index)
                ),
            )

    def kind(self) -> str | None:
        """Return of which kind the link is, None when there is none."""
        with self._netlink("read") as route:
            try:
                return _kind(route.link("get", ifname=self.name)[0])
            except NetlinkError as error:
                if error.code == errno.ENODEV:
                    return None
                raise

    def create(self, kind: str) -> None:
        """Make the link."""
        with self._netlink("make") as route:
            route.link("add", ifname=self.name, kind=kind)

    def delete(self) -> None:
        """Remove the link; none is fine."""
        with self._netlink("remove") as route:
            try:
                route.link("del", ifname=self.name)
            except NetlinkError as error:
                if error.code != errno.ENODEV:
                    raise

    def apply(self, index: int, steps: Sequence[Step]) -> Applied:
        """Do the steps. Without IPv6 the mesh can do, so that it is switched off is a warning."""
        done, warnings = [], []
        for step in steps:
            with self._netlink("set up") as route:
                try:
                    _do(route, index, step)
                except NetlinkError as error:
                    # Somebody else was quicker: fine.
                    if error.code in (errno.EEXIST, errno.EADDRNOTAVAIL):
                        continue
                    if ":" in step.value and error.code in _IPV6_OFF:
                        warnings.append(
                            f"{self.name} has no {step.value}: IPv6 is switched off on this machine"
                        )
                        continue
                    raise
            done.append(str(step))
        return Applied(tuple(done), tuple(warnings))

    def list_underlay(self) -> tuple[Nic, ...]:
        """Return the interfaces that may carry the mesh: up, of the underlay, with an address."""
        with self._netlink("read") as route:
            addresses: dict[int, list[str]] = {}
            for address in route.get_addr():
                if not _is_automatic(address):
                    addresses.setdefault(address["index"], []).append(_cidr(address))
            return tuple(
                Nic(name, link.get_attr("IFLA_MTU"), tuple(sorted(addresses[link["index"]])))
                for link in route.get_links()
                if link["flags"] & _UP and link["index"] in addresses
                if is_underlay(name := link.get_attr("IFLA_IFNAME")) and name != self.name
            )

    def close(self) -> None:
        """Close the netlink socket."""
        if self._route is not None:
            self._route.close()
            self._route = None

    @contextmanager
    def _netlink(self, doing: str) -> Iterator[IPRoute]:
        try:
            if self._route is None:
                self._route = IPRoute()
            yield self._route
        except (NetlinkError, OSError) as error:
            # What is left in the socket could be taken for the answer to the next question.
            self.close()
            raise refused(f"cannot {doing} {self.name}", error) from None


def refused(what: str, error: Exception) -> ClusterError:
    """Return the error to show for a NetlinkError or OSError of the kernel."""
    code = getattr(error, "code", None) or getattr(error, "errno", None) or 0
    reason = error.args[1] if len(error.args) > 1 else str(error) or type(error).__name__
    return ClusterError(
        f"{what}: {str(reason).lower()}", hint=_HINTS.get(code, "it is tried again; see: journalctl -b -k")
    )


def _do(route: IPRoute, index: int, step: Step) -> None:
    if step.verb is Verb.SET_MTU:
        route.link("set", index=index, mtu=int(step.value))
    elif step.verb is Verb.SET_UP:
        route.link("set", index=index, state="up")
    elif step.verb is Verb.ADD_ROUTE:
        family = socket.AF_INET6 if ":" in step.value else socket.AF_INET
        scope = {} if family == socket.AF_INET6 else {"scope": _LINK_SCOPE}
        route.route("add", dst=step.value, oif=index, family=family, table=_MAIN_TABLE, **scope)
    else:
        address, _, length = step.value.partition("/")
        command = "del" if step.verb is Verb.REMOVE_ADDRESS else "add"
        # What moves is nobody's source address, so it is "deprecated" from the start (RFC 4862, 5.5.4).
        moving = {"cacheinfo": {"preferred": 0, "valid": _FOR_EVER}}
        extra = moving if step.verb is Verb.ADD_ROLE_ADDRESS else {}
        route.addr(command, index=index, address=address, prefixlen=int(length), **extra)


def _kind(link: _Message) -> str:
    info = link.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND")) if info is not None else ""


def _cidr(address: _Message) -> str:
    # IFA_LOCAL is the address of this end where the two differ.
    text = address.get_attr("IFA_LOCAL") or address.get_attr("IFA_ADDRESS")
    return f"{ipaddress.ip_address(text)}/{address['prefixlen']}"


def _is_automatic(address: _Message) -> bool:
    return bool(address["family"] == socket.AF_INET6 and address["scope"] == _LINK_SCOPE)


def _leads(route: IPRoute, network: str, settings: LinkSettings, index: int) -> bool:
    """Whether the kernel sends to `network` through the link; cheaper than a list of all routes."""
    first = ipaddress.ip_network(network).network_address + 1
    target = first + 1 if str(first) in (settings.ipv4, settings.ipv6, *settings.roles) else first
    family = socket.AF_INET6 if target.version == 6 else socket.AF_INET
    try:
        found = route.route("get", dst=str(target), family=family)
    except NetlinkError:
        return False
    return bool(found and found[0].get_attr("RTA_OIF") == index)
