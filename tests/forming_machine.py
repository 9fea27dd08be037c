# SPDX-License-Identifier: Apache-2.0
"""A machine of the world in which the tests form clusters."""

from dataclasses import dataclass, field
from functools import cached_property

from agent.cluster import Credential, Peer
from agent.formation.acceptor import State
from agent.formation.forming import Formation
from agent.identity import identity_of_seed


@dataclass
class Machine:
    """A node with a disk, which is all that survives `kill`."""

    seed: bytes
    hardware: str
    credential: Credential
    formation: Formation | None = None
    stored: State = field(default_factory=State)  # what forming.msgpack holds
    record_file: bytes | None = None
    genesis: str | None = None  # hash of what is in record_file
    dies: str = ""  # "before" or "after" it writes its state the next time
    starts: int = 0
    sentence: str = ""
    sees: dict[int, tuple[Peer, float]] = field(default_factory=dict)  # and when it was last reached

    @cached_property
    def node_id(self) -> str:
        return identity_of_seed(self.seed).node_id
