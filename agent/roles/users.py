# SPDX-License-Identifier: Apache-2.0
"""The supervisor's part in users: has them written down, and their homes made."""

import logging
from collections.abc import Callable

from agent.errors import ClusterError
from agent.users.user import User
from agent.users.userdb_folder import UserdbFolder

HOMES = "clusteros-homes.service"
"""Makes the home folders that homes.conf lists."""
_log = logging.getLogger("users")


class UserRecords:
    """`restart` begins to restart a unit of systemd."""

    def __init__(self, userdb: UserdbFolder, restart: Callable[[str], None]) -> None:
        self._userdb = userdb
        self._restart = restart
        self._homes_due = False
        self._fault = ""

    def keep(self, users: tuple[User, ...]) -> None:
        """Have the node know just these users. What fails is logged once, and tried again the next time."""
        try:
            self._homes_due |= self._userdb.write(users)
            if self._homes_due:
                self._restart(HOMES)
                self._homes_due = False
            self._fault = ""
        except ClusterError as error:
            if error.message != self._fault:
                _log.warning("%s", error.message)
            self._fault = error.message
