# SPDX-License-Identifier: Apache-2.0
"""SLURM's own way, on the same machines: a backup controller, and a folder that both share by NFS.

Two machines have slurmctld, the third has the folder, and is where the user sits. Roles of the cluster are
off; the mesh carries everything, as with ours. All times of SLURM are its defaults (slurm.conf(5)).
"""

import secrets as randomness
import shlex

from harness import slurm
from harness.machine import Machine
from harness.slurm import SLURM_LIMIT
from harness.waiting import wait_for
from image.bench.jobs.trio import LIMIT, SIZE, Trio, measure_loss

CONF = "/run/bench/slurm.conf"
VARIABLE = f"SLURM_CONF={CONF}"
_STATE = "/run/bench/state"
_KEY = "/run/bench/slurm.key"
_PREPARE = f"""
# The agent would have the roles back at once.
systemctl mask --runtime --now --quiet clusteros-roles.socket clusteros-roles.service
systemctl mask --runtime --now --quiet slurmctld.service slurmd.service
mkdir -p {_STATE} /run/bench/spool /run/slurm /run/slurmctld
chown slurm: /run/bench {_STATE} /run/slurmctld
echo CgroupPlugin=disabled >/run/bench/cgroup.conf
"""
_SERVE = """
set -eu
mkdir -p /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery /var/lib/bench-state
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
chown slurm: /var/lib/bench-state
modprobe nfsd
mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd
# Nobody had anything open before, so there is nothing to wait for.
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 10 >/proc/fs/nfsd/nfsv4gracetime
exportfs -o rw,fsid=0,no_root_squash,insecure,sync '*:/var/lib/bench-state'
systemd-run --quiet --unit=bench-mountd rpc.mountd --foreground --no-nfs-version 3
rpc.nfsd --no-nfs-version 3 2
"""
_CONTROL = f"""
set -eu
mountpoint -q {_STATE} || mount -t nfs4 -o vers=4.2,hard "$1":/ {_STATE}
systemd-run --quiet --unit=bench-slurmctld --uid=slurm --setenv=SLURM_SACK_KEY={_KEY} \
        slurmctld -D -f {CONF}
"""
_WORK = f"systemd-run --quiet --unit=bench-slurmd --setenv=SLURM_SACK_KEY={_KEY} slurmd -D -f {CONF}"


def write_conf(controllers: dict[str, str], workers: dict[str, str]) -> str:
    """Return slurm.conf(5) for `controllers`, primary first, and `workers`: addresses by host name."""
    lines = [
        "ClusterName=bench",
        *(f"SlurmctldHost={name}({address})" for name, address in controllers.items()),
        "SlurmUser=slurm",
        "AuthType=auth/slurm",
        "CredType=cred/slurm",
        f"StateSaveLocation={_STATE}",
        "SlurmctldPidFile=/run/bench/slurmctld.pid",
        "SlurmdPidFile=/run/bench/slurmd.pid",
        "SlurmdSpoolDir=/run/bench/spool",
        "ReturnToService=2",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        *(f"NodeName={name} NodeAddr={address} CPUs=1" for name, address in workers.items()),
        "PartitionName=all Nodes=ALL Default=YES MaxTime=UNLIMITED State=UP",
    ]
    return "\n".join(lines) + "\n"


class Backup:
    """SLURM as its makers set it up; `primary` and `backup` share the folder of `seat`."""

    def __init__(self, trio: Trio) -> None:
        self._trio = trio
        self.primary, self.backup, self.seat = trio.machines
        self._addresses = {machine: read_address(machine) for machine in trio.machines}
        self._names = {machine: machine.run("hostname") for machine in trio.machines}
        self._key = randomness.token_bytes(1024)

    def begin(self) -> None:
        """Stop the roles, and start everything."""
        for machine in self._trio.machines:
            self._prepare(machine)
        self.seat.run("sh", "-c", _SERVE, limit=LIMIT)
        for machine in self._trio.machines:
            self._start(machine)
        self._wait_idle()

    def measure(self) -> float:
        """Return the seconds from the loss of the primary to a new job that has run; it stays lost."""
        return measure_loss(self.primary, self.seat, VARIABLE)

    def restore(self) -> None:
        """Have the lost primary back."""
        self._trio.switch_on(self.primary)
        self._prepare(self.primary)
        self._start(self.primary)
        # It takes over from the backup as soon as it runs.
        ping = ["env", VARIABLE, "scontrol", "ping"]
        wait_for("the primary", lambda: self.seat.execute(ping).text.count("is UP") == 2, LIMIT, every=2.0)
        self._wait_idle()

    def _prepare(self, machine: Machine) -> None:
        conf = write_conf(
            {self._names[each]: self._addresses[each] for each in (self.primary, self.backup)},
            {self._names[each]: self._addresses[each] for each in self._trio.machines},
        )
        machine.run(
            "sh",
            "-euc",
            f'{_PREPARE} printf %s "$1" >{CONF}; (umask 077; cat >{_KEY}); chown slurm: {_KEY}',
            "sh",
            conf,
            stdin=self._key,
            limit=LIMIT,
        )

    def _start(self, machine: Machine) -> None:
        if machine is not self.seat:
            machine.run("sh", "-c", _CONTROL, "sh", self._addresses[self.seat], limit=LIMIT)
        machine.run(*shlex.split(_WORK), limit=LIMIT)

    def _wait_idle(self) -> None:
        wait_for("idle workers", lambda: slurm.idle(self.seat, VARIABLE) == SIZE, SLURM_LIMIT, every=2.0)


def read_address(machine: Machine) -> str:
    """Return the address of a machine on the mesh."""
    out = machine.run("ip", "-oneline", "-4", "address", "show", "dev", "mesh0")
    return out.split()[3].partition("/")[0]
