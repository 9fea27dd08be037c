# SPDX-License-Identifier: Apache-2.0
"""The page of real members: the browser runs on one of three machines, and their agents serve on the mesh."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.identity import identity_of_node_id
from harness.browser import PATIENCE, Complaints, find_barriers, open_page, run_browser
from tests.cluster.bundle import encode, make_credential
from tests.cluster.machines import Machine, Machines, wait_formed
from tests.cluster.observed import wait_holder
from tests.cluster.watching import LIMIT, wait_status, wait_voters

expect.set_options(timeout=LIMIT * 1000)


@pytest.fixture(scope="module")
def cluster(heap: Machines) -> list[Machine]:
    machines = heap.start(3, encode(make_credential(3)))
    wait_formed(machines)
    wait_voters(machines)
    return machines


@pytest.fixture(scope="module")
def holder(cluster: list[Machine]) -> Machine:
    """The machine that holds the coordinator's lease."""
    return wait_holder(cluster, LIMIT)


@pytest.fixture(scope="module")
def viewer(cluster: list[Machine], holder: Machine) -> Machine:
    """A machine that does not, on which the browser runs."""
    return next(machine for machine in cluster if machine is not holder)


@pytest.fixture(scope="module")
def browser(
    heap: Machines,
    viewer: Machine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Browser]:
    through = heap.switch.command(viewer.number, [])
    with run_browser(tmp_path_factory.mktemp("browser"), through) as found:
        yield found


@pytest.fixture
def page(browser: Browser) -> Iterator[tuple[Page, Complaints]]:
    context = browser.new_context()
    with open_page(context) as found:
        yield found
    context.close()


def name(machine: Machine) -> str:
    return identity_of_node_id(machine.node_id).hostname


def address(machine: Machine, family: str = "ipv4") -> str:
    found = str(machine.status()["mesh"][family])
    return f"http://[{found}]:7980/" if family == "ipv6" else f"http://{found}:7980/"


def row(page: Page, machine: Machine) -> Page:
    return page.locator("#members tbody tr", has_text=name(machine))


def test_a_member_shows_all_members_and_leads_to_their_pages(
    cluster: list[Machine], holder: Machine, viewer: Machine, page: tuple[Page, Complaints]
) -> None:
    shown, complaints = page
    for machine in cluster:
        wait_status(
            machine, "a whole mesh", lambda status: all(p["state"] == "up" for p in status["mesh"]["peers"])
        )
    shown.goto(address(viewer, "ipv6"))
    expect(shown.get_by_role("status")).to_have_text("All is well: 3 members, and all can be reached.")
    for machine in cluster:
        expect(row(shown, machine)).to_contain_text("alive")
        expect(row(shown, machine)).to_contain_text("this node" if machine is viewer else "up")
    expect(row(shown, holder)).to_contain_text("coordinator")
    expect(shown.locator("#leases tbody tr")).to_contain_text(name(holder))
    assert find_barriers(shown) == []
    reached: list[str] = []
    while name(holder) not in reached:
        assert len(reached) < 4, f"no way to {name(holder)} by keyboard: {reached}"
        shown.keyboard.press("Tab")
        reached.append(shown.evaluate("document.activeElement.textContent"))
    shown.keyboard.press("Enter")
    expect(shown.get_by_text(f"as {name(holder)} sees it")).to_be_visible(timeout=PATIENCE * 1000)
    # Its holder alone knows until when it has the lease, and renews it.
    expect(shown.locator("#leases tbody tr td").last).to_have_text(re.compile(r"^[0-6] s$"))
    expect(shown.locator("#events")).to_contain_text(f"{name(holder)} holds coordinator in epoch 1")
    assert complaints.said == []


def test_a_name_that_leads_to_the_mesh_from_elsewhere_reads_nothing(
    viewer: Machine, browser: Browser
) -> None:
    ask = (
        "import sys, http.client as h; c = h.HTTPConnection(sys.argv[1], 7980, timeout=5); "
        "c.request('GET', '/status.json', headers={'Host': sys.argv[2]}); print(c.getresponse().status)"
    )
    mesh = viewer.status()["mesh"]["ipv4"]
    for host, status in ((mesh, "200"), (name(viewer), "200"), ("rebound.example.org", "421")):
        assert viewer.inside("python3", "-S", "-c", ask, mesh, host).stdout.strip() == status


def test_the_loss_of_a_holder_is_seen_while_it_happens(
    cluster: list[Machine], holder: Machine, viewer: Machine, page: tuple[Page, Complaints]
) -> None:
    shown, complaints = page
    shown.goto(address(viewer))
    expect(shown.get_by_role("status")).to_contain_text("All is well")
    holder.cut_power()
    expect(row(shown, holder)).to_contain_text("dead")
    successor = wait_holder([machine for machine in cluster if machine is not holder], LIMIT)
    expect(shown.locator("#leases tbody tr")).to_contain_text(name(successor))
    expect(shown.get_by_role("status")).to_contain_text("attention")
    events = shown.locator("#events")
    expect(events).to_contain_text(f"{name(holder)} cannot be reached")
    expect(events).to_contain_text(f"{name(successor)} holds coordinator in epoch 2")
    holder.start()
    expect(row(shown, holder)).to_contain_text("alive")
    expect(events).to_contain_text(f"{name(holder)} is there")
    assert complaints.said == []


def test_an_agent_that_ended_is_said_and_comes_back_without_a_reload(
    viewer: Machine, page: tuple[Page, Complaints]
) -> None:
    shown, complaints = page
    shown.goto(address(viewer))
    expect(row(shown, viewer)).to_contain_text("this node")
    viewer.kill("agent")
    expect(shown.get_by_role("status")).to_contain_text("This node cannot be reached since")
    expect(row(shown, viewer)).to_contain_text("this node")
    viewer.start_agent()
    expect(shown.locator("#events")).to_contain_text("the agent started")
    expect(shown.get_by_role("status")).not_to_contain_text("cannot be reached since")
    assert all("ERR_" in said for said in complaints.said), complaints.said
