# SPDX-License-Identifier: Apache-2.0
"""What `./build.py cluster` issues: for whom it is good, how long, and where it is written."""

import subprocess
import time
from pathlib import Path

import pytest

from agent.membership.credential import NAME, decode
from image.cluster.commands import read_credential
from image.toolstree import ToolsTree
from tests.cluster_command import cluster, credential_of, mode, refuse


def test_a_founding_medium_is_for_a_cluster_without_a_number(tmp_path: Path) -> None:
    cluster(tmp_path, "new", "lab", "--machines", "3")
    error = refuse(tmp_path, "credential", "lab", "--founder")
    assert error.message == "cluster lab is founded by a majority of its 3 machines, not by one"
    cluster(tmp_path, "new", "big", "--machines", "0")
    assert credential_of(tmp_path, "big", "founder.join").ticket.founder
    assert not credential_of(tmp_path, "big").ticket.founder
    before = credential_of(tmp_path, "big", "founder.join").ticket.nonce
    cluster(tmp_path, "credential", "big", "--founder")
    assert credential_of(tmp_path, "big", "founder.join").ticket.nonce != before


def test_a_changed_plan_reaches_the_next_credential(tmp_path: Path) -> None:
    cluster(tmp_path, "new", "lab")
    plan = tmp_path / "clusters/lab/cluster.yaml"
    plan.write_text(plan.read_text().replace("seeds: []", "seeds: [seed.example]"))
    assert decode(read_credential(tmp_path, "lab"), "VM").seeds == ("seed.example",)
    assert credential_of(tmp_path).seeds == ()
    cluster(tmp_path, "credential", "lab")
    assert credential_of(tmp_path).seeds == ("seed.example",)


def test_a_token_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cluster(tmp_path, "new", "lab")
    before = int(time.time())
    cluster(tmp_path, "token", "lab", "--ttl", "36h")
    found = credential_of(tmp_path, file="token.join")
    assert found.ticket.expires is not None
    assert before + 36 * 3600 <= found.ticket.expires <= time.time() + 36 * 3600
    assert mode(tmp_path / "clusters/lab/token.join") == 0o600
    assert " UTC; secret." in capsys.readouterr().out


@pytest.mark.parametrize("ttl", ["", "0h", "-1h", "24", "h", "1y", "24H", "1.5h", "4000d", "9" * 5000 + "h"])
def test_a_wrong_length_of_time_is_told(tmp_path: Path, ttl: str) -> None:
    cluster(tmp_path, "new", "lab")
    error = refuse(tmp_path, "token", "lab", f"--ttl={ttl}")
    assert error.message.startswith("--ttl: ")
    assert error.hint == "give 1m to 10 years, as 30m, 24h, 7d or 4w"


def test_an_output_is_for_its_owner_alone_and_overwrites_nothing(tmp_path: Path) -> None:
    cluster(tmp_path, "new", "lab")
    output = tmp_path / "given.join"
    cluster(tmp_path, "credential", "lab", "--output", str(output))
    assert mode(output) == 0o600
    assert decode(output.read_bytes(), "FILE").name == "lab"
    before = output.read_bytes()
    assert "is there already" in refuse(tmp_path, "token", "lab", "--output", str(output)).message
    assert output.read_bytes() == before
    missing = tmp_path / "none/given.join"
    assert refuse(tmp_path, "credential", "lab", "--output", str(missing)).message.startswith("cannot write")


def test_the_form_for_an_esp_is_opened_by_systemd_under_its_name(tmp_path: Path, tools: ToolsTree) -> None:
    cluster(tmp_path, "new", "lab")
    output = tmp_path / f"{NAME}.cred"
    cluster(tmp_path, "credential", "lab", "--output", str(output), tools=tools)
    assert mode(output) == 0o600

    def open_as(name: str) -> "subprocess.CompletedProcess[bytes]":
        command = ["systemd-creds", "decrypt", "--allow-null", f"--name={name}", str(output), "-"]
        return subprocess.run(tools.command(command), capture_output=True, timeout=60, check=False)

    assert decode(open_as(NAME).stdout, "FILE").name == "lab"
    assert open_as("other").returncode != 0
