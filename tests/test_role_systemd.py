# SPDX-License-Identifier: Apache-2.0
"""What systemctl is asked for the units of roles."""

from collections.abc import Sequence

import pytest

from agent.errors import ClusterError
from agent.roles import systemd
from agent.roles.plan import Unit


class Systemctl:
    """What stands in its place: refuses some verbs."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refused: set[str] = set()
        self.states = b""

    def run(self, argv: Sequence[str], **_: object) -> bytes:
        self.asked.append(" ".join(argv[2:]))
        if argv[2] in self.refused:
            raise ClusterError(f"{argv[2]} is refused")
        return self.states


@pytest.fixture
def systemctl(monkeypatch: pytest.MonkeyPatch) -> Systemctl:
    made = Systemctl()
    monkeypatch.setattr(systemd, "run", made.run)
    return made


def test_what_is_killed_is_stopped_too_as_a_socket_has_no_process_to_kill(systemctl: Systemctl) -> None:
    systemctl.refused = {"kill"}
    systemd.kill("broker.socket")
    assert systemctl.asked == ["kill --signal=SIGKILL -- broker.socket", "stop --no-block -- broker.socket"]


def test_a_unit_that_failed_too_often_starts(systemctl: Systemctl) -> None:
    systemctl.refused = {"reset-failed"}
    systemd.start("queue.service")
    assert systemctl.asked[-1] == "start --no-block -- queue.service"
    systemctl.refused = {"start"}
    with pytest.raises(ClusterError):
        systemd.start("queue.service")


def test_states_are_read_of_what_is_loaded_and_all_else_is_inactive(systemctl: Systemctl) -> None:
    systemctl.states = b"""[{"unit":"b.service","load":"loaded","active":"failed"},
        {"unit":"a.service","load":"loaded","active":"active"},
        {"unit":"c.socket","load":"loaded","active":"maintenance"}]"""
    found = systemd.read_units(["b.service", "a.service", "c.socket", "a.service", "d.service"])
    assert found == {
        "a.service": Unit.ACTIVE,
        "b.service": Unit.FAILED,
        "c.socket": Unit.INACTIVE,
        "d.service": Unit.INACTIVE,
    }


@pytest.mark.parametrize("said", [b"", b"[3]", b'[{"unit":"a.service"}]', b"{}x"])
def test_what_is_no_list_of_units_is_an_error(systemctl: Systemctl, said: bytes) -> None:
    systemctl.states = said
    with pytest.raises(ClusterError, match="no list of units"):
        systemd.read_units(["a.service"])
