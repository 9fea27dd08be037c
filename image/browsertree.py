# SPDX-License-Identifier: Apache-2.0
"""Get what tests of web pages need into the cache: a tree with Chromium, and the packages that drive it.

Only `./build.py test` asks for it: 600 MiB that nobody needs who builds an image.
"""

import os
import sys
from pathlib import Path

from image.cache import check_seal, digest_files, make_tree
from image.environment import Environment, Say, install, prepare_pip, prepare_tree

TREE = "CLUSTEROS_BROWSER"
"""Environment variable: the folder of the browser tree."""


def prepare_browser(environment: Environment, say: Say) -> Path:
    """Make the browser and its packages available here and in children; return the tree."""
    what = "the browser tree (headless Chromium)"
    tree = prepare_tree(environment, "browser", what, say)
    packages = environment.cache / f"browser-python-{sys.version_info.major}.{sys.version_info.minor}"
    requirements = environment.project / "image/python/browser.txt"
    inputs = digest_files([requirements], base=environment.project)
    if why := check_seal(packages, inputs):
        say(f"installing Python packages that drive the browser into {packages} ({why})")
        pip = prepare_pip(environment.cache, environment.mirror)
        make_tree(
            packages,
            inputs,
            lambda new: install(pip, requirements, new, environment.cache, "--only-binary", ":all:"),
        )
    os.environ[TREE] = str(tree)
    os.environ["PYTHONPATH"] += os.pathsep + str(packages)
    return tree
