# SPDX-License-Identifier: Apache-2.0
"""Users as people write them: read strictly, all faults at once, no hash shown; the schema agrees."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ClusterError
from agent.roles.order import Order, decode_order, encode_order
from agent.users import change as changes
from agent.users.change import Change
from agent.users.user import (
    DEFAULTS,
    MAX_USERS,
    RESERVED,
    RULES,
    User,
    check_together,
    read_users,
    size,
    to_json,
)
from agent.users.user_file import MAX_FILE, TEMPLATE, decode_users, make_schema, render_schema
from tests.example_users import ALICE, BOB, HASH, MAPS, OTHER_HASH, make_key

PROJECT = Path(__file__).parent.parent
BEFORE = {"alice": ALICE, "bob": BOB}


def read(*maps: object) -> tuple[User, ...]:
    return decode_users(yaml.safe_dump({"version": 1, "users": list(maps)}).encode(), "FILE")


def fault(*maps: object) -> str:
    with pytest.raises(ClusterError) as caught:
        read(*maps)
    assert caught.value.hint
    return caught.value.message


def test_what_is_left_out_has_its_default() -> None:
    assert read(MAPS["bob"], MAPS["alice"]) == (ALICE, BOB)
    assert read({"name": "eve", "uid": 1003}) == (User("eve", 1003),)
    assert read() == ()


def test_the_file_of_a_new_bundle_is_good_and_its_example_too() -> None:
    assert decode_users(TEMPLATE.encode(), "FILE") == ()
    example = [line.removeprefix("# ") for line in TEMPLATE.splitlines() if line.startswith("#")]
    text = "\n".join(example[example.index("users:") :])
    (user,) = yaml.safe_load(text)["users"]
    (found,) = read({**user, "ssh_keys": [make_key()], "password_hash": HASH})
    assert found.groups == ("video", "physics:5000")


def test_the_example_of_the_documents_is_good() -> None:
    _, _, text = (PROJECT / "docs/cluster.md").read_text().partition("```\nversion: 1\n")
    (user,) = decode_users(f"version: 1\n{text.partition('```')[0]}".encode(), "FILE")
    assert (user.name, len(user.ssh_keys)) == ("alice", 1)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (
            "name",
            ["root", "sudo", "systemd-network", "clusteros", "Alice", "a b", "", "1a", "a" * 32, "ä", 7],
        ),
        ("uid", [0, 999, 60_000, 65_534, -1, 524_288, True, "1001", 1001.0]),
        ("groups", [["sudo"], ["disk"], ["root"], ["physics"], ["physics:999"], ["physics:60000"], "video"]),
        ("groups", [["sudo:5000"], ["docker:5000"], ["video:5000"], ["video", "video"], ["g:05000"], [7]]),
        ("ssh_keys", [["ssh-rsa " + make_key().split()[1]], ["no-pty " + make_key()], [make_key() + "\nx"]]),
        ("ssh_keys", [["ssh-ed25519 AAAA"], ["ssh-dss " + "A" * 60], make_key(), [make_key("x\x1b[2J")]]),
        ("shell", ["/bin/zsh", "bash", "", "/bin/bash\n", None]),
        ("password_hash", ["secret", "$1$salt$" + "a" * 22, HASH + ":0", "*", "", HASH + "\n", "!" + HASH]),
    ],
)
def test_what_is_wrong_is_told_with_what_is_allowed_and_not_shown(key: str, values: list[object]) -> None:
    for value in values:
        message = fault({**MAPS["alice"], key: value})
        assert message == f"there is 1 error in FILE:\n  users[0].{key}: must be {RULES[key].words}"


def test_all_faults_are_told_at_once() -> None:
    message = fault({"name": "root", "uid": 1, "nme": ""}, {**MAPS["bob"], "password_hash": "hunter2"})
    assert message.startswith("there are 4 errors in FILE:")
    assert "hunter2" not in message
    for line in ("users[0].name", "users[0].uid", "users[0].'nme'", "users[1].password_hash"):
        assert f"\n  {line}: " in message


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "alice"}, "there are two named alice"),
        ({"uid": 1001}, "bob and alice have the number 1001"),
        ({"groups": ["physics:5001"]}, "the group physics has the numbers 5000 and 5001"),
        ({"groups": ["biology:5000"]}, "the group biology and physics have the number 5000"),
        ({"groups": ["biology:1001"]}, "the group biology and alice have the number 1001"),
        ({"groups": ["alice:5001"]}, "the group alice is that of the user alice"),
        ({"groups": ["biology:5001", "biology:5002"]}, "bob is in one group twice"),
    ],
)
def test_what_does_not_go_together_is_told(changes: dict[str, Any], reason: str) -> None:
    assert reason in fault(MAPS["alice"], {**MAPS["bob"], **changes})


def test_there_are_no_more_users_than_an_order_holds() -> None:
    many = [{"name": f"u{number}", "uid": 1000 + number} for number in range(MAX_USERS + 1)]
    assert f"at most {MAX_USERS}" in fault(*many)
    keys = [make_key(f"{number}@example.org") + "x" * 80 for number in range(16)]
    large = [{**user, "ssh_keys": keys} for user in many[:150]]
    assert "together they have" in fault(*large)
    with pytest.raises(ClusterError, match="at most"):
        decode_users(b" " * (MAX_FILE + 1), "FILE")


@pytest.mark.parametrize(
    "data", [b"version: 1\nusers: []\nusers: []\n", b"version: 1", b"[]", b"\xff", b": :"]
)
def test_what_is_no_such_file_is_refused(data: bytes) -> None:
    with pytest.raises(ClusterError, match="FILE"):
        decode_users(data, "FILE")


def test_a_newer_format_is_told_as_such() -> None:
    with pytest.raises(ClusterError, match="version 2 is newer"):
        decode_users(b"version: 2\nusers: []\n", "FILE")


def test_the_published_schema_is_that_of_the_program() -> None:
    published = (PROJECT / "docs/users.schema.json").read_text(encoding="utf-8")
    assert published == render_schema(), "python3 -m agent.users.user_file > docs/users.schema.json"


_text = st.text(max_size=20) | st.sampled_from([*sorted(RESERVED), "alice", HASH, "video", "physics:5000"])
_values: dict[str, st.SearchStrategy[object]] = {
    "name": st.from_regex(RULES["name"].schema["pattern"], fullmatch=True) | _text,
    "uid": st.integers(900, 61_000),
    "groups": st.lists(st.sampled_from(["video", "render", "physics:5000", "sudo", "x:1000"]), max_size=3),
    "ssh_keys": st.lists(st.sampled_from([make_key(), make_key("b"), "x"]), max_size=2),
    "shell": st.sampled_from(["/bin/bash", "/bin/zsh"]),
    "password_hash": st.none() | st.sampled_from([HASH, OTHER_HASH]) | _text,
}
_users = st.lists(st.fixed_dictionaries({}, optional=_values), max_size=4)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(_users | _json)
def test_whatever_is_read_comes_back_fits_an_order_and_the_schema(values: object) -> None:
    errors: list[str] = []
    users = read_users(values, errors)
    if errors:
        assert not any(secret in line for line in errors for secret in (HASH, OTHER_HASH))
        return
    again = [to_json(user, secret=True) for user in users]
    assert read_users(again, errors) == users
    assert errors == []
    jsonschema.validate({"version": 1, "users": again}, make_schema())
    assert sum(map(size, users)) >= len(json.dumps([to_json(user, secret=True) for user in users])) - 2
    order = Order("lab", "10.86.0.0/16", "fd00::/64", None, (), (), (), (), users=users)
    assert decode_order(encode_order(order)) == order
    shown = json.dumps([to_json(user, secret=False) for user in users])
    assert HASH not in shown
    assert OTHER_HASH not in shown
    assert HASH not in repr(users)


@settings(deadline=None)
@given(st.lists(st.sampled_from([ALICE, BOB, User("carol", 1003), User("alice", 1004)]), unique=True))
def test_a_change_to_other_users_gives_just_these(wanted: list[User]) -> None:
    values = [to_json(user, secret=True) for user in wanted]
    try:
        change = changes.replace_all(BEFORE, values)
    except ClusterError:
        assert {user.uid for user in wanted} >= {1001, 1004}
        return
    after = {name: user for name, user in BEFORE.items() if name not in change.drop}
    after |= {user.name: user for user in change.put}
    assert after == {user.name: user for user in wanted}
    assert not {user.name for user in change.put} & set(change.drop)


def test_one_user_comes_changes_and_goes() -> None:
    carol = User("carol", 1003)
    assert changes.add(BEFORE, {"name": "carol", "uid": 1003}) == Change((carol,))
    changed = changes.change(BEFORE, "alice", {"password_hash": None, "groups": []})
    assert changed == Change((User("alice", 1001, (), ALICE.ssh_keys),))
    assert changes.change(BEFORE, "bob", {"shell": "/bin/sh"}) == Change()
    assert changes.remove(BEFORE, "bob") == Change(drop=("bob",))


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda: changes.add(BEFORE, MAPS["bob"]), "there is a user bob already"),
        (lambda: changes.add(BEFORE, {"name": "carol", "uid": 1001}), "have the number 1001"),
        (lambda: changes.add(BEFORE, {"name": "carol", "uid": 1}), "\n  uid: must be"),
        (lambda: changes.change(BEFORE, "carol", {}), "there is no user 'carol'"),
        (lambda: changes.change(BEFORE, "bob", {"uid": 1007}), "'uid': no such key"),
        (lambda: changes.change(BEFORE, "bob", {"groups": ["alice:5001"]}), "that of the user alice"),
        (lambda: changes.remove(BEFORE, "carol"), "there is no user 'carol'"),
        (lambda: changes.replace_all(BEFORE, [MAPS["bob"], MAPS["bob"]]), "there are two named bob"),
    ],
)
def test_a_change_that_cannot_be_is_refused(ask: Any, reason: str) -> None:  # noqa: ANN401
    with pytest.raises(ClusterError) as caught:
        ask()
    assert reason in caught.value.message
    assert caught.value.hint


def test_the_defaults_are_those_of_the_record() -> None:
    assert User("x", 1000) == User(name="x", uid=1000, **DEFAULTS)
    errors: list[str] = []
    check_together([ALICE, BOB], errors)
    assert errors == []
