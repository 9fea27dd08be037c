# SPDX-License-Identifier: Apache-2.0
"""The one kind of error that a person meets: what is wrong, and what to do next."""


class ClusterError(Exception):
    """An error to be shown as `error: MESSAGE` and `hint: HINT`, one line each, with exit status 1.

    Everything else that escapes is a bug and may show a traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message
