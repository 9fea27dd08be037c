# SPDX-License-Identifier: Apache-2.0
"""Where the daemon keeps its files. One writer each, named here."""

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    """The folders of the daemon: `state` lasts (/var/lib/cluster-os), `run` ends with the boot."""

    state: Path
    run: Path

    @property
    def agent(self) -> Path:
        """What the daemon itself may write of the state: 0700."""
        return self.state / "agent"

    @property
    def forming(self) -> Path:
        """The promises of this node while the cluster forms, by agent/service/forming.py."""
        return self.agent / "forming.msgpack"

    @property
    def genesis(self) -> Path:
        """The genesis record that this node follows, by agent/service/membership.py."""
        return self.agent / "genesis.msgpack"

    @property
    def ledger(self) -> Path:
        """The last ledger that this node has seen, by agent/service/membership.py."""
        return self.agent / "ledger.msgpack"

    @property
    def secrets(self) -> Path:
        """Gossip key, Raft password, admission seed, in a box of the node key; by the same module."""
        return self.agent / "secrets.msgpack"

    @property
    def contacts(self) -> Path:
        """Where other members were last seen, by agent/service/contacts.py."""
        return self.agent / "contacts.json"

    @property
    def credential(self) -> Path:
        """A join credential that an operator gave by hand, by agent/service/operator.py; before systemd's."""
        return self.agent / "credential.json"

    @property
    def raft(self) -> Path:
        """Folder of Raft's journal and snapshots, by agent/election/."""
        return self.agent / "raft"

    @property
    def supervisor(self) -> Path:
        """The socket of the supervisor of roles, by systemd: beside the daemon's own folder in /run."""
        return self.run.with_name("cluster-os-roles") / "supervisor.sock"

    @property
    def serf(self) -> Path:
        """Serf's configuration, with the gossip key, by agent/service/gossip.py."""
        return self.run / "serf.json"
