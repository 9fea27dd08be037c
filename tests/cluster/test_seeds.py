# SPDX-License-Identifier: Apache-2.0
"""Seeds by DNS SRV records, asked of a real DNS server in a network namespace."""

import json
import os
import subprocess
import sys
from pathlib import Path

from agent.discovery.seeds import SRV_SECONDS

PROJECT = Path(__file__).parents[2]
ENTER = 'ip link set lo up; mount --bind "$1" "$(readlink -f /etc/resolv.conf)"; shift; exec "$@"'


def resolve(name: str, folder: Path) -> tuple[list[str], list[str], float]:
    """Return addresses, failures and the seconds that it took to resolve the SRV name `name`."""
    config = folder / "resolv.conf"
    config.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    program = [sys.executable, "-m", "tests.cluster.dnsserver", name]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", ENTER, "sh", str(config), *program],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, sys.path)))},
        capture_output=True,
        timeout=60,
        check=True,
    )
    addresses, failures, seconds = json.loads(done.stdout)
    return addresses, failures, seconds


def test_srv_records_give_addresses_by_priority_with_their_ports(tmp_path: Path) -> None:
    addresses, failures, _ = resolve("_cluster-os._udp.lab.test", tmp_path)
    assert addresses == ["198.51.100.7:7946", "192.0.2.1:7001", "192.0.2.2:7946"]
    assert len(failures) == 1
    assert failures[0].startswith("seed gone.lab.test has no address")


def test_a_name_without_records_is_told_and_the_other_seeds_count(tmp_path: Path) -> None:
    addresses, failures, _ = resolve("_none._udp.lab.test", tmp_path)
    assert addresses == ["198.51.100.7:7946"]
    assert len(failures) == 1
    assert failures[0].startswith("no seeds by DNS: ")


def test_a_silent_dns_server_costs_a_few_seconds_only(tmp_path: Path) -> None:
    addresses, failures, seconds = resolve("_none._udp.silent", tmp_path)
    assert addresses == ["198.51.100.7:7946"]
    assert failures[0].startswith("no seeds by DNS: ")
    assert seconds < SRV_SECONDS + 3
