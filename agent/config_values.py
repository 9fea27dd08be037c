# SPDX-License-Identifier: Apache-2.0
"""What a key of the configuration may hold, and how it is written in a file and in the environment. Pure."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """`parse` returns the value of a text from the environment or of a YAML value, or raises ValueError.

    `allowed` completes the sentence "'x' is not …".
    """

    allowed: str
    parse: Callable[[Any], Any]


def choice(*words: str) -> Kind:
    """One of some words."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return Kind(f"one of {', '.join(words)}", parse)


def integer(low: int, high: int, unit: str = "") -> Kind:
    """A whole number in a range."""

    def parse(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError
        return value

    return Kind(f"a whole number{f' of {unit}' if unit else ''} from {low} to {high}", parse)


def switch() -> Kind:
    """Yes or no."""
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

    def parse(value: object) -> bool:
        if isinstance(value, bool):
            return value
        if not isinstance(value, str) or value.lower() not in words:
            raise ValueError
        return words[value.lower()]

    return Kind("true or false", parse)


def pattern(expression: str, allowed: str) -> Kind:
    """A text of a form."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(expression, value):
            raise ValueError
        return value

    return Kind(allowed, parse)


def several(kind: Kind, most: int) -> Kind:
    """A list, or in the environment a text with commas between its parts."""

    def parse(value: object) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list) or len(value) > most:
            raise ValueError
        return tuple(kind.parse(part) for part in value)

    return Kind(f"a list of at most {most}, each {kind.allowed}", parse)
