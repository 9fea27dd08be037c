# SPDX-License-Identifier: Apache-2.0
"""A node leaves its cluster when its roles have given up their work, and asks until it is out."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.errors import ClusterError
from agent.membership import ledger as ledgers
from agent.service.leaving import AGAIN, Leaving
from agent.service.operator import Operator
from agent.service.requests import Request

ME = "3jziSxiYaDg5UQvdWtkXbHKw1pVovCSTdFy4roQm7FQN"


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


@pytest.mark.parametrize("applied", [True, False])
def test_no_role_gives_up_its_work_for_a_removal_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, *, applied: bool
) -> None:
    daemon = SimpleNamespace(
        me=ME,
        membership=SimpleNamespace(ledger=None, genesis=None),
        ordering=SimpleNamespace(working=("slurm-worker",)),
        leaving=Leaving(lambda: None),
    )
    result = SimpleNamespace(applied=applied, reason="it is the last member")
    monkeypatch.setattr(ledgers, "reduce", lambda *_: (None, result))
    request = Request({"request": "leave"})
    Operator(cast("Any", daemon)).answer(request)
    assert daemon.leaving.begun is applied
    if applied:
        assert "leaves when slurm-worker gave up its work here" in request.wait()["sentence"]
    else:
        with pytest.raises(ClusterError, match="the last member"):
            request.wait()
