# SPDX-License-Identifier: Apache-2.0
"""Join credentials for tests."""

from base64 import b32encode
from dataclasses import replace

from nacl.utils import random

from agent.cluster import Credential, Policy
from agent.identity import identity_of_seed
from agent.membership import credential as credentials
from agent.membership.ticket import sign_ticket


class Operator:
    """Who plans a cluster and issues its credentials."""

    def __init__(
        self, machines: int, *, policy: Policy = Policy.AUTO, allowlist: tuple[str, ...] = ()
    ) -> None:
        self.seed = random(32)
        self.plan = Credential(
            cluster_id=b32encode(random(16)).decode().lower().rstrip("="),
            name="lab",
            gossip_key=random(32),
            operator_key=identity_of_seed(self.seed).public_key,
            ticket=sign_ticket(self.seed, "", b""),
            machines=machines,
            voters=min(5, machines - 1 + machines % 2) if machines else 3,
            policy=policy,
            allowlist=allowlist,
            ipv4_range="10.86.0.0/16",
            seeds=(),
            srv=None,
        )
        self.plan = self.issue()

    def issue(
        self, *, founder: bool = False, expires: int | None = None, signer: bytes | None = None
    ) -> Credential:
        """Return a credential; `expires` in Unix seconds, `signer` a seed (default: the operator's)."""
        ticket = sign_ticket(
            signer or self.seed, self.plan.cluster_id, random(16), founder=founder, expires=expires
        )
        return replace(self.plan, ticket=ticket)


def make_credential(machines: int, *, founder: bool = False, policy: Policy = Policy.AUTO) -> Credential:
    """Return a credential of a new cluster."""
    return Operator(machines, policy=policy).issue(founder=founder)


def encode(credential: Credential, **changes: object) -> bytes:
    """Return the file of the credential, with some of its fields changed."""
    return credentials.encode(replace(credential, **changes))  # type: ignore[arg-type]
