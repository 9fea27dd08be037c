# SPDX-License-Identifier: Apache-2.0
"""What is taken over from PySyncObj by number is what this version of it has."""

from pysyncobj.config import FAIL_REASON, SERIALIZER_STATE
from pysyncobj.poller import POLL_EVENT_TYPE
from pysyncobj.syncobj import _COMMAND_TYPE
from pysyncobj.version import VERSION

from agent.election import command, interfaces
from agent.election.timing import Timing


def test_the_numbers_are_those_of_pysyncobj() -> None:
    assert VERSION == "0.3.17"
    assert (interfaces.READ, interfaces.WRITE, interfaces.ERROR) == (
        POLL_EVENT_TYPE.READ,
        POLL_EVENT_TYPE.WRITE,
        POLL_EVENT_TYPE.ERROR,
    )
    assert (interfaces.IDLE, interfaces.DONE, interfaces.FAILED) == (
        SERIALIZER_STATE.NOT_SERIALIZING,
        SERIALIZER_STATE.SUCCESS,
        SERIALIZER_STATE.FAILED,
    )
    assert interfaces.SUCCESS == FAIL_REASON.SUCCESS
    unclear = {FAIL_REASON.LEADER_CHANGED, FAIL_REASON.UNKNOWN_OUTCOME}
    reasons = {value for name, value in vars(FAIL_REASON).items() if name.isupper()}
    assert reasons - unclear - {FAIL_REASON.SUCCESS} == interfaces.NEVER_COMMITTED
    assert interfaces.DENIED == FAIL_REASON.REQUEST_DENIED


def test_the_kinds_of_commands_are_those_of_pysyncobj() -> None:
    assert (command.REGULAR, command.NO_OP, command.MEMBERSHIP) == (
        _COMMAND_TYPE.REGULAR,
        _COMMAND_TYPE.NO_OP,
        _COMMAND_TYPE.MEMBERSHIP,
    )


def test_raft_waits_for_the_clock_but_never_spins() -> None:
    timing = Timing()
    assert timing.wait(0.1) == 0.101
    assert timing.wait(5.0) == timing.tick
    assert 0 < timing.wait(-7.0) <= timing.heartbeat
