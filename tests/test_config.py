# SPDX-License-Identifier: Apache-2.0
"""The configuration comes in layers, and all that is wrong in all of them is told at once."""

from pathlib import Path

import pytest

from agent.config import Source, environment_source, merge, read_config
from agent.errors import ClusterError

DEFAULTS = Source(
    "defaults",
    {
        "log": {"level": "info"},
        "identity": {"seal": "auto"},
        "discovery": {"bind_port": 7946, "rpc_port": 7373, "mdns": True},
        "networking": {
            "interface": "mesh0",
            "listen_port": 51820,
            "mtu": 0,
            "keepalive": 25,
            "open_ports": [],
        },
        "election": {"port": 7950, "lease": 6, "voter_grace": 300},
        "metrics": {"port": 7980},
        "roles": {"labels": []},
    },
)
SECTIONS = "log, identity, discovery, networking, election, metrics, roles"


def test_the_image_gives_every_key_a_value(tmp_path: Path) -> None:
    config = read_config(tmp_path, {})
    assert (config.log.level, config.identity.seal) == ("info", "auto")


def test_the_machine_overrides_the_image_and_the_environment_overrides_both(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("log: {level: debug}\nidentity: {seal: none}\n")
    config = read_config(tmp_path, {"CLUSTEROS_LOG_LEVEL": "error", "HOME": "/root"})
    assert (config.log.level, config.identity.seal) == ("error", "none")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("# nothing yet\n")
    assert read_config(tmp_path, {}) == read_config(tmp_path / "none", {})


def test_all_errors_are_told_at_once_with_file_key_and_allowed_values(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("log: {level: loud, colour: red}\nnetwork: {}\nidentity: yes\n3: 4\n")
    with pytest.raises(ClusterError) as caught:
        read_config(tmp_path, {"CLUSTEROS_LOG_LEVEL": "7", "CLUSTEROS_IDENTITY_SEEL": "none"})
    assert caught.value.message.splitlines() == [
        "there are 7 errors in the configuration:",
        f"  {path}: log.level: 'loud' is not one of debug, info, warning, error",
        f"  {path}: log.colour: no such key; there are level",
        f"  {path}: network: no such section; there are {SECTIONS}",
        f"  {path}: identity: must hold keys; there are seal",
        f"  {path}: 3: no such section; there are {SECTIONS}",
        "  environment: identity.seel: no such key; there are seal",
        "  environment: log.level: '7' is not one of debug, info, warning, error",
    ]


def test_environment_variables_of_others_are_left_alone() -> None:
    foreign = {"CLUSTEROS_STATE": "/x", "CLUSTEROS_TOOLS": "/y", "CLUSTEROS_LOG": "z", "LOG_LEVEL": "loud"}
    assert environment_source(foreign).values == {}
    assert merge([DEFAULTS, environment_source(foreign)]).log.level == "info"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"log: [", "line 1: not YAML"),
        (b"a: b: c", "line 1: not YAML"),
        (b"- log", "must hold sections; there are log, identity, discovery"),
        (b"\xff\xfe\xff", "not YAML"),
        (b"\x00", "not YAML"),
        (b"log: !!python/object/apply:os.system [true]", "not YAML: could not determine a constructor"),
        (b"log: {level: [info]}", "log.level: ['info'] is not one of"),
        (b"log: {level: {}}", "log.level: {} is not one of"),
        (b"[" * 1000, "not YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path: Path, text: bytes, what: str) -> None:
    (tmp_path / "node.yaml").write_bytes(text)
    with pytest.raises(ClusterError) as caught:
        read_config(tmp_path, {})
    assert f"{tmp_path}/node.yaml" in caught.value.message
    assert what in caught.value.message


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.yaml").mkdir()
    with pytest.raises(ClusterError, match=r"node\.yaml: is a directory"):
        read_config(tmp_path, {})


def test_a_key_without_a_value_anywhere_is_an_error() -> None:
    with pytest.raises(
        ClusterError, match=r"there is 1 error in .*\n  no value for identity\.seal in any file"
    ):
        merge([Source("defaults", {**DEFAULTS.values, "identity": {}})])


@pytest.mark.parametrize(
    ("variable", "text", "section", "value"),
    [
        ("CLUSTEROS_DISCOVERY_BIND_PORT", "7000", "discovery", 7000),
        ("CLUSTEROS_DISCOVERY_MDNS", "no", "discovery", False),
        ("CLUSTEROS_NETWORKING_LISTEN_PORT", "51821", "networking", 51821),
        ("CLUSTEROS_NETWORKING_OPEN_PORTS", "tcp/22, udp/123", "networking", ("tcp/22", "udp/123")),
    ],
)
def test_the_environment_is_read_by_the_kind_of_the_key(
    tmp_path: Path, variable: str, text: str, section: str, value: object
) -> None:
    config = read_config(tmp_path, {variable: text})
    key = variable.removeprefix(f"CLUSTEROS_{section.upper()}_").lower()
    assert getattr(getattr(config, section), key) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("discovery: {bind_port: 0}", "discovery.bind_port: 0 is not a whole number from 1 to 65535"),
        ("discovery: {bind_port: true}", "discovery.bind_port: True is not a whole number"),
        ("discovery: {mdns: maybe}", "discovery.mdns: 'maybe' is not true or false"),
        (
            "networking: {interface: 'a b'}",
            "networking.interface: 'a b' is not the name of a network interface",
        ),
        ("networking: {open_ports: [tcp/0]}", "networking.open_ports: ['tcp/0'] is not a list of at most 64"),
        ("election: {lease: 1.5}", "election.lease: 1.5 is not a whole number of seconds from 3 to 600"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "node.yaml").write_text(text)
    with pytest.raises(ClusterError) as caught:
        read_config(tmp_path, {})
    assert said in caught.value.message
