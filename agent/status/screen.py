# SPDX-License-Identifier: Apache-2.0
"""The status screen of a node's console: what there is to show, as lines. Pure.

Made for 80 columns and 25 lines, and for the characters that the Linux console's built-in font has. Nothing
on it changes while nothing happens, so that it is drawn again only when something did.
"""

import textwrap
from collections.abc import Iterable
from typing import NamedTuple

from agent.cluster import Phase
from agent.status import health
from agent.status.document import NodeStatus
from agent.status.names import short
from agent.status.tables import duration, members_in_words, raft_in_words, table

STALE = 20.0  # seconds without a new document before the screen says so
_LABEL = 13


class Line(NamedTuple):
    text: str
    style: str = ""  # of `STYLES`


STYLES = {"": "", "title": "1;37;44", "good": "1;32", "bad": "1;31", "strong": "1;7"}


class View(NamedTuple):
    """What the console knows: the document if there is one, and what it sees by itself."""

    status: NodeStatus | None
    age: float  # seconds since the document was published
    issue: tuple[str, ...]  # what first boot wrote about the node's identity, lines
    addresses: tuple[str, ...]
    version: str  # of the image


def render(view: View, width: int = 80, height: int = 25) -> list[Line]:
    """Return `height` lines of at most `width` characters."""
    width, height = max(width, 20), max(height, 4)
    status = view.status
    name = status.hostname if status else ""
    title = f" Cluster-OS {view.version}"
    head = [Line(f"{title}{name.rjust(width - len(title) - 1)} "[:width].ljust(width), "title")]
    body = _known(status, width) if status else _unknown(view, width)
    if status and view.age > STALE:
        body = [*_stale(view.age, width), *body]
    addresses = view.addresses or (status.addresses if status else ())
    body += _field("addresses", "  ".join(addresses) or "none: no network yet", width)
    foot = [Line("─" * width), *_foot(status, width)]
    room = height - len(head) - len(foot)
    body += _members(status, room - len(body), width) if status else []
    if len(body) > room:
        body = [*body[: room - 1], Line(f" ... {len(body) - room + 1} lines more: node-agent status")]
    body += [Line("")] * (room - len(body))
    return [Line(_safe(line.text)[:width], line.style) for line in (*head, *body, *foot)][:height]


def paint(lines: Iterable[Line]) -> str:
    """Return what draws the lines from the top left corner of a terminal (ECMA-48) over what is there."""
    drawn = [
        f"\x1b[{STYLES[line.style]}m{line.text}\x1b[0m\x1b[K" if line.style else f"{line.text}\x1b[K"
        for line in lines
    ]
    return "\x1b[H" + "\r\n".join(drawn) + "\x1b[J"


def _known(status: NodeStatus, width: int) -> list[Line]:
    style = {0: "good", health.NOT_YET: "", health.PENDING: "strong"}.get(health.exit_status(status), "bad")
    lines = _field("phase", _phase(status), width, style)
    if advice := health.advice(status):
        lines += _field("to do", advice, width, "strong" if status.phase is Phase.WAITING else "")
    if status.phase is Phase.PENDING:
        lines += _box(("fingerprint of this node:", status.fingerprint), width)
    lines += [
        line for problem in health.problems(status) for line in _field("problem", problem, width, "bad")
    ]
    lines += [line for notice in health.notices(status) for line in _field("note", notice, width)]
    lines += _field("node ID", status.node_id, width)
    lines += _field("fingerprint", status.fingerprint, width)
    lines += _field("cluster", _cluster(status), width)
    if status.mesh is not None:
        up = sum(peer.state == "up" for peer in status.mesh.peers)
        peers = f"{up} of {len(status.mesh.peers)} peers connected"
        lines += _field("mesh", f"{status.mesh.ipv4}  {status.mesh.ipv6}  {peers}", width)
    if status.raft.role != "off":
        # Without the index, which changes all the time.
        lines += _field("raft", raft_in_words(status).rpartition(", index")[0], width)
    held = [lease.role for lease in status.leases if lease.holder == status.node_id]
    if status.phase is Phase.MEMBER:
        lines += _field("roles", ", ".join(held) or "none", width)
    return lines


def _unknown(view: View, width: int) -> list[Line]:
    lines = _field("phase", "the agent of this node is not running", width, "bad")
    lines += _field("to do", "log in, then: systemctl status clusteros-agent", width)
    return [*lines, Line(""), *(Line(f" {text}") for text in view.issue), Line("")]


def _stale(age: float, width: int) -> list[Line]:
    # To the minute: the screen must not change every second.
    since = f"{duration(age // 60 * 60)} or more" if age >= 60 else f"{STALE:.0f} s"
    return _field("agent", f"no sign of it for {since}: what follows is the last known state", width, "bad")


def _foot(status: NodeStatus | None, width: int) -> list[Line]:
    said = textwrap.wrap(_safe(status.sentence), width - 2)[:2] if status else []
    return [*(Line(f" {text}") for text in said), Line("Alt+F2: log in ".rjust(width))]


def _phase(status: NodeStatus) -> str:
    words = {
        Phase.WAITING: "waiting: this machine has no join credential",
        Phase.FORMING: "forming a cluster",
        Phase.JOINING: "joining the cluster",
        Phase.PENDING: "pending: held until an operator approves this node",
        Phase.MEMBER: "member",
        Phase.REMOVED: "removed from the cluster",
        Phase.QUARANTINED: "quarantined: its node key belongs to other hardware",
    }
    return words[status.phase]


def _cluster(status: NodeStatus) -> str:
    if status.cluster is None:
        return "none"
    genesis = f"genesis {status.cluster.genesis[:12]}" if status.cluster.genesis else "not formed yet"
    return f"{status.cluster.name}, {genesis}, policy {status.cluster.policy.value}"


def _members(status: NodeStatus, room: int, width: int) -> list[Line]:
    """Return the members in the room that is left, the dead ones first."""
    if not status.members:
        return []
    lines = _field("members", members_in_words(status), width)
    order = sorted(status.members, key=lambda member: (member.state == "alive", member.hostname))
    fits = len(order) if len(order) <= room - 2 else room - 3
    if fits > 0:
        rows = [
            (
                _safe(member.hostname),
                short(member.node_id),
                _safe(member.ipv4),
                member.state,
                "leader" if member.leader else "voter" if member.voter else "-",
            )
            for member in order[:fits]
        ]
        header, *shown = table(("HOST NAME", "NODE", "ADDRESS", "STATE", "RAFT"), rows).split("\n")
        lines.append(Line(f"   {header}"))
        lines += [
            Line(f"   {text}", "" if member.state == "alive" else "bad")
            for text, member in zip(shown, order[:fits], strict=True)
        ]
        if fits < len(order):
            lines.append(Line(f"   and {len(order) - fits} more: node-agent members"))
    return lines


def _box(texts: tuple[str, ...], width: int) -> list[Line]:
    inner = min(max(map(len, texts)) + 4, width - 4)
    rows = ["", *texts, ""]
    return [
        Line(""),
        *(Line((" " * ((width - inner) // 2)) + text[:inner].center(inner), "strong") for text in rows),
        Line(""),
    ]


def _field(label: str, value: str, width: int, style: str = "") -> list[Line]:
    parts = textwrap.wrap(_safe(value), max(width - _LABEL - 2, 10)) or [""]
    labels = [label, *[""] * (len(parts) - 1)]
    return [Line(f" {name:<{_LABEL}}{part}", style) for name, part in zip(labels, parts, strict=True)]


def _safe(text: str) -> str:
    """Return the text with what the console's font has not, or takes as a command, replaced."""
    text = text.replace("…", "...")
    return "".join(letter if letter == "─" or " " <= letter <= "~" else "?" for letter in text)
