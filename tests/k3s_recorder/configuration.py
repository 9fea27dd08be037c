# SPDX-License-Identifier: Apache-2.0
"""What a node of k3s is given to read, and what k3s would refuse of it."""

import csv
from pathlib import Path
from typing import Any

import yaml

AGENT_KEYS = {"data-dir", "node-name", "node-ip", "flannel-iface", "server", "token-file"}
SERVER_KEYS = AGENT_KEYS | {
    *("advertise-address", "flannel-backend", "cluster-init", "agent-token-file", "tls-san", "cluster-cidr"),
    *("service-cidr", "cluster-dns", "disable", "secrets-encryption", "write-kubeconfig"),
    *("write-kubeconfig-mode", "kube-apiserver-arg"),
}


class Refused(Exception):
    """What k3s would not start with."""


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration and what is in the folder beside it, where `KEY+` adds to a list. All is text."""
    found: dict[str, Any] = {}
    for file in (path, *sorted(Path(f"{path}.d").glob("*.yaml"))):
        for key, value in (yaml.load(file.read_text(), Loader=yaml.BaseLoader) or {}).items():
            found[key.removesuffix("+")] = [*found.get(key[:-1], []), *value] if key.endswith("+") else value
    return found


def check(kind: str, config: dict[str, Any], *, routes: str) -> None:
    """Raise Refused for a configuration, or a machine, with which k3s would not start or not work."""
    unknown = config.keys() - (SERVER_KEYS if kind == "server" else AGENT_KEYS)
    if unknown:
        raise Refused(f"unknown keys: {', '.join(sorted(unknown))}")
    missing = {"data-dir", "node-name", "node-ip", "flannel-iface", "token-file"} - config.keys()
    if missing:
        raise Refused(f"missing keys: {', '.join(sorted(missing))}")
    if not any(line.split()[1:2] == ["00000000"] for line in routes.splitlines()[1:]):
        raise Refused("there is no default route")
    if kind == "agent" and "server" not in config:
        raise Refused("an agent needs a server")
    if "cluster-init" in config and "server" in config:
        raise Refused("cluster-init is for the one server that joins nobody")


def read_token(path: str) -> str:
    """Return the token in a file; the short form, as the templates give it."""
    token = Path(path).read_text()
    if not token or token != token.strip() or token.startswith("K10"):
        raise Refused(f"{path} holds no token in the short form")
    return token


def read_users(config: dict[str, Any]) -> dict[str, str]:
    """Return the users by the tokens that the API server knows them by."""
    found: dict[str, str] = {}
    for argument in config.get("kube-apiserver-arg", []):
        option, _, path = argument.partition("=")
        if option != "token-auth-file":
            raise Refused(f"unknown argument of kube-apiserver: {option}")
        if Path(path).stat().st_mode & 0o077:
            raise Refused(f"{path} is open to others")
        with Path(path).open() as file:
            # token,user,uid[,groups]: kubernetes.io/docs/reference/access-authn-authz/authentication
            found |= {row[0]: row[1] for row in csv.reader(file) if len(row) >= 3 and all(row[:3])}
    return found


def read_manifests(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that k3s would apply by itself."""
    folder = Path(config["data-dir"]) / "server/manifests"
    return [each for file in sorted(folder.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
