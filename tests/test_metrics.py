# SPDX-License-Identifier: Apache-2.0
"""The metrics are valid in Prometheus' text format, and say what the status says."""

import re

from hypothesis import given

from agent.cluster import Phase
from agent.status.document import NodeStatus
from agent.status.metrics import render
from tests.example_status import CLONE, GENESIS, HOSTNAMES, NODES, PENDING, any_status, make_status

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = rf'({NAME})="((?:[^"\\\n]|\\\\|\\"|\\n)*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL},?)*)\}})? (-?[0-9.e+-]+)")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """Return the samples in `text`; fails for what Prometheus' text format 0.0.4 does not allow."""
    samples: Samples = {}
    announced: dict[str, str] = {}
    helped: set[str] = set()
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, words = line[7:].partition(" ")
            assert re.fullmatch(NAME, name)
            assert words
            assert name not in helped
            helped.add(name)
            continue
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert kind in ("counter", "gauge")
            assert name not in announced
            announced[name] = kind
            continue
        found = SAMPLE.fullmatch(line)
        assert found, line
        labels = re.findall(LABEL, found[2] or "")
        assert len({name for name, _ in labels}) == len(labels)
        # Samples of one metric stand together, below its type.
        assert found[1] == list(announced)[-1]
        assert found[1] in helped
        assert found[1].endswith("_total") == (announced[found[1]] == "counter")
        key = (found[1], frozenset(labels))
        assert key not in samples
        samples[key] = float(found[5])
    return samples


def value(samples: Samples, metric: str, /, **labels: str) -> float:
    return samples[f"clusteros_{metric}", frozenset(labels.items())]


def test_the_metrics_say_what_the_status_says() -> None:
    samples = parse(render(make_status(pending=(PENDING,), clones=(CLONE,)), now=1002.0))
    about = {"node_id": NODES[0], "hostname": HOSTNAMES[0], "cluster": "lab", "genesis": GENESIS}
    assert value(samples, "info", **about) == 1
    assert value(samples, "phase", state="member") == 1
    assert value(samples, "phase", state="pending") == 0
    assert value(samples, "members", state="alive") == 5
    assert value(samples, "members", state="dead") == 0
    assert value(samples, "members_pending") == 1
    assert value(samples, "clones") == 1
    assert value(samples, "problems") == 1
    assert value(samples, "mesh_peers", state="up") == 4
    assert value(samples, "mesh_sent_bytes_total", peer=NODES[2]) == 4000
    assert value(samples, "raft_term") == 3
    assert value(samples, "raft_commit_index") == 77
    assert value(samples, "raft_is_leader") == 0
    assert value(samples, "raft_role", state="follower") == 1
    assert value(samples, "lease_holder", role="coordinator", holder=NODES[1]) == 1
    assert value(samples, "lease_held", role="coordinator") == 0
    assert value(samples, "lease_epoch", role="coordinator") == 4
    assert value(samples, "role_figure", role="names", figure="names") == 5
    assert value(samples, "secret_version", name="gossip") == 2
    assert value(samples, "ticks_total") == 12
    assert value(samples, "tick_seconds") == 0.004
    assert value(samples, "tick_p95_seconds") == 0.006
    assert value(samples, "clock_synchronised") == 1


def test_ages_grow_while_the_agent_publishes_nothing() -> None:
    samples = parse(render(make_status(published=1000.0), now=1060.0))
    assert value(samples, "status_age_seconds") == 60
    assert value(samples, "mesh_handshake_age_seconds", peer=NODES[1]) == 71


def test_exactly_one_phase_holds() -> None:
    for phase in Phase:
        samples = parse(render(make_status(phase=phase), now=1000.0))
        assert sum(number for (name, _), number in samples.items() if name == "clusteros_phase") == 1


def test_a_node_without_a_cluster_has_metrics_too() -> None:
    bare = NodeStatus(NODES[0], "SHA256:x", "n-x", Phase.WAITING, "waiting", 5.0)
    samples = parse(render(bare, now=5.0))
    assert value(samples, "phase", state="waiting") == 1
    assert not any(name.startswith("clusteros_mesh") for name, _ in samples)


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    text = render(make_status(secrets={'a"} 1\nevil{x="\\': 3}), now=1000.0)
    samples = parse(text)
    assert value(samples, "secret_version", name='a\\"} 1\\nevil{x=\\"\\\\') == 3
    assert not any(line.startswith("evil") for line in text.splitlines())


@given(any_status())
def test_any_status_gives_lines_of_the_format(status: NodeStatus) -> None:
    for line in render(status, now=2000.0)[:-1].split("\n"):
        assert line.startswith(("# HELP clusteros_", "# TYPE clusteros_")) or SAMPLE.fullmatch(line), line
