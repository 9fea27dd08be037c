# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser, from the real server, of made-up documents: every state, hostile text."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.cluster import Phase
from agent.service.serving import WebOnMesh
from agent.status.document import EventStatus, LeaseStatus, NodeStatus, RoleStatus
from harness.browser import PATIENCE, Complaints, find_barriers, open_page, run_browser
from tests.example_status import CLONE, HOSTNAMES, NODES, PENDING, make_member, make_status

expect.set_options(timeout=PATIENCE * 1000)
WIDE, NARROW = 1200, 320
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>&amp;"
Open = Callable[..., Page]


@dataclass
class Node:
    """What the node at the other end says, and whether it serves."""

    web: WebOnMesh
    status: NodeStatus

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web.ports['127.0.0.1']}/"


def make_now(**changes: object) -> NodeStatus:
    """Return the status of a member on this machine's own address, published now."""
    status = make_status(published=time.monotonic(), **changes)
    assert status.mesh is not None
    return replace(status, mesh=replace(status.mesh, ipv4="127.0.0.1", ipv6="::1"))


def make_troubled() -> NodeStatus:
    """Return a status in which a bit of everything is wrong."""
    members = (replace(make_member(0), state="dead"), *(make_member(number) for number in range(1, 5)))
    now = time.monotonic()
    status = make_now(
        members=members,
        pending=(PENDING,),
        clones=(CLONE,),
        error="the disk is full",
        leases=(LeaseStatus("coordinator", NODES[0], 4, 4.3), LeaseStatus("archive", None, 0)),
        roles=(
            RoleStatus("queue", "leader", "running", "", {"jobs_running": 3, "jobs pending": 12}),
            RoleStatus("archive", "leader", "failed", "it cannot write"),
            RoleStatus("render", "every", "unfit", "needs a GPU"),
        ),
        events=(
            EventStatus(now - 65, "lease", f"{HOSTNAMES[1]} holds coordinator in epoch 3"),
            EventStatus(now - 5, "member", f"{HOSTNAMES[0]} cannot be reached"),
        ),
    )
    assert status.mesh is not None
    first, second, *rest = status.mesh.peers
    peers = (
        replace(first, state="down", handshake_age=400.0),
        replace(second, state="unknown", handshake_age=None, endpoint=None),
        *rest,
    )
    return replace(status, mesh=replace(status.mesh, peers=peers))


STATES: dict[str, Callable[[], NodeStatus]] = {
    "healthy": make_now,
    "troubled": make_troubled,
    "forming": lambda: make_now(phase=Phase.FORMING, members=(), leases=(), roles=(), cluster=None),
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with run_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def node() -> Iterator[Node]:
    found = Node(WebOnMesh(0, lambda: found.status), make_now())
    found.web.follow(found.status)
    yield found
    found.web.close()


@pytest.fixture
def complaints() -> Complaints:
    """What pages complained of; nothing is allowed unless the test takes it away."""
    return Complaints()


@pytest.fixture
def visit(browser: Browser, node: Node, complaints: Complaints) -> Iterator[Open]:
    """Open the node's page; options are those of a browser context."""
    contexts = []

    def open_one(width: int = WIDE, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        complaints.watch(page)
        page.goto(node.url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert complaints.said == []


def state(page: Page, text: str) -> None:
    """Wait until the line that screen readers are told of holds `text`."""
    expect(page.get_by_role("status")).to_contain_text(text)


def test_a_healthy_member_shows_its_cluster(visit: Open) -> None:
    page = visit()
    state(page, "All is well: 5 members, and all can be reached.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cluster lab")
    expect(page).to_have_title(f"lab · {HOSTNAMES[0]}")
    rows = page.locator("#members tbody tr")
    expect(rows).to_have_count(5)
    expect(rows.nth(1)).to_contain_text(HOSTNAMES[1])
    for text in ("alive", "leader", "10.77.0.2", "fd00::2", "up 11 s ago via 192.0.2.1:51820", "coordinator"):
        expect(rows.nth(1)).to_contain_text(text)
    expect(page.locator("#leases tbody tr").nth(1)).to_contain_text("nobody")


def test_what_is_wrong_is_said_in_words(visit: Open, node: Node) -> None:
    node.status = make_troubled()
    page = visit()
    state(page, f"{len(problems(page))} things need attention.")
    said = "\n".join(problems(page))
    for text in (
        "the disk is full",
        "is kept out",
        "1 of 5 members cannot be reached",
        "role archive failed",
    ):
        assert text in said
    expect(page.locator("#members tbody tr").nth(0)).to_contain_text("dead")
    expect(page.locator("#members tbody tr").nth(1)).to_contain_text("down 6 min ago")
    expect(page.locator("#roles")).to_contain_text("needs a GPU")
    expect(page.locator("#counts")).to_contain_text("jobs running")
    expect(page.locator("#counts dd")).to_have_text(["3", "12"])
    expect(page.locator("#events li")).to_have_count(2)
    expect(page.locator("#events li").nth(0)).to_contain_text(f"{HOSTNAMES[0]} cannot be reached")


def problems(page: Page) -> list[str]:
    """Return the problems that are listed."""
    expect(page.locator("#problems li").first).to_be_visible()
    found: list[str] = page.locator("#problems li:not(.note)").all_text_contents()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", STATES)
def test_every_state_is_accessible_and_fits(
    visit: Open, node: Node, name: str, width: int, scheme: str
) -> None:
    node.status = STATES[name]()
    page = visit(width, color_scheme=scheme)
    expect(page.locator("main")).to_be_visible()
    assert find_barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_tables_stay_tables_where_there_is_no_room(visit: Open) -> None:
    wide, narrow = visit(WIDE), visit(NARROW)
    for role in ("table", "row", "columnheader", "rowheader", "cell"):
        state(wide, "All is well")
        state(narrow, "All is well")
        assert wide.get_by_role(role).count() == narrow.get_by_role(role).count() > 0, role
    expect(narrow.get_by_role("table", name="What gossip says")).to_be_visible()


def test_hostile_text_stays_text(visit: Open, node: Node) -> None:
    status = make_troubled()
    assert status.cluster is not None
    assert status.mesh is not None
    hostile = tuple(
        replace(member, hostname=HOSTILE, ipv4="javascript:alert(3)") for member in status.members
    )
    node.status = replace(
        status,
        hostname=HOSTILE,
        cluster=replace(status.cluster, name=HOSTILE),
        members=hostile,
        mesh=replace(status.mesh, peers=tuple(replace(peer, endpoint=HOSTILE) for peer in status.mesh.peers)),
        error=HOSTILE,
        warnings=(HOSTILE,),
        leases=(LeaseStatus(HOSTILE, NODES[1], 1),),
        roles=(RoleStatus(HOSTILE, "every", "failed", HOSTILE, {HOSTILE: 1, "__proto__": 2}),),
        events=(EventStatus(1.0, "done", HOSTILE),),
    )
    page = visit(NARROW)
    opened: list[str] = []
    page.on("dialog", lambda dialog: opened.append(dialog.message))
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Cluster {HOSTILE}")
    expect(page.locator("#members tbody tr").first).to_contain_text(HOSTILE)
    for place in ("#where", "#problems", "#leases", "#roles", "#counts", "#events"):
        expect(page.locator(place)).to_contain_text(HOSTILE)
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert page.locator("a[href^='javascript']").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    assert opened == []


def test_a_script_that_is_not_the_pages_own_does_not_run(visit: Open, complaints: Complaints) -> None:
    page = visit()
    state(page, "All is well")
    page.evaluate(
        "() => { const s = document.createElement('script'); s.append('window.stolen = 1');"
        " try { document.body.append(s); } catch (error) { console.error(String(error)); } }"
    )
    assert page.evaluate("window.stolen") is None
    assert any("Content Security Policy" in said or "TrustedScript" in said for said in complaints.said)
    complaints.said.clear()


def test_a_node_that_cannot_be_reached_is_said_and_found_again(
    visit: Open, node: Node, complaints: Complaints
) -> None:
    page = visit()
    state(page, "All is well")
    port = node.web.ports["127.0.0.1"]
    node.web.close()
    state(page, "This node cannot be reached since")
    expect(page.locator("#members tbody tr")).to_have_count(5)
    expect(page.locator("body.old")).to_have_count(1)
    assert all("ERR_CONNECTION_REFUSED" in said for said in complaints.said)
    complaints.said.clear()
    node.web, node.status = WebOnMesh(port, lambda: node.status), make_now()
    node.web.follow(node.status)
    state(page, "All is well")
    expect(page.locator("body.old")).to_have_count(0)
    complaints.said = [said for said in complaints.said if "ERR_CONNECTION_REFUSED" not in said]


def test_an_agent_that_says_nothing_any_more_is_called_old(visit: Open, node: Node) -> None:
    node.status = replace(make_now(), published=time.monotonic() - 60)
    page = visit()
    state(page, "Old: the agent of this node has said nothing lately.")
    node.status = make_now()
    state(page, "All is well")


def test_all_of_it_can_be_reached_by_keyboard(browser: Browser, node: Node) -> None:
    with open_page(browser.new_context()) as (page, complaints):
        page.goto(node.url)
        state(page, "All is well")
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            text = page.evaluate(
                "document.activeElement === document.body ? '' : document.activeElement.textContent"
            )
            if not text:
                break
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", text
            reached.append(text)
        assert reached == ["Skip to the members", "Metrics", "The same as JSON"]
        page.reload()
        state(page, "All is well")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        assert complaints.said == []


def test_a_look_that_finds_nothing_new_tells_nobody(visit: Open, node: Node) -> None:
    page = visit()
    state(page, "All is well")
    page.locator("footer a").first.focus()
    page.evaluate(
        "() => { window.told = 0; window.made = 0;"
        " new MutationObserver(() => window.told++).observe(document.querySelector('#state'),"
        "   {childList: true, characterData: true, subtree: true, attributes: true});"
        " new MutationObserver((all) => { for (const one of all) window.made += one.addedNodes.length; })"
        "   .observe(document.querySelector('#members'), {childList: true}); }"
    )
    with page.expect_response("**/status.json"), page.expect_response("**/status.json"):
        pass
    with page.expect_response("**/status.json"):
        pass
    assert page.evaluate("[window.told, window.made, document.activeElement.textContent]") == [
        0,
        0,
        "Metrics",
    ]


def test_who_wants_no_motion_gets_none(visit: Open) -> None:
    moved, still = visit(), visit(reduced_motion="reduce")
    script = "getComputedStyle(document.querySelector('section')).transitionDuration"
    assert moved.evaluate(script) == "0.3s"
    assert still.evaluate(script) == "0s"


def test_without_scripts_the_page_says_what_else_there_is(visit: Open) -> None:
    page = visit(java_script_enabled=False)
    state(page, "Without JavaScript, log in to it: node-agent status")
