# SPDX-License-Identifier: Apache-2.0
"""A node leaves its cluster when its roles have given up their work, and asks until it is out."""

from agent.service.leaving import AGAIN, Leaving


def test_nothing_is_done_unasked_or_while_roles_work() -> None:
    asked: list[str] = []
    leaving = Leaving(lambda: asked.append("remove"))
    assert leaving.look((), 5.0) == ""
    leaving.begin()
    assert leaving.look(("slurm-worker",), 6.0) == ""
    assert asked == []
    assert leaving.look((), 7.0) == "leaves the cluster"
    assert asked == ["remove"]


def test_it_is_asked_again_after_a_while() -> None:
    asked: list[str] = []
    leaving = Leaving(lambda: asked.append("remove"))
    leaving.begin()
    for now in (5.0, 6.0, 4.9 + AGAIN, 5.1 + AGAIN):
        leaving.look((), now)
    assert asked == ["remove", "remove"]
