# SPDX-License-Identifier: Apache-2.0
"""Three machines of profile hpc run JupyterHub by themselves, and go on with it when its holder is lost.

The user is a browser outside of the mesh, which sees one address, as an operator would give it to people: the
machines' port 8443 is open, and a balancer leads to the one that has the hub.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from harness import companions, slurm
from harness.browser import run_browser
from harness.cluster import find_holder, wait_formed
from harness.lab import Lab
from harness.machine import Machine
from harness.model import Boot
from harness.waiting import wait_for

HUB = "jupyterhub"
PORT = 8443
RUNS_LIMIT = 420.0
"""Seconds from a formed cluster to a hub that answers, under TCG."""
PAGE_LIMIT = 420.0
"""Seconds from a click to a page, at most of a notebook that starts; its files alone are 10 MB."""
AGAIN_LIMIT = 420.0
"""Seconds from the loss of the holder to an answer of the notebook through the next hub."""
CELL_LIMIT = 60.0
"""Seconds that a person waits for a cell."""
USER, PASSWORD = "alice", "correct horse"


@dataclass(frozen=True)
class Cast:
    """Who plays what: the hub's holder, the only worker that takes jobs, and one more."""

    holder: Machine
    worker: Machine
    third: Machine


@pytest.fixture(scope="module")
def cast(trio: list[Machine], lab: Lab, boot: Boot) -> Iterator[Cast]:
    """The hub runs, its workers are idle, and one of them alone takes jobs."""
    holder = wait_for("JupyterHub to run", lambda: find_holder(trio, HUB), RUNS_LIMIT, every=3)
    worker, third = (machine for machine in trio if machine is not holder)
    wait_for("three idle workers", lambda: slurm.idle(third) == 3, RUNS_LIMIT, every=3)
    for machine in (holder, third):
        drain(third, hostname(machine))
    yield Cast(holder, worker, third)
    third.run("scancel", f"--user={USER}")
    if holder.state != "ready":
        lab.start(holder.spec, boot)
        holder.wait_ready()
    wait_formed(trio)
    for machine in (holder, third):
        third.run("scontrol", "update", f"nodename={hostname(machine)}", "state=resume", limit=RUNS_LIMIT)


@pytest.fixture(scope="module")
def page(cast: Cast, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The login page, in a browser beside the machines."""
    group, machines = lab.group, (cast.holder, cast.worker, cast.third)
    addresses = [machine.spec.address for machine in machines]
    companions.start_balancer(group.namespace, group.folder, PORT, addresses)
    with run_browser(tmp_path_factory.mktemp("browser"), group.namespace.command([])) as browser:
        yield open_login(browser)


def open_login(browser: Browser) -> Page:
    # Who is asked for the certificate is the first test; a person would import the authority.
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(PAGE_LIMIT * 1000)
    page = context.new_page()
    # What JupyterLab says of a server that does not answer is put aside, as a person would.
    page.add_locator_handler(page.locator(".jp-Dialog").first, lambda: page.keyboard.press("Escape"))
    page.goto(f"https://10.77.0.1:{PORT}/")
    return page


def test_its_certificate_is_of_the_clusters_own_authority(cast: Cast) -> None:
    found = cast.third.run("jupyterhub-ca")
    assert found.startswith("-----BEGIN CERTIFICATE-----")
    look = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cadata=sys.stdin.read())
print(urllib.request.urlopen("https://jupyterhub:8443/hub/login", context=context, timeout=60).status)
"""
    assert cast.third.run("python3", "-c", look, stdin=found.encode(), limit=120) == "200"


def test_a_wrong_password_does_not_open_it(page: Page) -> None:
    log_in(page, "wrong horse")
    expect(page.locator(".login_error")).to_contain_text("Invalid", timeout=PAGE_LIMIT * 1000)


def test_a_notebook_runs_as_a_job_and_outlives_the_holder_of_the_hub(cast: Cast, page: Page) -> None:
    log_in(page, PASSWORD)
    page.locator("select[name=profile]").select_option("job-small")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(f"**/user/{USER}/lab**")
    page.locator(".jp-LauncherCard[data-category=Notebook]").first.click()
    run_cell(page, "import socket; x = 41; print(socket.gethostname())", hostname(cast.worker), PAGE_LIMIT)
    job = [USER, hostname(cast.worker), "RUNNING"]
    assert cast.third.run("squeue", "--noheader", "--format=%u %N %T").split() == job

    cast.holder.power_cut()
    others = [cast.worker, cast.third]
    wait_for("another holder of JupyterHub", lambda: find_holder(others, HUB), AGAIN_LIMIT, every=3)
    # The same page, the same kernel, with what it knew.
    run_cell(page, "print(x + 1)", "42", AGAIN_LIMIT)
    assert cast.third.run("squeue", "--noheader", "--format=%u %N %T").split() == job


def log_in(page: Page, password: str) -> None:
    """Fill in the form."""
    page.locator("#username_input").fill(USER)
    page.locator("#password_input").fill(password)
    page.locator("#login_submit").click()


def run_cell(page: Page, code: str, printed: str, limit: float) -> None:
    """Run code in the last cell, and see what it prints; again, as a person would, if nothing comes."""
    status = page.locator("#jp-main-statusbar")

    def ran() -> bool:
        try:
            if "Disconnected" in status.inner_text():
                # JupyterLab has tried seven times, in one to two minutes, and leaves it to people then.
                page.get_by_role("menuitem", name="Kernel", exact=True).click(timeout=CELL_LIMIT * 1000)
                page.get_by_role("menuitem", name="Reconnect to Kernel").click(timeout=CELL_LIMIT * 1000)
            # What a kernel does is unknown after a new connection until it is asked for something.
            expect(status).to_contain_text(re.compile(r"\| (Idle|Unknown)"), timeout=CELL_LIMIT * 1000)
            page.locator(".jp-Notebook .jp-CodeCell .cm-content").last.click(timeout=CELL_LIMIT * 1000)
            # What an attempt before has left there goes.
            page.keyboard.press("Control+a")
            page.keyboard.insert_text(code)
            page.keyboard.press("Shift+Enter")
            output = page.locator(".jp-Notebook .jp-OutputArea-output").last
            expect(output).to_have_text(printed, timeout=CELL_LIMIT * 1000)
        except (AssertionError, Error) as error:
            print(f"no {printed} yet; JupyterLab shows: {status.inner_text()!r}; {str(error)[:200]!r}")
            return False
        return True

    wait_for(f"{printed} from the notebook", ran, limit)


def hostname(machine: Machine) -> str:
    """Name of the machine as SLURM and the mesh have it."""
    return machine.run("hostname")


def drain(machine: Machine, worker: str) -> None:
    """Let SLURM give a worker no more jobs."""
    update = ["scontrol", "update", f"nodename={worker}", "state=drain", "reason=test"]
    wait_for(f"{worker} to be drained", lambda: machine.execute(update).status == 0, RUNS_LIMIT, every=3)
