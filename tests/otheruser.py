# SPDX-License-Identifier: Apache-2.0
"""Do something as a user without privileges."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NOBODY = 65534


def do_as_other_user(folder: Path, do: Callable[[], bytes]) -> bytes:
    """Return what `do` returns in a process of its own, in `folder`, as a user that is not root.

    Run by somebody who is not root, it stays that user. What `do` needs must be loaded already, as the other
    user may not be able to read this repository.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            if os.geteuid() == 0:
                with suppress(PermissionError):
                    os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writing, do())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            # Whatever happened, this is no second run of the tests.
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return found
