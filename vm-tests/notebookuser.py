# SPDX-License-Identifier: Apache-2.0
"""A user of JupyterHub without a browser: runs inside a machine, by its Python and Debian's packages alone.

`python3 - VERB URL CA [ARGUMENT...]`, with this file as standard input; the password is in PASSWORD. Verbs:
`start USER PROFILE` logs in and starts a notebook server, `run USER CODE` runs code in the notebook's one
kernel, which is made if there is none, `state USER` tells of the server. Each prints one JSON object.
"""

import asyncio
import html
import json
import os
import re
import ssl
import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import requests
from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

LIMIT = float(os.environ.get("LIMIT", "240"))
"""Seconds for each thing that is waited for."""


class User:
    """One login, as a browser would have it: cookies, tokens against forged requests, forms."""

    def __init__(self, url: str, authority: str, name: str) -> None:
        self.url, self.authority, self.name = url, authority, name
        self.session = requests.Session()
        self.session.verify = authority
        # Nothing of the environment: a bundle of authorities there would win over ours.
        self.session.trust_env = False

    def log_in(self, password: str) -> None:
        """Fill in the form."""
        page = self.get("/hub/login")
        form = {
            "username": self.name,
            "password": password,
            "_xsrf": find(r'name="_xsrf"\s+value="([^"]+)"', page.text),
        }
        done = self.session.post(f"{self.url}/hub/login", data=form, timeout=60)
        if done.status_code != 200 or "/hub/login" in done.url:
            raise SystemExit(json.dumps({"error": f"log in: {done.status_code} {done.url}"}))

    def get(self, path: str) -> requests.Response:
        """Get a page of the hub or of the notebook."""
        return self.session.get(self.url + path, timeout=60)

    def start(self, profile: str) -> str:
        """Start a server unless it runs; returns the URL of the page in the end."""
        page = self.get("/hub/spawn")
        if f"/user/{self.name}/" not in page.url:
            action = find(r'<form[^>]* action="([^"]*/spawn[^"]*)"', page.text)
            done = self.session.post(self.url + action, data={"profile": profile}, timeout=60)
            if done.status_code != 200:
                raise SystemExit(json.dumps({"error": f"spawn: {done.status_code} {done.text[-500:]}"}))
        return wait(self._page)

    def _page(self) -> str:
        """The page of the server: the hub sends back to itself what does not run yet."""
        page = self.get(f"/user/{self.name}/lab")
        arrived = page.status_code == 200 and page.url.startswith(f"{self.url}/user/{self.name}/")
        return page.url.partition("?")[0] if arrived else ""

    def kernel(self) -> str:
        """The id of the notebook's kernel."""
        path = f"/user/{self.name}/api/kernels"
        found = self.get(path).json()
        if not found:
            headers = {"X-XSRFToken": self._cookie("_xsrf")}
            done = self.session.post(self.url + path, json={"name": "python3"}, headers=headers, timeout=60)
            found = [done.json()]
        return str(found[0]["id"])

    async def run(self, code: str) -> str:
        """Run code in the kernel, through the same websocket as a page would, and return what it prints."""
        path = f"/user/{self.name}/api/kernels/{self.kernel()}/channels"
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies())
        context = ssl.create_default_context(cafile=self.authority)
        address = self.url.replace("https:", "wss:", 1) + path
        request = HTTPRequest(
            address, headers={"Cookie": cookies, "Origin": self.url}, ssl_options=context, request_timeout=60
        )
        socket = await websocket_connect(request)
        # What comes before a new kernel listens is lost: a page asks it first, too.
        while not (await self._ask(socket, "kernel_info_request", {}, 5.0)):
            pass
        content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
        return "".join(await self._ask(socket, "execute_request", content, LIMIT))

    async def _ask(
        self, socket: WebSocketClientConnection, kind: str, content: dict[str, Any], limit: float
    ) -> list[str]:
        """Ask the kernel, and return what it prints; an empty list when it does not answer.

        Its protocol: https://jupyter-client.readthedocs.io/en/stable/messaging.html
        """
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": self.name, "session": "s"}
        message = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}}
        await socket.write_message(json.dumps({**message, "content": content, "channel": "shell"}))
        printed, answered, idle = "", False, False
        try:
            async with asyncio.timeout(limit):
                # Answer and output are on channels of their own; when it is idle again it has printed all.
                while not (answered and idle):
                    said: dict[str, Any] = json.loads(await socket.read_message() or "null")
                    if said.get("parent_header", {}).get("msg_id") != header["msg_id"]:
                        continue
                    what = said["content"]
                    if said["msg_type"] == "error":
                        raise SystemExit(json.dumps({"error": what["evalue"]}))
                    printed += what["text"] if said["msg_type"] == "stream" else ""
                    answered |= said["msg_type"].endswith("_reply")
                    idle |= said["msg_type"] == "status" and what["execution_state"] == "idle"
        except TimeoutError:
            return []
        return [printed]

    def _cookies(self) -> list[Any]:
        """All cookies that go to the notebook's pages, the most specific path first."""
        prefix = f"/user/{self.name}/"
        found = [cookie for cookie in self.session.cookies if prefix.startswith(cookie.path)]
        return sorted(found, key=lambda cookie: -len(cookie.path))

    def _cookie(self, name: str) -> str:
        return next(str(cookie.value) for cookie in self._cookies() if cookie.name == name)


def find(pattern: str, page: str) -> str:
    """The one group of a pattern, in a page."""
    found = re.search(pattern, page)
    if not found:
        raise SystemExit(json.dumps({"error": f"not in the page: {pattern}: {page[-500:]}"}))
    return html.unescape(found[1])


def wait(look: Callable[[], str]) -> str:
    """Look until there is something."""
    end = time.monotonic() + LIMIT
    while not (found := look()):
        if time.monotonic() > end:
            raise SystemExit(json.dumps({"error": f"not within {LIMIT:g} s"}))
        time.sleep(1)
    return found


def main() -> None:
    """One verb."""
    verb, url, authority, name, *rest = sys.argv[1:]
    user = User(url, authority, name)
    user.log_in(os.environ["PASSWORD"])
    if verb == "start":
        print(json.dumps({"page": user.start(*rest)}))
    elif verb == "run":
        print(json.dumps({"printed": asyncio.run(asyncio.wait_for(user.run(*rest), LIMIT))}))
    elif verb == "login":
        print(json.dumps({"page": user.get("/hub/home").url}))


if __name__ == "__main__":
    main()
