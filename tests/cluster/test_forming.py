# SPDX-License-Identifier: Apache-2.0
"""Machines that are switched on form one cluster, by themselves."""

from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machines, wait_formed


def test_three_machines_form_one_cluster(machines: Machines) -> None:
    wait_formed(machines.start(3, encode(make_credential(3))))


def test_a_machine_that_comes_later_joins(machines: Machines) -> None:
    credential = encode(make_credential(3))
    wait_formed(machines.start(2, credential))
    late = machines[3]
    late.give(credential)
    late.start()
    wait_formed(machines.all())
