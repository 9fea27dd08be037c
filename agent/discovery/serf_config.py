# SPDX-License-Identifier: Apache-2.0
"""The content of Serf's configuration file. Pure.

Each option was tried with Debian's serf 0.10.1, which refuses to start when it does not know one. What is
left out on purpose:

- `snapshot_path`: it would make Serf join the nodes of its last life by itself, those of another cluster
  included. The agent keeps the last known addresses and joins them.
- `retry_join`: a seed that changes would restart Serf; the agent joins seeds.
- `keyring_file`: excludes `encrypt_key`, and is fatal when missing.
- `discover`: Serf's own mDNS never tries a host again after a join that failed.
"""

import ipaddress
import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.discovery.query_size import QUERY_BYTES
from agent.errors import ClusterError

GOSSIP_KEY_BYTES = 32
_LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARN", "error": "ERR"}


@dataclass(frozen=True)
class SerfSettings:
    """What differs between nodes; the rest is the same on all."""

    name: str
    bind_address: str  # 0.0.0.0 takes IPv4 only, :: takes both
    bind_port: int
    advertise: str | None  # the underlay address that others use; None: Serf takes a private IPv4 address
    rpc_port: int
    rpc_auth: str = field(repr=False)
    gossip_key: bytes = field(repr=False)
    tags: Mapping[str, str]
    log_level: str  # of agent/config.py: debug, info, warning or error


def render(settings: SerfSettings) -> bytes:
    """Return the content of serf.json. Secret: it holds the gossip key and the key of the RPC."""
    if len(settings.gossip_key) != GOSSIP_KEY_BYTES:
        raise ValueError(f"a gossip key has {GOSSIP_KEY_BYTES} bytes")
    if not settings.rpc_auth:
        raise ValueError("an empty key would leave the RPC open")  # Serf takes it for none
    content: dict[str, object] = {
        "node_name": settings.name,
        "bind": _join_port(settings.bind_address, settings.bind_port),
        "rpc_addr": _join_port("127.0.0.1", settings.rpc_port),
        "rpc_auth": settings.rpc_auth,
        "encrypt_key": b64encode(settings.gossip_key).decode(),
        "tags": dict(sorted(settings.tags.items())),
        "query_size_limit": QUERY_BYTES,
        "query_response_size_limit": QUERY_BYTES,
        # A minority of nodes with one name would shut itself down; clones are ours to handle.
        "disable_name_resolution": True,
        # A machine that shuts down has not left: only `leave` says that.
        "leave_on_terminate": False,
        "skip_leave_on_interrupt": True,
        "replay_on_join": False,
        "rejoin_after_leave": False,
        "validate_node_names": True,
        # A failed node is tried again this often, and forgotten after that long; then the agent tries it.
        "reconnect_interval": "10s",
        "reconnect_timeout": "24h",
        "tombstone_timeout": "24h",
        "broadcast_timeout": "2s",
        "profile": "lan",
        "log_level": _LEVELS[settings.log_level],
    }
    if settings.advertise:
        content["advertise"] = _join_port(settings.advertise, settings.bind_port)
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def needs_restart(old: bytes | None, new: bytes) -> bool:
    """Whether Serf must start again to follow `new`: not for tags, which it takes while it runs."""
    if old is None:
        return True
    try:
        before = json.loads(old)
    except (ValueError, RecursionError):
        return True
    after = json.loads(new)
    return not isinstance(before, dict) or bool({**before, "tags": None} != {**after, "tags": None})


def _join_port(address: str, port: int) -> str:
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        raise ClusterError(
            f"{address!r} is not an address to listen on",
            hint="give an IP address for discovery.bind_address",
        ) from None
    return f"[{address}]:{port}" if version == 6 else f"{address}:{port}"
