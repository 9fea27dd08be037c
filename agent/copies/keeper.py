# SPDX-License-Identifier: Apache-2.0
"""Keep a role's copy for whoever holds the role: the end of the voters."""

import logging
import socket

from agent.copies import link as links
from agent.copies.link import Link
from agent.copies.message import Commit, Drop, End, Fence, Fetch, Held, Put, Stored
from agent.copies.store import Store
from agent.copies.tree import scan
from agent.copies.version import NONE
from agent.errors import ClusterError

_log = logging.getLogger("copies")


class Keeper:
    """Serves connections (agent/control/listener.py) out of one store."""

    def __init__(self, store: Store, secret: bytes) -> None:
        self._store = store
        self._secret = secret

    def serve(self, connection: socket.socket) -> None:
        """Answer one holder until it goes."""
        host = connection.getpeername()[0]
        try:
            link = links.answer(connection, self._secret)
            if link is None:
                _log.warning("%s does not know the secret of the role", host)
                return
            self._answer(link)
        except ClusterError as error:
            _log.warning("%s: %s", host, error.message)

    def _answer(self, link: Link) -> None:
        change = self._store.begin()
        try:
            while True:
                with link.patient():
                    heard = link.hear()
                if isinstance(heard, Fence):
                    about = self._store.fence(heard.epoch)
                    link.say(Held(about.version, about.fenced))
                elif isinstance(heard, Fetch):
                    self._send(link)
                elif isinstance(heard, Put):
                    with change.open(heard.name).open("wb") as target:
                        link.take_content(target, heard.bytes)
                    change.open(heard.name).chmod(heard.mode | 0o600)
                elif isinstance(heard, Drop):
                    change.drop(heard.name)
                elif isinstance(heard, Commit):
                    taken = change.commit(heard.version, heard.base)
                    link.say(Stored(taken, self._store.about.version))
                    change = self._store.begin()
                elif heard is None:
                    return
                else:
                    raise ClusterError("a holder does not say this")
        except OSError as error:
            raise ClusterError(f"the connection broke: {error.strerror or error}") from None
        finally:
            change.forget()
            link.close()

    def _send(self, link: Link) -> None:
        """Send the copy; the version at the end is another one when it changed meanwhile."""
        version = self._store.about.version
        for name in scan(self._store.copy):
            link.put(self._store.copy, name)
        about = self._store.about
        link.say(End(version if about.version == version else NONE))
