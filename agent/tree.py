# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PTH110, PTH115, PTH118, PTH208
"""Read the kernel's small files: /proc, /sys, /etc, below a root that tests can choose.

Plain strings and os calls: a boot reads hundreds of these files, and pathlib would triple the time.
"""

import os

_BYTES = 1 << 20


class Tree:
    """The files below `root`. Paths are given without a leading slash. What cannot be read is None or empty:
    which of these files exist depends on kernel, hardware and privileges, and none of them is needed."""

    def __init__(self, root: str = "/") -> None:
        self.root = root

    def data(self, path: str) -> bytes | None:
        """Return the first MiB of a file."""
        try:
            fd = os.open(os.path.join(self.root, path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            data = b""
            # /proc gives a page or so at a time.
            while len(data) < _BYTES and (part := os.read(fd, _BYTES)):
                data += part
            return data
        except OSError:
            return None
        finally:
            os.close(fd)

    def text(self, path: str) -> str | None:
        """Return the content of a file without surrounding space; None also when that is empty."""
        data = self.data(path)
        if data is None:
            return None
        return data.decode("utf-8", "replace").strip(" \t\r\n\0") or None

    def number(self, path: str, base: int = 10) -> int | None:
        try:
            return int(self.text(path) or "", base)
        except ValueError:
            return None

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder."""
        try:
            return sorted(os.listdir(os.path.join(self.root, path)))
        except OSError:
            return []

    def target(self, path: str) -> str | None:
        """Return where a symbolic link in /sys leads to, fully resolved; None when it is not there."""
        whole = os.path.join(self.root, path)
        return os.path.realpath(whole) if os.path.lexists(whole) else None

    def target_name(self, path: str) -> str | None:
        """Return the last part of what a symbolic link names, for example of a device's `driver`."""
        try:
            return os.readlink(os.path.join(self.root, path)).rpartition("/")[2] or None
        except OSError:
            return None

    def exists(self, path: str) -> bool:
        return os.path.exists(os.path.join(self.root, path))
