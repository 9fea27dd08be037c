# SPDX-License-Identifier: Apache-2.0
"""A genesis, always the same but for its sealed boxes."""

from agent.cluster import Credential, Genesis
from agent.formation.ballot import Ballot
from agent.formation.genesis import (
    make_genesis,
)
from tests.forming_material import NODES, hardware_of, make_credential

CREDENTIAL = make_credential(5)
BALLOT = Ballot(3, NODES[0], hardware_of(0))


def random(count: int) -> bytes:
    return bytes(range(7, 7 + count))


def founded_by(count: int, credential: Credential = CREDENTIAL) -> Genesis:
    return make_genesis(credential, {NODES[i]: hardware_of(i) for i in range(count)}, random)[0]
