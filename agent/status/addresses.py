# SPDX-License-Identifier: Apache-2.0
"""The addresses that this machine has, from the kernel's tables: no socket, no privilege, no network."""

from ipaddress import ip_address

from agent.tree import Tree

_LINK_LOCAL = "20"  # scope, include/net/ipv6.h


def read_addresses(tree: Tree) -> tuple[str, ...]:
    """Return the addresses of all interfaces but the loopback: IPv4, then IPv6; link-local ones for want
    of others."""
    ipv4 = _ipv4(tree.text("proc/self/net/fib_trie") or "")
    lines = [line.split() for line in (tree.text("proc/self/net/if_inet6") or "").splitlines()]
    ipv6 = {
        str(ip_address(bytes.fromhex(address))): scope
        for address, _index, _length, scope, _flags, name in (line for line in lines if len(line) == 6)
        if name != "lo"
    }
    routed = [address for address, scope in ipv6.items() if scope != _LINK_LOCAL]
    return (*ipv4, *routed) or tuple(ipv6)


def _ipv4(trie: str) -> list[str]:
    """Return the local addresses in the kernel's routing trie: a leaf's address, then what the leaf is."""
    found: dict[str, None] = {}
    address = ""
    for line in trie.splitlines():
        if "|--" in line:
            address = line.split()[-1]
        elif "/32 host LOCAL" in line and not address.startswith("127."):
            found[address] = None
    return list(found)
