# SPDX-License-Identifier: Apache-2.0
"""Whether the wall clock can be trusted: the kernel's word, as chrony set it (adjtimex(2))."""

import ctypes
import sys

_STA_UNSYNC = 0x0040  # linux/timex.h
_TIMEX_BYTES = 208
_STATUS_OFFSET = 40  # modes (int, padded), offset, freq, maxerror, esterror (long), then status (int)

_LIBC = ctypes.CDLL(None, use_errno=True)


def is_clock_synchronised() -> bool | None:
    """Return whether the clock is synchronised; None where the kernel does not say."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    # With modes = 0 it only reads, which everybody may.
    if _LIBC.adjtimex(buffer) < 0 or sys.byteorder != "little":
        return None
    status = int.from_bytes(buffer.raw[_STATUS_OFFSET : _STATUS_OFFSET + 4], "little")
    return not status & _STA_UNSYNC
