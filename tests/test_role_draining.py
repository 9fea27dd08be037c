# SPDX-License-Identifier: Apache-2.0
"""A drain command, and what it has started, when its time is over."""

from pathlib import Path

from agent.roles.draining import Draining
from agent.roles.role import Drain
from harness.waiting import wait_for


def test_a_drain_that_takes_too_long_ends_with_all_that_it_has_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    draining = Draining()
    drain = Drain(("/bin/sh", "-c", f"sleep 60 & echo $! >{child}.new; mv {child}.new {child}; wait"), 5)
    assert not draining.look("worker", drain, 10.0)
    wait_for("the command's own child", child.exists, 10.0)
    assert not draining.look("worker", drain, 14.9)
    assert draining.look("worker", drain, 15.0)
    process = Path(f"/proc/{int(child.read_text())}/stat")

    def ended() -> bool:
        # Nobody may take up its status here: a zombie has ended, too.
        try:
            return process.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    wait_for("the child to end", ended, 10.0)
