# SPDX-License-Identifier: Apache-2.0
"""What the stages of the cluster hand to each other: frozen records, no behaviour.

identity -> discovery -> formation / membership -> mesh -> election -> roles. Apart from agent/model.py, which
first boot imports at every start of a machine.

Node IDs are strings (base58, see agent/identity.py) here, 32 raw bytes on the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from agent.users.user import User


class Policy(Enum):
    """Who may be a member, of those who hold the credential."""

    AUTO = "auto"
    ALLOWLIST = "allowlist"
    APPROVE = "approve"


@dataclass(frozen=True)
class Ticket:
    """A permission to join, signed by the operator's key or by the cluster's admission key."""

    cluster_id: str
    nonce: bytes  # 16 bytes, tells tickets apart
    expires: int | None  # Unix seconds; None: never
    founder: bool  # a founding medium: its holder founds alone, all others only join
    signer: bytes  # Ed25519 public key, 32 bytes
    signature: bytes = field(repr=False)  # 64 bytes


@dataclass(frozen=True)
class Credential:
    """The join credential: what makes a machine belong to a cluster. Secret."""

    cluster_id: str  # 26 characters, base32 of 16 random bytes in lower case
    name: str
    gossip_key: bytes = field(repr=False)  # 32 bytes
    operator_key: bytes  # Ed25519 public key, 32 bytes
    ticket: Ticket
    machines: int  # planned number of machines; 0: only a founder founds
    voters: int  # wanted number of voters: 1, 3 or 5
    policy: Policy
    allowlist: tuple[str, ...]  # node IDs, or `ek:` and the hexadecimal SHA-256 of a TPM's endorsement key
    ipv4_range: str  # CIDR
    seeds: tuple[str, ...]  # host or host:port, of the underlay
    srv: str | None  # DNS name of SRV records of further seeds
    users: tuple[User, ...] = field(default=(), repr=False)  # with which the cluster begins


@dataclass(frozen=True)
class Peer:
    """A node that gossips and has proved that its node key signed what it announces."""

    name: str  # its name in Serf: NODE_ID.HARDWARE
    node_id: str
    hardware: str  # 12 hexadecimal digits of the hardware's fingerprint, to notice clones
    address: str  # where gossip sees it, on the underlay
    alive: bool
    phase: str  # of Phase
    genesis: str | None  # hash of the genesis that it follows, 64 hexadecimal digits
    wireguard_port: int
    addresses: tuple[str, ...]  # further underlay addresses that it announces
    voter: bool
    seen: float  # monotonic time of the last change of `alive`
    roles: tuple[str, ...] = ()  # of kind leader, that it can hold


class Phase(Enum):
    """Where a node stands between power-on and membership; its value is the tag that it gossips."""

    WAITING = "w"  # no credential
    FORMING = "f"  # knows of no cluster
    JOINING = "j"  # sees a cluster, asks for admission
    PENDING = "p"  # held until an operator approves
    MEMBER = "m"
    REMOVED = "r"
    QUARANTINED = "q"  # a clone, or other hardware than was admitted


@dataclass(frozen=True)
class Genesis:
    """The record by which a cluster begins; immutable. Its hash names the cluster instance."""

    cluster_id: str
    name: str
    instance: bytes  # 16 random bytes
    machines: int
    voters: int
    policy: Policy
    allowlist_digest: bytes  # SHA-256 of the allowlist, 32 bytes
    ipv4_range: str
    operator_key: bytes
    admission_key: bytes  # Ed25519 public key, 32 bytes
    founders: tuple[str, ...]  # node IDs, sorted; the initial members, at most 5
    hardware: tuple[str, ...]  # hardware fingerprint of each founder, as in Peer
    sealed: tuple[bytes, ...]  # the admission seed, for each founder in a libsodium sealed box


@dataclass(frozen=True)
class Certificate:
    """The admission of a node, signed by the admission key: any member can check it offline."""

    genesis: str
    node_id: str
    hardware: str
    signature: bytes


@dataclass(frozen=True)
class Member:
    """An admitted node, as the ledger has it."""

    node_id: str
    hardware: str
    ipv4: str  # mesh address; the IPv6 one follows from cluster and node ID
    certificate: Certificate | None  # None: a founder, whose certificate is the genesis
    number: int  # the ledger's revision at its admission


@dataclass(frozen=True)
class Lease:
    """Who holds a role of kind `leader`."""

    role: str
    holder: str | None
    epoch: int  # grows with every new holder
    renewal: int  # grows with every renewal of one epoch


@dataclass(frozen=True)
class Server:
    """A member that was chosen to run a role of kind `servers`."""

    node_id: str
    since: int  # the ledger's revision when it was chosen: who is chosen again begins anew
    ready: bool  # it has said that it runs the role


@dataclass(frozen=True)
class Servers:
    """Who runs a role of kind `servers`: an odd few, of which one began it for all. See ledger_servers.py."""

    role: str
    generation: int  # grows when an operator has the role begin anew, without its former data
    first: str | None  # who alone begins it in this generation; None: nobody was chosen yet
    begun: bool  # the first one has said that it runs it: from then on nobody begins it
    nodes: tuple[Server, ...]  # in the order in which they were chosen
    gone: tuple[str, ...]  # former servers and removed members that the role has not let go of yet, sorted

    def find(self, node_id: str) -> Server | None:
        """Return the server that this node is."""
        return next((server for server in self.nodes if server.node_id == node_id), None)

    @property
    def ready(self) -> tuple[str, ...]:
        """The servers that have said that they run the role."""
        return tuple(server.node_id for server in self.nodes if server.ready)


@dataclass(frozen=True)
class Secret:
    """A secret that members share, for each of them in a libsodium sealed box."""

    name: str
    version: int
    sealed: Mapping[str, bytes]
    role: str | None = None  # the role whose lease holder alone may write it; None: whoever may commit


@dataclass(frozen=True)
class Account:
    """A user as the ledger has it: without a password hash, but for a closed box of it."""

    user: User
    password: bytes | None = field(default=None, repr=False)  # of agent/users/password.py


@dataclass(frozen=True)
class Ledger:
    """The replicated state: what the Raft log adds up to. See agent/membership/ledger.py."""

    genesis: str
    revision: int = 0
    generation: int = 0  # grows when a lost quorum was given up by `node-agent recover`
    members: Mapping[str, Member] = field(default_factory=dict)
    voters: tuple[str, ...] = ()
    wanted_voters: int = 1
    policy: Policy = Policy.AUTO
    allowlist: tuple[str, ...] = ()
    settings: int = 0  # revision of the last change of policy and allowlist; 0: they are the genesis's
    approved: frozenset[str] = frozenset()  # NODE_ID, or NODE_ID.HARDWARE as in Peer.name
    removed: Mapping[str, int] = field(default_factory=dict)  # node ID -> revision of its removal
    leases: Mapping[str, Lease] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    servers: Mapping[str, Servers] = field(default_factory=dict)  # by role
    users: Mapping[str, Account] = field(default_factory=dict)
    users_revision: int = 0  # of their last change; 0: nobody ever set any


@dataclass(frozen=True)
class MeshPeer:
    """A WireGuard peer as it should be, or as it is."""

    public_key: str  # base64
    allowed_ips: tuple[str, ...]  # sorted CIDRs
    endpoint: tuple[str, int] | None
    keepalive: int  # seconds, 0: none
    handshake: int | None = None  # Unix seconds of the last handshake; None: never; observed only
    received: int = 0  # bytes; observed only
    sent: int = 0


@dataclass(frozen=True)
class RaftStatus:
    """What the election knows at one moment."""

    role: str  # leader, follower, candidate, observer (no vote), off
    leader: str | None  # node ID
    term: int
    commit_index: int
    voters: tuple[str, ...]  # node IDs, as Raft has them now
    connected: tuple[str, ...]  # voters with a connection
    ready: bool  # has all that was committed when it started
