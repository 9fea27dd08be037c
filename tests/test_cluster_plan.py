# SPDX-License-Identifier: Apache-2.0
"""The files of a bundle: read strictly, all faults at once; and the published schema says the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cluster import Policy
from agent.errors import ClusterError
from agent.identity import identity_of_seed
from image.cluster.plan_file import MAX_BYTES, RULES, Plan, check_options, decode_plan, encode_plan
from image.cluster.schema import make_schema, render_schema
from image.cluster.secret_file import Secrets, decode_secrets, encode_secrets

PROJECT = Path(__file__).parent.parent
NODE, *NODES = (identity_of_seed(bytes([number]) * 32).node_id for number in (1, 2, 3))
GOOD = Plan(
    cluster_id="abcdefghijklmnopqrstuvwxyz",
    operator_key=identity_of_seed(b"\2" * 32).public_key,
    name="lab",
    machines=5,
    voters=5,
    policy=Policy.ALLOWLIST,
    allowlist=(NODE, *NODES, "ek:" + "0f" * 32),
    ipv4_range="10.86.0.0/16",
    seeds=("192.0.2.1", "[2001:db8::1]:7946"),
    srv="_cluster-os._udp.example.org",
)
SECRETS = Secrets("abcdefghijklmnopqrstuvwxyz", b"\2" * 32, b"gossip key of thirty-two bytes..")


def content(**changes: object) -> dict[str, Any]:
    return {**yaml.safe_load(encode_plan(GOOD)), **changes}


def read(value: object) -> Plan:
    return decode_plan(yaml.safe_dump(value).encode(), "FILE")


def fault(data: bytes) -> str:
    with pytest.raises(ClusterError) as caught:
        decode_plan(data, "FILE")
    assert caught.value.hint
    return caught.value.message


# Names, ids and ranges that plain YAML would take for something else.
@pytest.mark.parametrize("name", ["no", "y", "null", "on", "n", "e1", "true"])
def test_a_plan_survives_its_file_whatever_its_values_look_like(name: str) -> None:
    plan = replace(GOOD, name=name, cluster_id="2" * 26, srv="222", seeds=("10", "1.5", "no:22"))
    assert decode_plan(encode_plan(plan).encode(), "FILE") == plan


def test_a_plan_tells_all_its_errors_at_once_with_file_key_and_allowed_values() -> None:
    wrong = content(machines=0.5, voters=4, colour="red", policy=["auto"])
    del wrong["seeds"]
    lines = fault(yaml.safe_dump(wrong).encode()).splitlines()
    assert lines[0] == "there are 5 errors in FILE:"
    assert lines[1].startswith("  'colour': no such key; there are version, cluster_id, operator_key, name")
    assert lines[2:] == [
        "  machines: must be the planned number of machines, 1 to 1000, or 0: only a founding medium founds",
        "  voters: must be 1, 3 or 5",
        "  policy: must be auto, allowlist or approve",
        f"  seeds: missing; must be {RULES['seeds'].words}",
    ]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"name: [", "FILE: line 1: not YAML"),
        (b"\xff\xfe\xff", "FILE: not YAML"),
        (b"\0", "not YAML"),
        (b"a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        (b"version: 1\nversion: 1\n", "line 1: not YAML: a key comes twice"),
        (b"[1]: 2", "not YAML"),
        (b"when: 2024-13-45", "not YAML"),
        (b"[" * 500, "not YAML"),
        (b"- a", "the whole: must hold keys"),
        (b"", "the whole: must hold keys"),
        (b"version: 2", "format version 2 is newer than this checkout"),
        (b" " * (MAX_BYTES + 1), "has at most"),
    ],
)
def test_what_is_no_plan_is_refused_with_the_place(data: bytes, what: str) -> None:
    assert what in fault(data)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_our_error(data: bytes) -> None:
    with pytest.raises(ClusterError):
        decode_plan(data, "FILE")
    with pytest.raises(ClusterError):
        decode_secrets(data, "FILE")


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 1002)
    | st.floats(allow_nan=False)
    | st.text(alphabet="abe:./-_019[]\n ", max_size=12)
    | st.sampled_from([NODE, "auto", "approve", "10.1.0.0/16", "ek:" + "0f" * 32]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
SCHEMA = jsonschema.Draft202012Validator(make_schema())


@settings(deadline=None)
@given(st.sampled_from(sorted(RULES)), _values)
def test_what_the_program_takes_the_schema_takes_too(key: str, value: object) -> None:
    changed = content(**{key: value})
    try:
        plan = read(changed)
    except ClusterError:
        return
    assert SCHEMA.is_valid(changed)
    assert decode_plan(encode_plan(plan).encode(), "FILE") == plan


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"policy": "auto", "allowlist": []},
        {"machines": 0, "voters": 5},
        {"machines": 4, "voters": 3},
        {"machines": 1, "voters": 1},
        {"srv": None, "seeds": []},
    ],
)
def test_good_plans_are_good_to_both(changes: dict[str, object]) -> None:
    SCHEMA.validate(content(**changes))
    read(content(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"more": 1},
        {"cluster_id": "A" * 26},
        {"operator_key": "AAAA"},
        {"name": "Lab"},
        {"name": "-"},
        {"machines": -1},
        {"machines": "5"},
        {"voters": 2},
        {"machines": 2, "voters": 3},
        {"machines": 4, "voters": 5},
        {"policy": "all"},
        {"policy": "auto"},
        {"allowlist": []},
        {"allowlist": [NODE, NODE]},
        {"allowlist": ["nonsense"]},
        {"ipv4_range": "10.86.0.0"},
        {"seeds": ["a b"]},
        {"seeds": "a"},
        {"srv": ""},
        {"srv": 5},
    ],
)
def test_bad_plans_are_bad_to_both(changes: dict[str, object]) -> None:
    assert not SCHEMA.is_valid(content(**changes))
    with pytest.raises(ClusterError):
        read(content(**changes))


def test_the_schema_is_published_and_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(make_schema())
    published = (PROJECT / "docs/cluster.schema.json").read_text(encoding="utf-8")
    assert published == render_schema(), "python3 -m image.cluster.schema > docs/cluster.schema.json"


def test_every_rule_has_an_option_or_is_made() -> None:
    with pytest.raises(ClusterError) as caught:
        check_options({})
    told = {line.split(":")[0].strip() for line in caught.value.message.splitlines()[1:]}
    assert told == {
        "NAME",
        "--machines",
        "--voters",
        "--policy",
        "--allow",
        "--ipv4-range",
        "--seeds",
        "--srv",
    }


def test_secrets_survive_their_file_and_do_not_show() -> None:
    assert decode_secrets(encode_secrets(SECRETS), "FILE") == SECRETS
    assert "gossip key" not in repr(SECRETS)


@pytest.mark.parametrize(
    "changes",
    [
        {"operator_seed": "c2VjcmV0"},
        {"gossip_key": None},
        {"version": 3},
        {"cluster_id": ""},
        {"more": "c2VjcmV0"},
    ],
)
def test_damaged_secrets_are_refused_and_not_shown(changes: dict[str, object]) -> None:
    data = json.dumps({**json.loads(encode_secrets(SECRETS)), **changes}).encode()
    with pytest.raises(ClusterError) as caught:
        decode_secrets(data, "FILE")
    assert "FILE" in caught.value.message
    assert "backup" in caught.value.hint
    assert "c2Vj" not in str(caught.value)
