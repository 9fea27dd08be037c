# SPDX-License-Identifier: Apache-2.0
"""Join credentials for tests."""

from base64 import b32encode
from dataclasses import replace

from nacl.utils import random

from agent.cluster import Credential, Policy
from agent.identity import identity_of_seed
from agent.membership import credential as credentials
from agent.membership.ticket import sign_ticket


def make_credential(machines: int, *, founder: bool = False, policy: Policy = Policy.AUTO) -> Credential:
    """Return a credential of a new cluster."""
    operator, cluster_id = random(32), b32encode(random(16)).decode().lower().rstrip("=")
    return Credential(
        cluster_id=cluster_id,
        name="lab",
        gossip_key=random(32),
        operator_key=identity_of_seed(operator).public_key,
        ticket=sign_ticket(operator, cluster_id, random(16), founder=founder),
        machines=machines,
        voters=min(5, machines - 1 + machines % 2) if machines else 3,
        policy=policy,
        allowlist=(),
        ipv4_range="10.86.0.0/16",
        seeds=(),
        srv=None,
    )


def encode(credential: Credential, **changes: object) -> bytes:
    """Return the file of the credential, with some of its fields changed."""
    return credentials.encode(replace(credential, **changes))  # type: ignore[arg-type]
