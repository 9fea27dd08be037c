# SPDX-License-Identifier: Apache-2.0
"""Read JSON from outside into frozen dataclasses, strictly, and say all that is wrong with it at once.

A field's type is `str`, `int`, `bool`, another dataclass, a `tuple[X, ...]` of these, or an `Annotated[str,
Form(...)]`. Unknown and missing keys are errors, as is a key that comes twice.
"""

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record")


@dataclasses.dataclass(frozen=True)
class Form:
    """What a string must look like: `pattern` matches all of it, `words` tell a person."""

    pattern: str
    words: str


class SchemaError(Exception):
    """Content that does not fit; `problems` has a line each, with its place (`packages[3].sha256: …`)."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def decode_json(text: str, kind: type[Record]) -> Record:
    """Return the `kind` that `text` holds; raises SchemaError with all problems."""
    try:
        value = json.loads(text, object_pairs_hook=_refuse_twins, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise SchemaError([f"not JSON: {error}"]) from None
    problems: list[str] = []
    found = _decode(value, kind, "", problems)
    if problems:
        raise SchemaError(problems)
    return cast(Record, found)


def encode_json(record: "DataclassInstance") -> str:
    """Return a dataclass as JSON, the same text for the same content: sorted keys, one newline at the end."""
    return json.dumps(dataclasses.asdict(record), sort_keys=True, indent=1, ensure_ascii=False) + "\n"


def _decode(value: object, kind: Any, place: str, problems: list[str]) -> object:  # noqa: ANN401
    form: Form | None = None
    if get_origin(kind) is Annotated:
        kind, form = get_args(kind)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            problems.append(f"{place}: expected a list, found {_show(value)}")
            return ()
        item = get_args(kind)[0]
        return tuple(_decode(each, item, f"{place}[{index}]", problems) for index, each in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _decode_record(value, cast("type[Any]", kind), place, problems)
    # bool is a kind of int in Python, not in JSON.
    if type(value) is not kind:
        names = {str: "a string", int: "a whole number", bool: "true or false"}
        problems.append(f"{place}: expected {names[kind]}, found {_show(value)}")
    elif form and not re.fullmatch(form.pattern, cast(str, value)):
        problems.append(f"{place}: expected {form.words}, found {_show(value)}")
    elif kind is int and cast(int, value) < 0:
        problems.append(f"{place}: expected a number that is not negative, found {_show(value)}")
    return value


def _decode_record(value: object, kind: type[Any], place: str, problems: list[str]) -> object:
    if not isinstance(value, dict):
        problems.append(f"{place or 'the whole'}: expected an object, found {_show(value)}")
        return None
    before = len(problems)
    prefix = f"{place}." if place else ""
    types = get_type_hints(kind, include_extras=True)
    problems += [f"{prefix}{name}: missing" for name in types if name not in value]
    problems += [f"{prefix}{name}: unknown" for name in value if name not in types]
    fields = {
        name: _decode(value[name], types[name], f"{prefix}{name}", problems)
        for name in types
        if name in value
    }
    return kind(**fields) if len(problems) == before else None


def _show(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"a key comes twice: {next(name for name in names if names.count(name) > 1)}")
    return found


def _refuse_constant(text: str) -> object:
    raise ValueError(f"{text} is not a JSON value")
