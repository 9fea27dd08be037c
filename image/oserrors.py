# SPDX-License-Identifier: Apache-2.0
"""Tell what the operating system refused, such as room on a disk, in one line and a hint.

Standard library only: used before anything is installed.
"""

import errno

from agent.errors import ClusterError

_ANOTHER_PLACE = "choose another place: --output DIR for artefacts, CLUSTEROS_CACHE for the cache"
_HINTS = {
    errno.ENOSPC: "make room on the disk and try again",
    errno.EDQUOT: "make room in the quota and try again",
    errno.EROFS: _ANOTHER_PLACE,
    errno.EACCES: f"run as root, or {_ANOTHER_PLACE}",
    errno.EPERM: f"run as root, or {_ANOTHER_PLACE}",
    errno.EIO: "the disk cannot be read or written: see the kernel's log",
}


def explain_refusal(error: OSError) -> ClusterError | None:
    """Return the error to tell about `error`; None where it says more about us than about the machine."""
    hint = _HINTS.get(error.errno or 0)
    if hint is None:
        return None
    # Of a copy that failed, the target is what somebody can do something about.
    place = error.filename2 or error.filename
    return ClusterError(f"{place}: {error.strerror}" if place else str(error.strerror), hint=hint)
