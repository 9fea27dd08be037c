# SPDX-License-Identifier: Apache-2.0
"""The configuration comes in layers, and all that is wrong in all of them is told at once."""

from pathlib import Path

import pytest

from agent.config import Source, environment_source, merge, read_config
from agent.errors import ClusterError

DEFAULTS = Source("defaults", {"log": {"level": "info"}, "identity": {"seal": "auto"}})


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
        f"  {path}: network: no such section; there are log, identity",
        f"  {path}: identity: must hold keys; there are seal",
        f"  {path}: 3: no such section; there are log, identity",
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
        (b"- log", "must hold sections; there are log, identity"),
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
        merge([Source("defaults", {"log": {"level": "info"}})])
