# SPDX-License-Identifier: Apache-2.0
"""The man page and bash's completion of `node-agent`, made from its parser: both say what the command takes.

They are kept in overlays/base/; `python3 -m agent.commands.reference` writes them again, and a test compares.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from agent import files
from agent.commands.parser import STATUSES, make_parser

_OVERLAY = Path(__file__).resolve().parent.parent.parent / "overlays/base/usr/share"
MAN_PAGE = _OVERLAY / "man/man8/node-agent.8"
COMPLETION = _OVERLAY / "bash-completion/completions/node-agent"


class Described(NamedTuple):
    """A command that can be run: its words (`config check`), what it is for, and its arguments."""

    words: str
    text: str
    options: tuple[argparse.Action, ...]
    operands: tuple[argparse.Action, ...]


def describe(parser: argparse.ArgumentParser, words: str = "") -> Iterator[Described]:
    """Return all commands of a parser, those of its subparsers included, in its order."""
    # argparse has no public way to walk a parser.
    actions = parser._actions
    parts = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    for part in parts:
        for name, command in part.choices.items():
            yield from describe(command, f"{words} {name}".strip())
    if not parts:
        options = tuple(action for action in actions if action.option_strings)
        operands = tuple(action for action in actions if not action.option_strings)
        yield Described(words, parser.description or "", options, operands)


def man_page(commands: list[Described]) -> str:
    """Return the man page in man(7)'s roff."""
    lines = [
        '.TH NODE\\-AGENT 8 "" "Cluster\\-OS" "Cluster\\-OS"',
        ".SH NAME",
        "node\\-agent \\- show and manage a Cluster\\-OS node and its cluster",
        ".SH SYNOPSIS",
        ".B node\\-agent",
        ".I COMMAND",
        "[options]",
        ".SH DESCRIPTION",
        "Every node of a Cluster\\-OS cluster runs an agent that makes it a member and keeps it one.",
        "This command shows what the agent knows and tells it what a person has decided.",
        "It needs root, except to show the status, the members, the leaders and the roles.",
        ".SH COMMANDS",
    ]
    for command in commands:
        operands = " ".join(_operand(action) for action in command.operands)
        lines += [".TP", f".B {_roff(f'{command.words} {operands}'.strip())}", _roff(command.text)]
        for action in (*command.operands, *command.options):
            if action.help and action.dest not in ("help", "state", "run_folder", "json"):
                lines += [".RS", ".TP", f".B {_roff(_name(action))}", _roff(action.help), ".RE"]
    lines += [".SH OPTIONS"]
    shared = {action.dest: action for command in commands for action in command.options}
    for dest in ("json", "state", "run_folder", "help"):
        lines += [".TP", f".B {_roff(_name(shared[dest]))}", _roff(shared[dest].help or "")]
    lines += [".SH EXIT STATUS"]
    for line in STATUSES.splitlines()[1:]:
        number, _, meaning = line.strip().partition(" ")
        lines += [".TP", f".B {number}", _roff(meaning.strip())]
    lines += [
        ".SH FILES",
        *(".TP", ".I /var/lib/cluster\\-os", "the identity and the state of the node"),
        *(".TP", ".I /var/lib/cluster\\-os/node.yaml", "its configuration, over the image's defaults"),
        *(".TP", ".I /run/cluster\\-os/agent.sock", "where this command speaks to the agent"),
        *(".TP", ".I /run/cluster\\-os/status.json", "what the agent published last"),
        ".SH SEE ALSO",
        ".BR wg (8),",
        ".BR journalctl (1),",
        ".BR systemd.system\\-credentials (7)",
    ]
    return '.\\" SPDX-License-Identifier: Apache-2.0\n' + "\n".join(lines) + "\n"


def completion(commands: list[Described]) -> str:
    """Return the script that completes the command in bash, with or without the package bash-completion."""
    first = sorted({command.words.split()[0] for command in commands})
    cases = [
        f"            '{command.words}') words='{' '.join(_flags(command))}' operand={_kind(command)} ;;"
        for command in commands
    ]
    nested: dict[str, list[str]] = {}
    for command in commands:
        outer, _, inner = command.words.partition(" ")
        if inner:
            nested.setdefault(outer, []).append(inner)
    groups = [f"            {outer}) words='{' '.join(inner)}' ;;" for outer, inner in nested.items()]
    return _COMPLETION.format(
        commands=" ".join(first), groups="\n".join(groups), outer=" | ".join(nested), cases="\n".join(cases)
    )


def main() -> None:
    """Write both files again."""
    commands = list(describe(make_parser()))
    for path, text in ((MAN_PAGE, man_page(commands)), (COMPLETION, completion(commands))):
        files.make_folder(path.parent, mode=0o755)
        files.replace(path, text.encode(), mode=0o644)


_COMPLETION = """# SPDX-License-Identifier: Apache-2.0
# bash completion of node-agent; made by agent/commands/reference.py.
_node_agent() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} words='' operand=''
    local command=${{COMP_WORDS[1]}}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W '{commands}' -- "$cur")
        return
    fi
    if ((COMP_CWORD == 2)); then
        case $command in
{groups}
        esac
        if [[ $words ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            return
        fi
    fi
    case $prev in
        --state | --run) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
        --output) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --ttl) mapfile -t COMPREPLY < <(compgen -W '30m 24h 7d' -- "$cur"); return ;;
        --node) operand=node ;;
    esac
    if [[ ! $operand ]]; then
        case $command in {outer}) command+=" ${{COMP_WORDS[2]}}" ;; esac
        case $command in
{cases}
        esac
        if [[ $cur == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
            return
        fi
    fi
    case $operand in
        node)
            local known
            known=$(node-agent members --json 2>/dev/null |
                sed -n 's/^ *"\\(node_id\\|hostname\\)": "\\([0-9A-Za-z.-]*\\)".*/\\2/p')
            mapfile -t COMPREPLY < <(compgen -W "$known" -- "$cur")
            ;;
        file) mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    esac
}}
complete -o filenames -F _node_agent node-agent
"""


def _flags(command: Described) -> list[str]:
    return [flag for action in command.options for flag in action.option_strings if flag.startswith("--")]


def _kind(command: Described) -> str:
    kinds = {"node": "node", "file": "file", "signature": "file", "target": "file", "folder": "file"}
    return next((kinds[action.dest] for action in command.operands if action.dest in kinds), "''")


def _operand(action: argparse.Action) -> str:
    return f"[{action.metavar}]" if action.nargs == "?" else str(action.metavar)


def _name(action: argparse.Action) -> str:
    return " ".join((", ".join(action.option_strings), str(action.metavar or ""))).strip()


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped[:1] == "." else escaped


if __name__ == "__main__":
    main()
