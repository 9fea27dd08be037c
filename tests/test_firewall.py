# SPDX-License-Identifier: Apache-2.0
"""The packet filter as text, as nft understands it, and as a unit. Packets meet it in tests/cluster."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.mesh.firewall import Firewall, render, render_ranges
from agent.mesh.nftables import main
from image.toolstree import ToolsTree
from tests.exposure import measure_exposure

HERE = Path(__file__).resolve().parent.parent
UNIT = HERE / "units/cluster/clusteros-firewall.service"
PROGRAM = HERE / "overlays/base/usr/lib/cluster-os/clusteros-firewall"
HIGHEST_EXPOSURE = 1.5
USUAL = Firewall("mesh0", listen_port=51820, bind_port=7946, mdns=True)
RANGES = ("10.77.0.0/16", "fd11:2233:4455::/64")


def inside(tools: ToolsTree, script: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell script with the tools tree's nft in a network namespace of its own."""
    argv = tools.command(["sh", "-ec", script, "sh", *arguments])
    enter = ["unshare", "--user", "--map-root-user", "--net", "--"]
    return subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=60, check=False)


def loaded(tools: ToolsTree, folder: Path, *texts: str) -> list[dict[str, Any]]:
    """Load `texts` one after the other and return what the kernel has then."""
    files = []
    for number, text in enumerate(texts):
        (path := folder / f"{number}.nft").write_text(text)
        files.append(path)
    done = inside(tools, 'for file; do nft -f - < "$file"; done; nft --json list ruleset', *files)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["nftables"]
    return found


def rules(ruleset: list[dict[str, Any]], chain: str) -> list[str]:
    """The rules of a chain, without counts and handles."""
    found = (entry["rule"]["expr"] for entry in ruleset if entry.get("rule", {}).get("chain") == chain)
    return [re.sub(r'"(packets|bytes)": \d+', r'"\1": 0', json.dumps(rule)) for rule in found]


def elements(ruleset: list[dict[str, Any]], name: str) -> object:
    (found,) = (entry["set"] for entry in ruleset if entry.get("set", {}).get("name") == name)
    content: object = found.get("elem")
    return content


def test_nobody_comes_in_unless_a_rule_says_so(tools: ToolsTree, tmp_path: Path) -> None:
    ruleset = loaded(tools, tmp_path, render(USUAL))
    policies = {entry["chain"]["name"]: entry["chain"].get("policy") for entry in ruleset if "chain" in entry}
    assert policies == {
        "spoofed": "accept",
        "input": "drop",
        "forward": "drop",
        "output": "accept",
        "mesh": None,
        "underlay": None,
        "roles-underlay": None,
        "roles-forward": None,
    }


def test_loading_the_rules_twice_changes_nothing(tools: ToolsTree, tmp_path: Path) -> None:
    once, twice = loaded(tools, tmp_path, render(USUAL)), loaded(tools, tmp_path, *[render(USUAL)] * 2)
    for chain in ("spoofed", "input", "forward", "output", "mesh", "underlay"):
        assert rules(once, chain)
        assert rules(once, chain) == rules(twice, chain)


def test_a_reload_keeps_the_ranges_of_the_mesh_and_the_rules_of_roles(
    tools: ToolsTree, tmp_path: Path
) -> None:
    role = "add rule inet cluster-os roles-underlay tcp dport 8000 accept\n"
    other = Firewall("mesh0", 4444, 5555, mdns=False, open_ports=("tcp/22",))
    ruleset = loaded(tools, tmp_path, render(USUAL), render_ranges(RANGES), role, render(other))
    assert elements(ruleset, "mesh4") == [{"prefix": {"addr": "10.77.0.0", "len": 16}}]
    assert elements(ruleset, "mesh6") == [{"prefix": {"addr": "fd11:2233:4455::", "len": 64}}]
    assert len(rules(ruleset, "roles-underlay")) == 1
    assert not any("51820" in rule for rule in rules(ruleset, "underlay"))


def test_the_ranges_are_replaced_and_can_be_none(tools: ToolsTree, tmp_path: Path) -> None:
    texts = [render(USUAL), render_ranges(RANGES), render_ranges(["10.78.0.0/16"])]
    assert elements(loaded(tools, tmp_path, *texts), "mesh4") == [
        {"prefix": {"addr": "10.78.0.0", "len": 16}}
    ]
    assert elements(loaded(tools, tmp_path, *texts, render_ranges([])), "mesh4") is None


def test_rules_that_cannot_be_loaded_leave_those_that_are_there(tools: ToolsTree, tmp_path: Path) -> None:
    (good := tmp_path / "good").write_text(render(USUAL))
    (bad := tmp_path / "bad").write_text(render(USUAL) + "add rule inet cluster-os nowhere accept\n")
    script = 'nft -f "$1"; nft list ruleset; if nft -f "$2" 2>/dev/null; then exit 9; fi; nft list ruleset'
    done = inside(tools, script, good, bad)
    assert done.returncode == 0, done.stderr
    half = len(done.stdout) // 2
    assert done.stdout[:half] == done.stdout[half:]


def test_the_ports_that_are_open_are_those_of_the_cluster_and_the_operator() -> None:
    assert USUAL.ports("tcp") == "{ 7946 }"
    assert USUAL.ports("udp") == "{ 5353, 7946, 51820 }"
    more = Firewall("mesh0", 51820, 7946, mdns=False, open_ports=("tcp/22", "udp/22", "tcp/443"))
    assert more.ports("tcp") == "{ 22, 443, 7946 }"
    assert more.ports("udp") == "{ 22, 7946, 51820 }"


@pytest.mark.parametrize(
    "wrong",
    ["tcp/0", "tcp/65536", "tcp/022", "sctp/22", "22", "tcp/22 accept", "tcp/22\n", "TCP/22", "tcp/", ""],
)
def test_a_port_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ClusterError):
        Firewall("mesh0", 51820, 7946, mdns=True, open_ports=(wrong,))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_listen_port_that_is_none_is_refused(port: int) -> None:
    with pytest.raises(ClusterError):
        Firewall("mesh0", port, 7946, mdns=True)
    with pytest.raises(ClusterError):
        Firewall("mesh0", 51820, port, mdns=True)


@given(st.text(max_size=20))
def test_no_interface_name_brings_rules_of_its_own(name: str) -> None:
    try:
        text = render(Firewall(name, 51820, 7946, mdns=True))
    except ClusterError:
        return
    assert text == render(USUAL).replace("mesh0", name)


@pytest.mark.parametrize(
    "wrong", ["0.0.0.0/0", "::/0", "10.0.0.0/7", "10.77.0.1/16", "mesh", "", "10.0.0.0/8 }"]
)
def test_a_range_that_cannot_be_the_mesh_is_refused(wrong: str) -> None:
    with pytest.raises(ClusterError):
        render_ranges([wrong])


def run_program(tools: ToolsTree, state: Path, then: str) -> subprocess.CompletedProcess[str]:
    """Run what clusteros-firewall runs in a namespace of its own, and the shell script `then` after it."""
    enter = ["unshare", "--user", "--map-root-user", "--net", "--"]
    program = "import sys; from agent.mesh.nftables import main; sys.exit(main([]))"
    argv = tools.command(
        ["sh", "-c", f"python3 -SBc '{program}'; echo status $?; {then}"],
        env={"CLUSTEROS_STATE": str(state), "PYTHONPATH": f"{HERE}:/usr/lib/python3/dist-packages"},
    )
    return subprocess.run([*enter, *argv], capture_output=True, text=True, timeout=60, check=False)


def test_the_program_loads_what_the_configuration_opens(tools: ToolsTree, tmp_path: Path) -> None:
    (tmp_path / "node.yaml").write_text("networking: {open_ports: [tcp/22], listen_port: 4444}\n")
    done = run_program(tools, tmp_path, "nft list chain inet cluster-os underlay")
    assert "the configuration opens tcp/22" in done.stdout, done.stderr
    assert "status 0\n" in done.stdout
    assert "tcp dport { 22, 7946 } accept" in done.stdout
    assert "udp dport { 4444, 5353, 7946 } accept" in done.stdout


@pytest.mark.parametrize(
    "wrong", ["networking: {open_ports: [all]}", "networking: {open_ports: [tcp/70000]}", "{"]
)
def test_a_configuration_with_errors_does_not_leave_the_node_open(
    wrong: str, tools: ToolsTree, tmp_path: Path
) -> None:
    (tmp_path / "node.yaml").write_text(wrong)
    done = run_program(tools, tmp_path, "nft list chain inet cluster-os underlay; nft list chains")
    assert "error: " in done.stderr
    assert "status 1\n" in done.stdout
    assert "tcp dport 7946 accept" in done.stdout
    assert "hook input priority filter; policy drop;" in done.stdout


def test_the_exposure_of_the_unit_is_low(tools: ToolsTree) -> None:
    assert measure_exposure(tools, UNIT) <= HIGHEST_EXPOSURE


def test_systemd_understands_every_line_of_the_unit(tools: ToolsTree, tmp_path: Path) -> None:
    text = UNIT.read_text().replace("/usr/lib/cluster-os/clusteros-firewall", "/usr/bin/true")
    (copy := tmp_path / UNIT.name).write_text(text)
    (tmp_path / "clusteros.target").write_text("[Unit]\n")
    argv = tools.command(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_rules_are_there_before_the_network_and_stay_when_the_unit_stops() -> None:
    text = UNIT.read_text()
    assert re.search(r"^Before=network-pre\.target .*systemd-networkd\.service", text, re.MULTILINE)
    assert "Wants=network-pre.target" in text
    assert "RemainAfterExit=yes" in text
    assert "ExecStop" not in text


def test_the_unit_starts_a_program_of_the_image_that_may_run() -> None:
    assert f"ExecStart=/{PROGRAM.relative_to(HERE / 'overlays/base')}\n" in UNIT.read_text()
    assert os.access(PROGRAM, os.X_OK)


def test_the_rules_in_the_image_are_those_of_a_node_where_nothing_is_configured(
    tools: ToolsTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--print"]) == 0
    (rules := tmp_path / "firewall.nft").write_text(capsys.readouterr().out)
    assert rules.read_text() == render(USUAL)
    done = inside(tools, 'nft -f "$1"; nft list chain inet cluster-os input', rules)
    assert "policy drop;" in done.stdout, done.stderr
