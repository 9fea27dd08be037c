# SPDX-License-Identifier: Apache-2.0
"""Make this machine's disk hold the newest state before a role starts here.

Owns the marker `.cluster-os` in the state's folder: the epoch under which the folder was last live here. It
is taken away before anything is changed, and written when all is there.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agent import files
from agent.copies.followed import Followed
from agent.copies.link import Link, call
from agent.copies.message import End, Fence, Fetch, Held, Put
from agent.copies.version import Answer, Choice, Version, choose
from agent.errors import ClusterError

MARKER = ".cluster-os"
_log = logging.getLogger("copies")


def read_own_epoch(folder: Path) -> int:
    """Return the epoch under which the folder was last live on this machine; 0 for never, or not wholly."""
    try:
        epoch = json.loads((folder / MARKER).read_bytes())["epoch"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return epoch if type(epoch) is int and epoch > 0 else 0


def adopt(followed: Followed, hosts: Sequence[str], say: Callable[[str], None]) -> Version | None:
    """Ask the voters at `hosts` once, and bring the newest state here; None when too few of them answered.

    Returns a version that no voter exceeds. ClusterError when a voter knows of a later epoch, or when the
    newest copy cannot be fetched.
    """
    own = read_own_epoch(followed.folder)
    with ThreadPoolExecutor(max_workers=len(hosts) or 1) as pool:
        links = dict(zip(hosts, pool.map(lambda host: _call(host, followed), hosts), strict=True))
    try:
        held = _fence(links, followed.epoch)
        choice = choose(own, [Answer(host, each.version) for host, each in held.items()], len(hosts))
        if choice is None:
            say(f"{len(held)} of {len(hosts)} voters answer; more than half are needed")
            return None
        later = max(each.fenced for each in held.values())
        if later > followed.epoch:
            raise ClusterError(f"epoch {followed.epoch} is over: a voter knows of epoch {later}")
        _take(followed, choice, links)
        return max(each.version for each in held.values())
    finally:
        for link in links.values():
            if link is not None:
                link.close()


def _call(host: str, followed: Followed) -> Link | None:
    try:
        return call(host, followed.port, followed.secret)
    except (OSError, ClusterError) as error:
        _log.info("no copy from %s: %s", host, error)
        return None


def _fence(links: Mapping[str, Link | None], epoch: int) -> dict[str, Held]:
    found = {}
    for host, link in links.items():
        if link is None:
            continue
        try:
            link.say(Fence(epoch))
            found[host] = link.expect(Held)
        except (OSError, ClusterError) as error:
            _log.info("no copy from %s: %s", host, error)
    return found


def _take(followed: Followed, choice: Choice, links: Mapping[str, Link | None]) -> None:
    folder = followed.folder
    marker = folder / MARKER
    if choice.host is None:
        _log.info("goes on with what is on this machine's disk")
    else:
        link = links[choice.host]
        assert link is not None
        files.remove(marker)
        try:
            _clear(folder)
            count = _fetch(folder, link, choice.version)
        except OSError as error:
            raise ClusterError(f"cannot fetch the copy of {choice.host}: {error.strerror or error}") from None
        os.sync()
        _log.info("goes on with the copy of %s: %d files, %s", choice.host, count, choice.version)
    files.replace(marker, json.dumps({"epoch": followed.epoch}).encode() + b"\n", mode=0o600)


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _fetch(folder: Path, link: Link, version: Version) -> int:
    link.say(Fetch())
    count = 0
    while isinstance(heard := link.hear(), Put):
        path = folder / heard.name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("wb") as target:
            link.take_content(target, heard.bytes)
        path.chmod(heard.mode)
        count += 1
    if not isinstance(heard, End) or heard.version != version:
        raise ClusterError("the copy changed while it was fetched")
    return count
