# SPDX-License-Identifier: Apache-2.0
"""The page for people: page.html beside this, and the policy under which a browser runs it.

The file is all there is of it: nothing is built, and nothing is loaded from elsewhere. What it shows comes
from /status.json. Only the very script and style of the file may run (Content Security Policy, by hashes).
"""

import re
from base64 import b64encode
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from agent.status.http import Content

_FILE = Path(__file__).with_name("page.html")


@lru_cache(maxsize=1)
def read_page() -> Content:
    """Return the page."""
    text = _FILE.read_text(encoding="utf-8")
    return Content("text/html; charset=utf-8", text.encode(), make_policy(text))


def make_policy(text: str) -> str:
    """Return the Content-Security-Policy for an HTML page with inline scripts and styles. Pure."""
    allowed = {
        tag: " ".join(
            f"'sha256-{b64encode(sha256(inner.encode()).digest()).decode()}'"
            for inner in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )
