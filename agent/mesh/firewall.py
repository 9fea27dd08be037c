# SPDX-License-Identifier: Apache-2.0
"""The packet filter of a node as nftables text. Pure.

Two texts, each for one `nft -f -`, which does all of it or nothing:

- `render`: all rules. The program clusteros-firewall loads it before the network is up, and again when it is
  reloaded; packets meet the old rules or the new ones, never none.
- `render_ranges`: the contents of the sets `mesh4` and `mesh6`, which the rules refer to. The agent loads it
  when it knows its cluster. Until then the sets are empty, and the mesh lets nothing in.

What comes in:

- From the mesh: everything that has an address of the mesh; WireGuard has checked that it is the sender's.
- From elsewhere: ICMP, answers of DHCP, mDNS, Serf, WireGuard, the ports that the operator opened, and what
  the chain `roles-underlay` accepts. Nothing that has an address of the mesh; and what is for one only if a
  role accepts it.

Out goes everything, but nothing for the mesh by another way: without its interface the default route would
take it, in the clear. Forwarded is what stays within the mesh, and what the chain `roles-forward` accepts.
The two chains of the roles are made here and filled by others; a reload keeps what is in them.

Sources: RFC 4890 for ICMPv6, RFC 6762 for mDNS, RFC 2131 and RFC 8415 for DHCP's ports.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from agent.errors import ClusterError

TABLE = "cluster-os"
_INTERFACE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_OPEN_PORT = re.compile(r"(tcp|udp)/([1-9][0-9]{0,4})")
MDNS_PORT = 5353


@dataclass(frozen=True)
class Firewall:
    """What the rules depend on; ClusterError where a value cannot be."""

    interface: str  # of the mesh
    listen_port: int  # of WireGuard, UDP
    bind_port: int  # of Serf, TCP and UDP
    mdns: bool  # whether neighbours may ask and answer by mDNS
    open_ports: tuple[str, ...] = ()  # what the operator opens on the underlay: tcp/PORT, udp/PORT

    def __post_init__(self) -> None:
        # All of it becomes a part of the text, so nothing may be in it that has a meaning there.
        if not _INTERFACE.fullmatch(self.interface):
            raise ClusterError(f"{self.interface[:40]!r} is not the name of a network interface")
        for port in (self.listen_port, self.bind_port):
            _check_port(port)
        for text in self.open_ports:
            found = _OPEN_PORT.fullmatch(text)
            if not found:
                raise ClusterError(f"{text[:40]!r} is not tcp/PORT or udp/PORT")
            _check_port(int(found[2]))

    def ports(self, protocol: str) -> str:
        """Return all ports of `protocol` that are open on the underlay, as a set of nftables."""
        ports = {int(text[4:]) for text in self.open_ports if text.startswith(protocol)}
        ports.add(self.bind_port)
        if protocol == "udp":
            ports.add(self.listen_port)
            ports |= {MDNS_PORT} if self.mdns else set()
        return "{ " + ", ".join(map(str, sorted(ports))) + " }"


def render(firewall: Firewall) -> str:
    """Return the rules, which replace those that are there."""
    mesh = f'"{firewall.interface}"'
    return f"""\
# Made by Cluster-OS; see agent/mesh/firewall.py.
table inet {TABLE} {{
    set mesh4 {{ type ipv4_addr; flags interval; }}
    set mesh6 {{ type ipv6_addr; flags interval; }}
    chain spoofed {{ type filter hook prerouting priority raw; policy accept; }}
    chain input {{ type filter hook input priority filter; policy drop; }}
    chain forward {{ type filter hook forward priority filter; policy drop; }}
    chain output {{ type filter hook output priority filter; policy accept; }}
    chain mesh {{ }}
    chain underlay {{ }}
    chain roles-underlay {{ }}
    chain roles-forward {{ }}
}}
flush chain inet {TABLE} spoofed
flush chain inet {TABLE} input
flush chain inet {TABLE} forward
flush chain inet {TABLE} output
flush chain inet {TABLE} mesh
flush chain inet {TABLE} underlay
table inet {TABLE} {{
    chain spoofed {{
        iifname {{ "lo", {mesh} }} accept
        ip saddr @mesh4 counter drop
        ip6 saddr @mesh6 counter drop
    }}
    chain input {{
        iifname "lo" accept
        iifname {mesh} goto mesh
        goto underlay
    }}
    chain mesh {{
        ip saddr @mesh4 accept
        ip6 saddr @mesh6 accept
        counter drop
    }}
    chain underlay {{
        ct state established,related accept
        jump roles-underlay
        ip daddr @mesh4 counter drop
        ip6 daddr @mesh6 counter drop
        icmp type {{ destination-unreachable, echo-request, time-exceeded, parameter-problem }} accept
        icmpv6 type {{ destination-unreachable, packet-too-big, time-exceeded, parameter-problem }} accept
        icmpv6 type {{ echo-request, mld-listener-query }} accept
        icmpv6 type {{ nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }} ip6 hoplimit 255 accept
        ct state invalid counter drop
        udp sport 67 udp dport 68 accept
        ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
        tcp dport {firewall.ports("tcp")} accept
        udp dport {firewall.ports("udp")} accept
        counter drop
    }}
    chain forward {{
        ct state established,related accept
        iifname {mesh} oifname {mesh} ip saddr @mesh4 ip daddr @mesh4 accept
        iifname {mesh} oifname {mesh} ip6 saddr @mesh6 ip6 daddr @mesh6 accept
        jump roles-forward
        counter drop
    }}
    chain output {{
        oifname {{ "lo", {mesh} }} accept
        ip daddr @mesh4 counter reject with icmp net-unreachable
        ip6 daddr @mesh6 counter reject with icmpv6 no-route
    }}
}}
"""


def render_ranges(ranges: Iterable[str]) -> str:
    """Return the contents of the sets: the mesh's ranges (CIDR); none: the mesh is shut.

    Raises ClusterError where a range is none, or so large that it cannot be a mesh's.
    """
    lines = [f"flush set inet {TABLE} mesh4", f"flush set inet {TABLE} mesh6"]
    for text in ranges:
        try:
            network = ipaddress.ip_network(text)
        except ValueError:
            raise ClusterError(f"{text[:60]!r} is not a range of addresses") from None
        # With such a range a typing error would cut the machine off.
        if network.prefixlen < (8 if network.version == 4 else 32):
            raise ClusterError(f"{text} is too large to be the range of a mesh")
        lines.append(f"add element inet {TABLE} mesh{network.version} {{ {network} }}")
    return "".join(f"{line}\n" for line in lines)


def _check_port(port: int) -> None:
    if not 0 < port <= 65535:
        raise ClusterError(f"{port} is not a port: there are 1 to 65535")
