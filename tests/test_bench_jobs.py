# SPDX-License-Identifier: Apache-2.0
"""What the bench of jobs makes of its measurements, and the SLURM that it compares with."""

from image.bench.jobs import Measured, judge
from image.bench.jobs.backup import write_conf
from image.bench.jobs.kills import count_wrong


def test_ours_is_judged_by_the_median_of_slurms_own() -> None:
    roots = {"base": 164.0, "base and SLURM": 300.0, "hpc": 535.5}
    measured = Measured((30.0, 20.0, 25.0), (140.0, 130.0, 150.0), 2.0, 1.0, roots, 1.4, 1)
    found = {figure.name: (figure.value, figure.limit) for figure in judge(measured)}
    assert found["controller lost to the first new job"] == (25.0, 28.0)
    assert found["tasks lost or run twice"] == (1, 0)
    assert found["cold build of hpc"] == (1.4, 2.5)
    assert found["root partition: base and SLURM"] == (300.0, None)
    assert found["root partition: hpc"] == (535.5, 900.0)


def test_a_task_is_wrong_that_ended_never_or_twice() -> None:
    assert count_wrong({"7.1": 1, "7.2": 1, "7.3": 1, "7.4": 1, "6.1": 2}, 7) == 0
    assert count_wrong({"7.1": 1, "7.2": 2, "7.3": 1}, 7) == 2


def test_slurms_own_has_its_controllers_in_order_and_no_times_but_its_defaults() -> None:
    conf = write_conf({"b": "10.0.0.2", "a": "10.0.0.1"}, {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"})
    lines = conf.splitlines()
    assert [line for line in lines if line.startswith("SlurmctldHost")] == [
        "SlurmctldHost=b(10.0.0.2)",
        "SlurmctldHost=a(10.0.0.1)",
    ]
    assert sum(line.startswith("NodeName=") for line in lines) == 3
    assert not any("Timeout" in line or "Interval" in line for line in lines)
