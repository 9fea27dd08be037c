# SPDX-License-Identifier: Apache-2.0
"""The configuration of a node: the image's defaults, the machine's node.yaml, the environment; the last wins.

Reads /usr/lib/cluster-os/node.yaml (all keys, with their defaults), node.yaml of the state folder, and
environment variables CLUSTEROS_SECTION_KEY. A new key is a line in `_ALLOWED`, a field in its section, and a
line in the image's node.yaml.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agent.config_values import Kind, choice, integer, pattern, several, switch
from agent.errors import ClusterError

_PORT = integer(1, 65535)
_OPEN_PORT = pattern(
    r"(tcp|udp)/([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])",
    "tcp/PORT or udp/PORT",
)
_LABEL = pattern(r"[a-z0-9][a-z0-9_.-]{0,62}", "1 to 63 characters a-z, 0-9, _ . and -")
_ALLOWED: dict[str, dict[str, Kind]] = {
    "log": {"level": choice("debug", "info", "warning", "error")},
    "identity": {"seal": choice("auto", "tpm2", "none")},
    "discovery": {"bind_port": _PORT, "rpc_port": _PORT, "mdns": switch()},
    "networking": {
        "interface": pattern(r"[a-z][a-z0-9_-]{0,14}", "the name of a network interface"),
        "listen_port": _PORT,
        "mtu": integer(0, 9000, "bytes"),
        "keepalive": integer(0, 3600, "seconds"),
        "open_ports": several(_OPEN_PORT, 64),
    },
    "election": {
        "port": _PORT,
        "lease": integer(3, 600, "seconds"),
        "voter_grace": integer(1, 604800, "seconds"),
    },
    "metrics": {"port": _PORT},
    "roles": {"labels": several(_LABEL, 32)},
}
_HERE = Path(__file__).resolve().parent.parent
# In the image the file lies beside this package, in a checkout among the image's overlays.
_DEFAULTS = (_HERE / "node.yaml", _HERE / "overlays/base/usr/lib/cluster-os/node.yaml")


class Source(NamedTuple):
    """One layer: its values by section and key, and what to call it in a message."""

    name: str
    values: Mapping[str, Any]


class Log(NamedTuple):
    level: str


class IdentityConfig(NamedTuple):
    seal: str


class Discovery(NamedTuple):
    bind_port: int  # of Serf, TCP and UDP, on the underlay
    rpc_port: int  # of Serf, on the loopback device
    mdns: bool  # look for peers on the local network


class Networking(NamedTuple):
    interface: str  # name of the mesh's interface
    listen_port: int  # of WireGuard, UDP, on the underlay
    mtu: int  # bytes; 0: found out
    keepalive: int  # seconds; 0: none
    open_ports: tuple[str, ...]  # what the operator opens on the underlay: tcp/PORT, udp/PORT


class Election(NamedTuple):
    port: int  # of Raft, TCP, on the mesh
    lease: int  # seconds for which a role is lent
    voter_grace: int  # seconds after which a dead voter is replaced


class Metrics(NamedTuple):
    port: int  # TCP, on the mesh


class RolesConfig(NamedTuple):
    labels: tuple[str, ...]  # what roles can ask for


class Config(NamedTuple):
    log: Log
    identity: IdentityConfig
    discovery: Discovery
    networking: Networking
    election: Election
    metrics: Metrics
    roles: RolesConfig


def read_config(state: Path, environment: Mapping[str, str]) -> Config:
    """Return the configuration of the node with this state folder.

    Raises ClusterError with all that is wrong in all layers, a line each.
    """
    errors: list[str] = []
    return merge(read_sources(state, environment, errors), errors)


def read_sources(state: Path, environment: Mapping[str, str], errors: list[str]) -> list[Source]:
    """Return the layers of the node with this state folder, the strongest last; `errors` gets lines."""
    defaults, machine = _read_defaults(errors), _read_file(state / "node.yaml", None, errors)
    return [defaults, machine, environment_source(environment)]


def check_file(path: Path) -> Config:
    """Return what a node would use that had `path` as its node.yaml; ClusterError with all that is wrong."""
    errors: list[str] = []
    return merge([_read_defaults(errors), _read_file(path, "there is no such file", errors)], errors)


def merge(sources: list[Source], errors: list[str] | None = None) -> Config:
    """Return the configuration that the layers give, later ones over earlier ones. Pure.

    Raises ClusterError with all `errors` that reading found and all that is found here, a line each.
    """
    errors = list(errors or ())
    merged: dict[str, dict[str, Any]] = {section: {} for section in _ALLOWED}
    for source in sources:
        errors += _check(source, merged)
    missing = [f"{s}.{key}" for s, keys in _ALLOWED.items() for key in keys if key not in merged[s]]
    if missing and not errors:
        errors.append(f"no value for {', '.join(missing)} in any file")
    if errors:
        count = "is 1 error" if len(errors) == 1 else f"are {len(errors)} errors"
        raise ClusterError(
            "\n  ".join((f"there {count} in the configuration:", *errors)), hint="correct each and try again"
        )
    return Config(
        Log(**merged["log"]),
        IdentityConfig(**merged["identity"]),
        Discovery(**merged["discovery"]),
        Networking(**merged["networking"]),
        Election(**merged["election"]),
        Metrics(**merged["metrics"]),
        RolesConfig(**merged["roles"]),
    )


def environment_source(environment: Mapping[str, str]) -> Source:
    """Return the layer of CLUSTEROS_SECTION_KEY variables.

    Other variables that begin with CLUSTEROS_ (CLUSTEROS_STATE) belong to somebody else; with the name of a
    section in it, one must be a key of that section.
    """
    values: dict[str, dict[str, str]] = {}
    for name in sorted(environment):
        prefix, _, rest = name.partition("_")
        section, _, key = rest.lower().partition("_")
        if prefix == "CLUSTEROS" and section in _ALLOWED and key:
            values.setdefault(section, {})[key] = environment[name]
    return Source("environment", values)


def _check(source: Source, merged: dict[str, dict[str, Any]]) -> list[str]:
    """Put the good values of `source` into `merged` and return a line for each other one."""
    errors = []
    for section, values in source.values.items():
        keys = _ALLOWED.get(section) if isinstance(section, str) else None
        if keys is None:
            errors.append(f"{source.name}: {section}: no such section; there are {', '.join(_ALLOWED)}")
            continue
        if not isinstance(values, Mapping):
            errors.append(f"{source.name}: {section}: must hold keys; there are {', '.join(keys)}")
            continue
        for key, value in values.items():
            kind = keys.get(key) if isinstance(key, str) else None
            if kind is None:
                errors.append(f"{source.name}: {section}.{key}: no such key; there are {', '.join(keys)}")
                continue
            try:
                merged[section][key] = kind.parse(value)
            except ValueError:
                errors.append(f"{source.name}: {section}.{key}: {value!r} is not {kind.allowed}")
    return errors


def _read_defaults(errors: list[str]) -> Source:
    defaults = next((path for path in _DEFAULTS if path.exists()), _DEFAULTS[0])
    return _read_file(defaults, "it is missing from the image", errors)


def _read_file(path: Path, missing: str | None, errors: list[str]) -> Source:
    import yaml  # noqa: PLC0415  first boot reads a configuration on the first boot only

    try:
        content = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        if missing:
            errors.append(f"{path}: {missing}")
        content = None
    except OSError as error:
        errors.append(f"{path}: {(error.strerror or str(error)).lower()}")
        content = None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "cannot be read"
        errors.append(f"{path}{f': line {mark.line + 1}' if mark else ''}: not YAML: {problem}")
        content = None
    if content is not None and not isinstance(content, dict):
        errors.append(f"{path}: must hold sections; there are {', '.join(_ALLOWED)}")
        content = None
    return Source(str(path), content or {})
