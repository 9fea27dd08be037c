# SPDX-License-Identifier: Apache-2.0
"""The one module that talks to systemd about units of roles: by systemctl(1), without waiting for jobs."""

import json
from collections.abc import Iterable, Sequence

from agent.errors import ClusterError
from agent.roles.plan import Unit
from agent.run import run

_TIME_LIMIT = 20.0
_STATES = {
    "active": Unit.ACTIVE,
    "reloading": Unit.ACTIVE,
    "refreshing": Unit.ACTIVE,
    "activating": Unit.STARTING,
    "deactivating": Unit.STOPPING,
    "failed": Unit.FAILED,
}


def read_units(units: Iterable[str]) -> dict[str, Unit]:
    """Return the state of each unit; one that does not exist is inactive.

    Units that are not loaded are not looked up: `systemctl show` has systemd read their files anew each time.
    """
    names = set(units)
    if not names:
        return {}
    out = _systemctl("list-units", "--all", "--full", "--output=json", "--", *sorted(names))
    try:
        states = {str(unit["unit"]): str(unit["active"]) for unit in json.loads(out)}
    except (ValueError, TypeError, KeyError) as error:
        raise ClusterError(f"systemctl list-units gave no list of units: {out[:200]!r}") from error
    return {name: _STATES.get(states.get(name, ""), Unit.INACTIVE) for name in names}


def start(unit: str) -> None:
    """Begin to start a unit, also one that failed too often."""
    _systemctl("reset-failed", "--", unit, quiet=True)
    _systemctl("start", "--no-block", "--", unit)


def stop(unit: str) -> None:
    """Begin to stop a unit."""
    _systemctl("stop", "--no-block", "--", unit)


def kill(unit: str) -> None:
    """Kill all processes of a unit, and begin to stop it: a socket, or a program that has ended, has none."""
    _systemctl("kill", "--signal=SIGKILL", "--", unit, quiet=True)
    _systemctl("stop", "--no-block", "--", unit)


def restart(unit: str) -> None:
    """Begin to restart a unit."""
    _systemctl("restart", "--no-block", "--", unit)


def reload(unit: str) -> None:
    """Begin to have a unit read its files anew."""
    _systemctl("reload-or-restart", "--no-block", "--", unit)


def _systemctl(verb: str, *arguments: str, quiet: bool = False) -> bytes:
    argv: Sequence[str] = ["systemctl", "--no-ask-password", verb, *arguments]
    try:
        return run(argv, time_limit=_TIME_LIMIT, hint="see: systemctl status; journalctl -b")
    except ClusterError:
        if quiet:
            return b""
        raise
