# SPDX-License-Identifier: Apache-2.0
"""The man page, the completion and the parser say the same, and every command can be run."""

import importlib
import re
import subprocess
from pathlib import Path

import pytest

from agent.commands.parser import COMMANDS, STATUSES, make_parser
from agent.commands.reference import COMPLETION, MAN_PAGE, Described, completion, describe, man_page

LIMIT = 20.0  # seconds
DESCRIBED = list(describe(make_parser()))
WORDS = [command.words for command in DESCRIBED]


def test_both_files_are_what_the_parser_gives() -> None:
    again = "run: python3 -m agent.commands.reference"
    assert MAN_PAGE.read_text() == man_page(DESCRIBED), again
    assert COMPLETION.read_text() == completion(DESCRIBED), again


def test_every_command_is_one_of_the_issue_and_none_is_missing() -> None:
    assert set(WORDS) == {
        *("init", "start", "status", "join", "info", "members", "leaders", "approve", "remove", "leave"),
        *("recover", "token", "console", "config check", "config show", "support", "sign", "verify"),
        *("roles", "role check", "role reset"),
        *("users list", "users set", "users add", "users change", "users remove"),
    }


@pytest.mark.parametrize("function", [c.function for top in COMMANDS for c in top.parts or (top,)])
def test_every_command_has_a_function_with_what_it_is_for(function: str) -> None:
    module, _, name = function.partition(".")
    assert getattr(importlib.import_module(f"agent.commands.{module}"), name).__doc__


@pytest.mark.parametrize(
    "command", [command for command in DESCRIBED if command.words not in ("start", "console")]
)
def test_every_command_prints_json(command: Described) -> None:
    assert "--json" in [flag for action in command.options for flag in action.option_strings]


def test_the_man_page_has_every_command_and_exit_status_in_the_macros_of_man() -> None:
    depth, text = 0, []
    for line in MAN_PAGE.read_text().splitlines():
        macro, _, rest = line.partition(" ")
        if not line.startswith("."):
            macro, rest = "", line
        assert macro in ("", '.\\"', ".TH", ".SH", ".TP", ".B", ".I", ".BR", ".RS", ".RE"), line
        depth += (macro == ".RS") - (macro == ".RE")
        assert depth in (0, 1)
        # A quote or a backslash of ours would be a command of roff's.
        assert not re.search(r"^'|\\(?!-|&|e|\(aq|\(ga)", rest), line
        text.append(rest)
    assert depth == 0
    shown = " ".join(text).replace("\\-", "-").replace("\\(ga", "`").replace("\\(aq", "'")
    for words in WORDS:
        assert f" {words} " in shown
    for line in STATUSES.splitlines()[1:]:
        assert " ".join(line.split()) in shown


def complete(*words: str, known: str = "") -> list[str]:
    """Return what bash proposes for the last of these words; `known` is what `node-agent members` prints."""
    script = f"""
        node-agent() {{ printf '%s\\n' '{known}'; }}
        source '{COMPLETION}'
        COMP_WORDS=(node-agent "$@") COMP_CWORD=$#
        _node_agent
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    argv = ["bash", "--noprofile", "--norc", "-euc", script, "bash", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_and_options() -> None:
    assert set(complete("")) == {words.split()[0] for words in WORDS}
    assert complete("sta") == ["start", "status"]
    assert complete("config", "") == ["check", "show"]
    assert complete("config", "show", "--js") == ["--json"]
    assert complete("remove", "--y") == ["--yes"]
    assert complete("token", "--ttl", "2") == ["24h"]
    assert complete("nonsense", "--") == []


@pytest.mark.parametrize("command", DESCRIBED, ids=lambda command: command.words)
def test_bash_completes_every_option_of_every_command(command: Described) -> None:
    words = command.words
    flags = [flag for action in command.options for flag in action.option_strings]
    assert set(complete(*words.split(), "--")) == {flag for flag in flags if flag.startswith("--")}


def test_bash_completes_nodes_and_files(tmp_path: Path) -> None:
    known = '  "node_id": "7KqAbc",\n  "hostname": "n-7kqabc",\n  "ipv4": "10.77.0.1"'
    assert complete("approve", "7", known=known) == ["7KqAbc"]
    assert complete("remove", "n-", known=known) == ["n-7kqabc"]
    assert complete("verify", "--node", "", known=known) == ["7KqAbc", "n-7kqabc"]
    (tmp_path / "join.json").touch()
    assert complete("join", f"{tmp_path}/j") == [f"{tmp_path}/join.json"]
    assert complete("config", "check", f"{tmp_path}/j") == [f"{tmp_path}/join.json"]
    assert complete("status", "--state", f"{tmp_path}") == [f"{tmp_path}"]
