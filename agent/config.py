# SPDX-License-Identifier: Apache-2.0
"""The configuration of a node: the image's defaults, the machine's node.yaml, the environment; the last wins.

Reads /usr/lib/cluster-os/node.yaml (all keys, with their defaults), node.yaml of the state folder, and
environment variables CLUSTEROS_SECTION_KEY. A new key is a line in `_ALLOWED`, a field in its section, and a
line in the image's node.yaml.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agent.errors import ClusterError

_ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "log": {"level": ("debug", "info", "warning", "error")},
    "identity": {"seal": ("auto", "tpm2", "none")},
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


class Config(NamedTuple):
    log: Log
    identity: IdentityConfig


def read_config(state: Path, environment: Mapping[str, str]) -> Config:
    """Return the configuration of the node with this state folder.

    Raises ClusterError with all that is wrong in all layers, a line each.
    """
    errors: list[str] = []
    defaults = next((path for path in _DEFAULTS if path.exists()), _DEFAULTS[0])
    files = [(defaults, True), (state / "node.yaml", False)]
    sources = [_read_file(path, required, errors) for path, required in files]
    return merge([*sources, environment_source(environment)], errors)


def merge(sources: list[Source], errors: list[str] | None = None) -> Config:
    """Return the configuration that the layers give, later ones over earlier ones. Pure.

    Raises ClusterError with all `errors` that reading found and all that is found here, a line each.
    """
    errors = list(errors or ())
    merged: dict[str, dict[str, str]] = {section: {} for section in _ALLOWED}
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
    return Config(Log(**merged["log"]), IdentityConfig(**merged["identity"]))


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


def _check(source: Source, merged: dict[str, dict[str, str]]) -> list[str]:
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
            allowed = keys.get(key) if isinstance(key, str) else None
            if allowed is None:
                errors.append(f"{source.name}: {section}.{key}: no such key; there are {', '.join(keys)}")
            elif value not in allowed:
                errors.append(f"{source.name}: {section}.{key}: {value!r} is not one of {', '.join(allowed)}")
            else:
                merged[section][key] = value
    return errors


def _read_file(path: Path, required: bool, errors: list[str]) -> Source:
    import yaml  # noqa: PLC0415  first boot reads a configuration on the first boot only

    try:
        content = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        if required:
            errors.append(f"{path}: it is missing from the image")
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
