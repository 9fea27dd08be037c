# SPDX-License-Identifier: Apache-2.0
"""The console scanner finds what no healthy machine says, and nothing else."""

import pytest

from harness.console import FATAL, KINDS, first_fatal, plain, scan

BAD = [
    ("panic", "[   12.3] Kernel panic - not syncing: dm-verity device corrupted"),
    ("panic", "systemd[1]: Freezing execution."),
    ("oops", "[    3.1] Oops: 0002 [#1] PREEMPT SMP"),
    ("oops", "[    3.1] BUG: unable to handle page fault for address: ffffc90000000000"),
    ("oops", "[    3.1] kernel BUG at mm/slub.c:4023!"),
    ("lockup", "[   90.0] watchdog: BUG: soft lockup - CPU#0 stuck for 23s! [swapper/0:1]"),
    ("lockup", "[  242.6] INFO: task jbd2/vda5-8:201 blocked for more than 120 seconds."),
    ("bug", "[    5.5] BUG: scheduling while atomic: swapper/1/0/0x00000002"),
    ("emergency shell", 'You are in emergency mode. After logging in, type "journalctl -xb"'),
    ("emergency shell", "[  OK  ] Reached target emergency.target - Emergency Mode."),
    ("emergency shell", "Cannot open access to console, the root account is locked."),
    ("ordering cycle", "systemd[1]: sysinit.target: Found ordering cycle on foo.service/start"),
    ("ordering cycle", "systemd[1]: Job bar.service/start deleted to break ordering cycle starting with x"),
    ("out of memory", "[   60.1] Out of memory: Killed process 412 (python3) total-vm:123kB"),
    ("out of memory", "[   60.1] slurmctld invoked oom-killer: gfp_mask=0xcc0"),
    ("segfault", "[   22.2] serf[512]: segfault at 0 ip 000000000046b5a1 sp 00007ffd error 4 in serf"),
    ("segfault", "x.service: Main process exited, code=dumped, status=11/SEGV"),
    ("dm-verity", "[    9.0] device-mapper: verity: 253:2: data block 21173 is corrupted"),
    ("failed unit", "[FAILED] Failed to start chrony.service - chrony, an NTP client/server."),
    ("failed unit", "[\x1b[0;1;31mFAILED\x1b[0m] Failed to start \x1b[0;1;39mx.service\x1b[0m."),
    ("failed unit", "[DEPEND] Dependency failed for var.mount - /var."),
    ("failed unit", "systemd[1]: x.service: Failed with result 'exit-code'."),
]

HEALTHY = """\
BdsDxe: starting Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x1,0x0)
[    0.000000] Linux version 6.12.117+deb13-cloud-amd64 (debian-kernel@lists.debian.org)
[    0.000000] Command line: roothash=a024 systemd.verity_root_options=panic-on-corruption panic=30
[    0.1] BUG_ON is a macro, and debug: is a word
[    8.9] device-mapper: verity: sha256 using implementation "sha256-ni"
[  OK  ] Reached target multi-user.target - Multi-User System.
[  OK  ] Stopped systemd-ask-password-emergency.path
n-54ftchjdcx login:
"""


@pytest.mark.parametrize(("kind", "line"), BAD)
def test_each_bad_line_is_found_as_its_kind(kind: str, line: str) -> None:
    findings = scan(f"fine\r\n{line}\r\nfine\r\n")
    assert [(finding.kind, finding.number) for finding in findings] == [(kind, 2)]


def test_every_kind_has_an_example() -> None:
    assert {kind for kind, _ in BAD} == KINDS


def test_a_healthy_console_is_clean() -> None:
    assert scan(HEALTHY) == []


def test_what_a_test_provokes_is_not_counted_and_all_else_is() -> None:
    text = "\n".join(line for _, line in BAD)
    left = {finding.kind for finding in scan(text, expected=("panic", "dm-verity"))}
    assert left == KINDS - {"panic", "dm-verity"}


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="pannic"):
        scan("", expected=("pannic",))


@pytest.mark.parametrize(("kind", "line"), BAD)
def test_waiting_ends_early_on_fatal_lines_only(kind: str, line: str) -> None:
    assert (first_fatal(line) is not None) == (kind in FATAL)


def test_escape_sequences_and_control_characters_are_removed() -> None:
    assert plain("\x1b[!p\x1b]104\x07\x1b[?7h[\x1b[0;32m  OK  \x1b[0m] Started\r\x00") == "[  OK  ] Started"


def test_a_finding_says_where_it_is() -> None:
    assert str(scan("a\nb\nOops: 0002")[0]) == "line 3: oops: Oops: 0002"
