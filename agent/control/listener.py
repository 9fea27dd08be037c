# SPDX-License-Identifier: Apache-2.0
"""A stream socket that serves a few clients at a time, whatever they do. No protocol.

Each connection has a thread, in which agent/control/stream.py sets its limits of size and time. While all
threads are taken, further clients wait in the kernel's queue.
"""

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

CONNECTIONS = 16
_log = logging.getLogger(__name__)


class Listener:
    """Serve what connects to `listening`, which it owns from now on; `serve` gets each connection.

    `serve` runs in a thread of its own. It may raise OSError when the client goes away; whatever else it
    raises is logged as a bug, and the next client is served.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[socket.socket], None],
        *,
        name: str,
        connections: int = CONNECTIONS,
    ) -> None:
        self._listening = listening
        self._serve = serve
        self._name = name
        self._closing = threading.Event()
        self._slots = threading.BoundedSemaphore(connections)
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)
        self._thread.start()

    def close(self, time_limit: float = 5.0) -> None:
        """Accept no more; wait up to `time_limit` seconds for the accepting thread. Twice is fine."""
        self._closing.set()
        with suppress(OSError):
            # Wakes the thread that is in accept(2).
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(time_limit)
        self._listening.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            if not self._slots.acquire(timeout=0.5):
                continue
            try:
                connection = self._listening.accept()[0]
            except OSError as error:
                self._slots.release()
                # Out of file descriptors, say: others may give some back.
                if not self._closing.wait(0.1):
                    _log.warning("%s: cannot accept: %s", self._name, error.strerror)
                continue
            thread = threading.Thread(target=self._run, args=(connection,), name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._finish(connection)

    def _run(self, connection: socket.socket) -> None:
        try:
            self._serve(connection)
        except OSError:
            pass  # the client is gone, or too slow
        except Exception:
            _log.exception("%s: a request was not answered", self._name)
        finally:
            self._finish(connection)

    def _finish(self, connection: socket.socket) -> None:
        connection.close()
        self._slots.release()
