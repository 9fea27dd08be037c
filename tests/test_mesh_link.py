# SPDX-License-Identifier: Apache-2.0
"""The steps that lead the mesh's link from any state to the wanted one."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.mesh.link_plan import LinkSettings, LinkState, Nic, Step, Verb, find_overlaps, plan_link

SETTINGS = LinkSettings("10.77.3.4", "10.77.0.0/16", "fd00:1::5", "fd00:1::/64", 1420)
RIGHT = LinkState(
    index=7,
    kind="wireguard",
    up=True,
    mtu=1420,
    addresses=frozenset({"10.77.3.4/16", "fd00:1::5/64"}),
    routed=frozenset({"10.77.0.0/16", "fd00:1::/64"}),
)


def carry_out(state: LinkState, steps: tuple[Step, ...]) -> LinkState:
    """Do to `state` what the kernel does."""
    up, mtu, addresses, routed = state.up, state.mtu, set(state.addresses), set(state.routed)
    for step in steps:
        if step.verb is Verb.SET_MTU:
            mtu = int(step.value)
        elif step.verb is Verb.SET_UP:
            up = True
            routed |= {SETTINGS.addresses[address] for address in addresses if address in SETTINGS.addresses}
        elif step.verb is Verb.ADD_ROUTE:
            routed.add(step.value)
        elif step.verb is Verb.REMOVE_ADDRESS:
            addresses.remove(step.value)
        else:
            assert ":" not in step.value or mtu >= 1280, "the kernel refuses"
            addresses.add(step.value)
            routed |= {SETTINGS.addresses[step.value]} if up else set()
    return LinkState(state.index, state.kind, up, mtu, frozenset(addresses), frozenset(routed))


def test_a_link_that_is_right_is_left_alone() -> None:
    assert plan_link("mesh0", RIGHT, SETTINGS) == ()


def test_a_new_link_gets_all_and_is_brought_up_last() -> None:
    new = LinkState(7, "wireguard", False, 1500, frozenset(), frozenset())
    assert [str(step) for step in plan_link("mesh0", new, SETTINGS)] == [
        "set the MTU to 1420",
        "added the address 10.77.3.4/16",
        "added the address fd00:1::5/64",
        "brought up mesh0",
    ]


def test_a_route_that_somebody_took_away_is_added() -> None:
    state = dataclasses.replace(RIGHT, routed=frozenset({"fd00:1::/64"}))
    assert plan_link("mesh0", state, SETTINGS) == (Step(Verb.ADD_ROUTE, "10.77.0.0/16"),)


@given(
    st.builds(
        LinkState,
        index=st.just(7),
        kind=st.just("wireguard"),
        up=st.booleans(),
        mtu=st.sampled_from([576, 1280, 1420, 9000]),
        addresses=st.frozensets(
            st.sampled_from(["10.77.3.4/16", "10.77.3.4/32", "192.0.2.1/24", "fd00:1::5/64", "fd00:2::1/64"])
        ),
        routed=st.frozensets(st.sampled_from(["10.77.0.0/16", "fd00:1::/64"])),
    )
)
def test_from_any_state_two_looks_are_enough(state: LinkState) -> None:
    for _ in range(2):
        state = carry_out(state, plan_link("mesh0", state, SETTINGS))
    assert state == RIGHT


@pytest.mark.parametrize(
    "wrong",
    [
        {"ipv4": "10.78.0.1"},
        {"ipv6": "fd00:2::1"},
        {"ipv4": "10.77.3"},
        {"ipv4_range": "10.77.3.4/16"},
        {"ipv6_range": "fd00:1::/129"},
    ],
)
def test_an_address_that_cannot_be_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ClusterError, match="mesh address"):
        dataclasses.replace(SETTINGS, **wrong)  # type: ignore[arg-type]


def test_a_network_of_the_underlay_within_the_mesh_is_named() -> None:
    nics = [
        Nic("eth0", 1500, ("192.0.2.5/24", "fe80::1/64")),
        Nic("eth1", 1500, ("10.77.9.1/24",)),
        Nic("eth2", 1500, ("fd00:1::77/64", "10.0.0.1/8")),
    ]
    assert find_overlaps(nics, SETTINGS) == [
        "eth1 has 10.77.9.1/24, within reach of the mesh's 10.77.0.0/16",
        "eth2 has fd00:1::77/64, within reach of the mesh's fd00:1::/64",
        "eth2 has 10.0.0.1/8, within reach of the mesh's 10.77.0.0/16",
    ]
    assert find_overlaps(nics[:1], SETTINGS) == []
