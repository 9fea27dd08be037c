# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium (Debian's) for tests of web pages, driven by Playwright.

They talk over a pipe, not a port, so the browser can run wherever a command can be started: in the network
namespace of a machine or of VMs, say. Whatever a page complains of is kept, and a test looks at it.
"""

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from agent.errors import ClusterError
from image.browsertree import TREE
from image.toolstree import ToolsTree

PROGRAM = "chromium-headless-shell"
PATIENCE = 30.0
"""Seconds in which what a test asks of a page must have come about, on busy cores."""
# Root needs the first: all pages are the project's own. The others keep away what is no page's.
_OPTIONS = ("--no-sandbox", "--disable-component-update", "--no-proxy-server")


@dataclass
class Complaints:
    """What went wrong in pages: errors on the console (also of the policy), uncaught exceptions."""

    said: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Note what `page` complains of from now on."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(f"exception: {error.message}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")


@contextmanager
def run_browser(folder: Path, through: Sequence[str] = ()) -> Iterator[Browser]:
    """Run the browser until the end of the block, in this thread; one at a time.

    `folder` is an empty one for what it needs, `through` what a command begins with that runs where the
    browser should: of a machine on the switch (Switch.command), or of a group of VMs (Namespace.command).
    Raises ClusterError where there is no browser.
    """
    try:
        tree, sandbox = Path(os.environ[TREE]), Path(os.environ["CLUSTEROS_SANDBOX"])
    except KeyError:
        raise ClusterError("there is no browser", hint="run the tests by ./build.py test") from None
    start = folder / "browser"
    command = [*through, *ToolsTree(tree, sandbox).command([PROGRAM], env=_environment(tree, folder))]
    start.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    start.chmod(0o700)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=start, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(context: BrowserContext) -> Iterator[tuple[Page, Complaints]]:
    """Give a new page, and what it complains of."""
    context.set_default_timeout(PATIENCE * 1000)
    page, complaints = context.new_page(), Complaints()
    complaints.watch(page)
    try:
        yield page, complaints
    finally:
        page.close()


def find_barriers(page: Page) -> list[str]:
    """Return where the page breaks the rules of accessibility that axe-core can check, a line each."""
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    return [
        f"{violation['id']}: {violation['help']}: {node['target']} {node['html'][:200]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]


def _environment(tree: Path, folder: Path) -> dict[str, str]:
    # The configuration of fonts is the tree's, as its fonts are; the host may have none.
    return {
        "FONTCONFIG_FILE": f"{tree}/etc/fonts/fonts.conf",
        "HOME": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
