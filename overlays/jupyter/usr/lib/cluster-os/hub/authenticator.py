# SPDX-License-Identifier: Apache-2.0
"""Who may log in to the hub: users of the cluster, by the password that PAM checks in the broker."""

from typing import Any

from jupyterhub.auth import Authenticator

from agent.errors import ClusterError
from hub import request as requests
from hub.client import ask
from hub.request import Authenticate


class ClusterAuthenticator(Authenticator):
    """JupyterHub's interface: `authenticate` gives the name of the user, or None."""

    async def authenticate(self, _handler: object, data: dict[str, Any]) -> str | None:
        """Return the user's name when the password is right."""
        try:
            request = Authenticate(data["username"], data["password"])
            # As the broker will: a name that is none is not worth a process of root's.
            answer = await ask(requests.decode_request(requests.encode(request)))
        except ClusterError as error:
            self.log.warning("Login failed: %s", error.message)
            return None
        if answer.status != 0:
            self.log.warning("Login failed for %s: %s", request.user, answer.errors)
            return None
        return request.user
