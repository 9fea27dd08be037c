# SPDX-License-Identifier: Apache-2.0
"""Issue join credentials from a bundle, and put them into the form that an ESP needs.

systemd-stub hands `loader/credentials/*.cred` of the ESP to the initrd, where PID 1 takes them for encrypted
ones (systemd-stub(7), systemd-creds(1)). As no key is shared with a machine that was never started, it is the
null key: the file is as secret as the plain one.
"""

import secrets as randomness
import subprocess

from agent.cluster import Credential
from agent.errors import ClusterError
from agent.membership.credential import NAME, encode
from agent.membership.ticket import NONCE_BYTES, sign_ticket
from image.cluster.bundle import Bundle
from image.toolstree import ToolsTree

_TIME_LIMIT = 60.0


def issue(bundle: Bundle, *, founder: bool = False, expires: int | None = None) -> Credential:
    """Return a new join credential of the cluster; `expires` in Unix seconds, None for never.

    Raises ClusterError for a founder where machines found together: there could be two clusters.
    """
    plan, secrets = bundle.plan, bundle.secrets
    if founder and plan.machines:
        raise ClusterError(
            f"cluster {plan.name} is founded by a majority of its {plan.machines} machines, not by one",
            hint="a founding medium needs a plan without a number: ./build.py cluster new NAME --machines 0",
        )
    nonce = randomness.token_bytes(NONCE_BYTES)
    return Credential(
        cluster_id=plan.cluster_id,
        name=plan.name,
        gossip_key=secrets.gossip_key,
        operator_key=plan.operator_key,
        ticket=sign_ticket(secrets.operator_seed, plan.cluster_id, nonce, expires=expires, founder=founder),
        machines=plan.machines,
        voters=plan.voters,
        policy=plan.policy,
        allowlist=plan.allowlist,
        ipv4_range=plan.ipv4_range,
        seeds=plan.seeds,
        srv=plan.srv,
        users=bundle.users,
    )


def encode_for_esp(credential: Credential, tools: ToolsTree) -> bytes:
    """Return the content of cluster-os.join.cred for the folder loader/credentials/ of an ESP. Secret."""
    command = ["systemd-creds", "encrypt", "--with-key=null", f"--name={NAME}", "-", "-"]
    done = subprocess.run(
        tools.command(command),
        input=encode(credential),
        capture_output=True,
        timeout=_TIME_LIMIT,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ClusterError(f"systemd-creds failed: {reason}", hint="write the plain file: leave out .cred")
    return done.stdout
