# SPDX-License-Identifier: Apache-2.0
"""Serf's configuration holds what a node needs, and tags alone restart nothing.

That Serf takes it is tested in tests/cluster.
"""

import json
from base64 import b64decode
from dataclasses import replace

import pytest

from agent.discovery.serf_config import SerfSettings, needs_restart, render
from agent.errors import ClusterError

SETTINGS = SerfSettings(
    name="node.0123456789ab",
    bind_address="0.0.0.0",
    bind_port=7946,
    advertise="10.0.0.7",
    rpc_port=7373,
    rpc_auth="rpc key",
    gossip_key=bytes(range(32)),
    tags={"p": "f"},
    log_level="warning",
)


def test_the_configuration_holds_what_differs_between_nodes() -> None:
    content = json.loads(render(SETTINGS))
    assert content["node_name"] == "node.0123456789ab"
    assert (content["bind"], content["advertise"]) == ("0.0.0.0:7946", "10.0.0.7:7946")
    assert (content["rpc_addr"], content["rpc_auth"]) == ("127.0.0.1:7373", "rpc key")
    assert b64decode(content["encrypt_key"]) == SETTINGS.gossip_key
    assert (content["tags"], content["log_level"]) == ({"p": "f"}, "WARN")


def test_a_node_never_says_goodbye_by_itself_and_never_joins_by_itself() -> None:
    content = json.loads(render(SETTINGS))
    assert content["leave_on_terminate"] is False
    assert content["skip_leave_on_interrupt"] is True
    assert content["disable_name_resolution"] is True
    assert not {"snapshot_path", "start_join", "retry_join", "discover", "keyring_file"} & set(content)


def test_ipv6_addresses_are_written_as_serf_reads_them() -> None:
    content = json.loads(render(replace(SETTINGS, bind_address="::", advertise="2001:db8::7")))
    assert (content["bind"], content["advertise"]) == ("[::]:7946", "[2001:db8::7]:7946")
    assert "advertise" not in json.loads(render(replace(SETTINGS, advertise=None)))


def test_what_is_no_address_is_named() -> None:
    with pytest.raises(ClusterError, match="'eth0' is not an address"):
        render(replace(SETTINGS, bind_address="eth0"))


def test_gossip_is_never_unencrypted_and_the_rpc_never_open() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        render(replace(SETTINGS, gossip_key=b""))
    with pytest.raises(ValueError, match="open"):
        render(replace(SETTINGS, rpc_auth=""))


def test_secrets_do_not_show_in_the_representation() -> None:
    assert "rpc key" not in repr(SETTINGS)
    assert "gossip_key" not in repr(SETTINGS)


def test_only_tags_can_change_without_a_restart() -> None:
    old = render(SETTINGS)
    assert not needs_restart(old, render(replace(SETTINGS, tags={"p": "m"})))
    assert needs_restart(old, render(replace(SETTINGS, gossip_key=bytes(32))))
    assert needs_restart(None, old)
    assert needs_restart(b"[]", old)
    assert needs_restart(b"{", old)
