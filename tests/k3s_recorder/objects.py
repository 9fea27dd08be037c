# SPDX-License-Identifier: Apache-2.0
"""The objects that the API of Kubernetes keeps, and who may do what with them."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any


class Refusal(Exception):
    """What the API answers instead."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class Objects:
    """What the API keeps, by paths."""

    def __init__(self, manifests: Iterable[dict[str, Any]]) -> None:
        self._found: dict[str, dict[str, Any]] = {}
        self._changes: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        manifests = list(manifests)
        self._rules = {
            binding["subjects"][0]["name"]: (role["metadata"]["namespace"], role["rules"])
            for binding in manifests
            for role in manifests
            if binding["kind"] == "RoleBinding"
            and role["kind"] == "Role"
            and role["metadata"] == {**binding["metadata"], "name": binding["roleRef"]["name"]}
        }

    def allow(self, user: str, method: str, path: str, query: dict[str, str]) -> None:
        """Raise Refusal for what no role allows the user."""
        namespace, rules = self._rules.get(user, ("", []))
        group, found, resource, name = split(path)
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(method, "get" if name else "list")
        verbs = {verb, "watch"} if "watch" in query else {verb}
        if found == namespace and any(
            group in rule["apiGroups"] and resource in rule["resources"] and verbs <= {*rule["verbs"]}
            for rule in rules
        ):
            return
        raise Refusal(HTTPStatus.FORBIDDEN, f"{user} may not {verb} {resource} in {found}")

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        """Do what is asked."""
        _group, namespace, _resource, name = split(path)
        with self._changed:
            if method == "GET" and not name:
                items = [item for key, item in self._found.items() if key.rpartition("/")[0] == path]
                return HTTPStatus.OK, {
                    "items": items,
                    "metadata": {"resourceVersion": str(len(self._changes))},
                }
            key = path if name else f"{path}/{body['metadata']['name']}"
            known = self._found.get(key)
            if method == "POST" and known:
                raise Refusal(HTTPStatus.CONFLICT, f"{key} is there")
            if method in ("POST", "PATCH"):
                made = {**body, "metadata": {"uid": key, **body["metadata"], "namespace": namespace}}
                if body["kind"] == "Pod":
                    made["status"] = {"phase": "Pending"}
                self._found[key] = made
                return HTTPStatus.OK if known else HTTPStatus.CREATED, self._tell(
                    "MODIFIED" if known else "ADDED", made
                )
            if not known:
                raise Refusal(HTTPStatus.NOT_FOUND, f"{key} is not there")
            return HTTPStatus.OK, self._tell("DELETED", self._found.pop(key)) if method == "DELETE" else known

    def _tell(self, what: str, made: dict[str, Any]) -> dict[str, Any]:
        made["metadata"]["resourceVersion"] = str(len(self._changes) + 1)
        self._changes.append({"type": what, "object": json.loads(json.dumps(made))})
        self._changed.notify_all()
        return made

    def watch(self, path: str, since: int, seconds: float) -> Iterator[dict[str, Any]]:
        """Yield changes of what is below a path, until that time is over."""
        kind = {"pods": "Pod", "events": "Event"}.get(split(path)[2])
        until = time.monotonic() + seconds
        while True:
            with self._changed:
                if len(self._changes) <= since and not self._changed.wait(until - time.monotonic()):
                    return
                new, since = self._changes[since:], len(self._changes)
            yield from (change for change in new if change["object"]["kind"] == kind)


def split(path: str) -> tuple[str, str, str, str]:
    """Return group, namespace, resource and name of a path of the API; the last may be empty."""
    words = path.strip("/").split("/")
    group, words = ("", words[2:]) if words[0] == "api" else (words[1], words[3:])
    if words[:1] != ["namespaces"] or not 3 <= len(words) <= 4:
        raise Refusal(HTTPStatus.NOT_FOUND, f"no such path: {path}")
    return group, words[1], words[2], words[3] if len(words) == 4 else ""
