# SPDX-License-Identifier: Apache-2.0
"""The options of `./build.py cluster new`: all faults at once, each with what is allowed."""

from pathlib import Path

import pytest

from agent.identity import identity_of_seed
from tests.cluster_command import refuse

NODE = identity_of_seed(b"\1" * 32).node_id


def test_all_wrong_options_are_told_at_once(tmp_path: Path) -> None:
    wrong = [
        "--machines",
        "many",
        "--voters",
        "2",
        "--policy",
        "all",
        "--allow",
        "x",
        "--ipv4-range",
        "1.2.3.4",
    ]
    error = refuse(tmp_path, "new", "Lab", *wrong, "--seeds", "a b", "--srv", "a..b")
    lines = error.message.splitlines()
    assert lines[0] == "there are 8 errors in the arguments:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "NAME",
        "--machines",
        "--voters",
        "--policy",
        "--allow",
        "--ipv4-range",
        "--seeds",
        "--srv",
    ]
    assert not (tmp_path / "clusters").exists()


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        ([""], "NAME: must be 1 to 32 characters"),
        (["../lab"], "NAME: must be 1 to 32 characters"),
        (["lab", "--machines", "-1"], "--machines: must be the planned number of machines, 1 to 1000, or 0"),
        (["lab", "--machines", "1001"], "--machines: must be"),
        (
            ["lab", "--machines", "3", "--voters", "5"],
            "--voters: must be at most the 3 of machines; allowed: 1, 3",
        ),
        (["lab", "--machines", "9", "--voters", "9"], "--voters: must be 1, 3 or 5"),
        (["lab", "--policy", "Auto"], "--policy: must be auto, allowlist or approve"),
        (["lab", "--policy", "allowlist"], "--allow: must have an entry"),
        (
            ["lab", "--policy", "allowlist", "--allow", NODE],
            "--allow: must hold node IDs of more than half of the 3 machines, which found the cluster; "
            "there are 1",
        ),
        (["lab", "--allow", NODE], "--allow: must be empty, as policy is auto"),
        (["lab", "--policy", "allowlist", "--allow", f"l{NODE[1:]}"], "--allow: must be a list"),
        (["lab", "--ipv4-range", "10.86.0.0/30"], "--ipv4-range: must be a private IPv4 network"),
        (["lab", "--ipv4-range", "10.86.0.8/29", "--machines", "7"], "--ipv4-range: has room for 6 machines"),
        (["lab", "--seeds", "host:99999"], "--seeds: must be a list of at most 32"),
        (["lab", "--srv", "-"], "--srv: must be a DNS name"),
    ],
)
def test_a_wrong_option_is_told_with_what_is_allowed(tmp_path: Path, argv: list[str], what: str) -> None:
    lines = refuse(tmp_path, "new", *argv).message.splitlines()
    assert lines[0] == "there is 1 error in the arguments:"
    assert lines[1].startswith(f"  {what}")
