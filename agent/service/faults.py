# SPDX-License-Identifier: Apache-2.0
"""What is wrong at the moment, part by part: an error ends with the next success of its part."""

import logging
from collections.abc import Callable, Collection

from agent.errors import ClusterError

_log = logging.getLogger("agent")


class Faults:
    """The errors of the loop's parts, by name."""

    def __init__(self) -> None:
        self._errors: dict[str, str] = {}

    def guard(self, part: str, act: Callable[[], object]) -> None:
        """Do a part of the work; keep its error for the status, and say it once."""
        try:
            act()
        except ClusterError as error:
            if self._errors.get(part) != error.message:
                _log.warning("%s: %s%s", part, error.message, f" ({error.hint})" if error.hint else "")
            self._errors[part] = error.message
        except Exception:
            _log.exception("%s: an error of the agent itself", part)
            self._errors[part] = f"{part}: an error of the agent itself; see: journalctl -u clusteros-agent"
        else:
            self._errors.pop(part, None)

    def of(self, part: str) -> str:
        """Return the error of a part; empty when there is none."""
        return self._errors.get(part, "")

    def forget(self, parts: Collection[str]) -> None:
        """Forget the errors of parts that are not done any more."""
        for part in parts:
            self._errors.pop(part, None)

    @property
    def text(self) -> str:
        """All of them, in one line."""
        return "; ".join(self._errors.values())
