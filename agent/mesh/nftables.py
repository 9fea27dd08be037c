# SPDX-License-Identifier: Apache-2.0
"""Load the packet filter: the one module that runs nft. Its text goes through standard input.

`main` is the program clusteros-firewall, which owns the rules; `set_ranges` is the agent's, which owns the
contents of the two sets of ranges. Both need CAP_NET_ADMIN.
"""

import os
import sys
from collections.abc import Iterable

from agent.config import Config, merge, read_config, read_sources
from agent.errors import ClusterError
from agent.mesh.firewall import Firewall, render, render_ranges
from agent.run import run
from agent.state import State, find_state

_TIME_LIMIT = 20.0


def main(arguments: list[str]) -> int:
    """Load the rules that this node's configuration gives, and return the exit status.

    A configuration with errors does not leave the node open: then the image's defaults are loaded, which open
    the least, and the status is 1. It is 2 when no rules could be loaded. With `--print` the rules of the
    defaults are printed instead.
    """
    if arguments == ["--print"]:
        print(render(_defaults(find_state(None))), end="")
        return 0
    state = find_state(None)
    status = 0
    try:
        firewall = firewall_of(read_config(state.folder, os.environ))
    except ClusterError as error:
        _complain(error)
        print("the firewall uses the defaults of the image until that is corrected", file=sys.stderr)
        status = 1
        firewall = _defaults(state)
    try:
        load(firewall)
    except ClusterError as error:
        _complain(error)
        return 2
    opened = ", ".join(firewall.open_ports) or "nothing"
    print(f"firewall: rules loaded; besides what the cluster needs, the configuration opens {opened}")
    return status


def _defaults(state: State) -> Firewall:
    return firewall_of(merge(read_sources(state.folder, {}, [])[:1]))


def firewall_of(config: Config) -> Firewall:
    """Return what the rules depend on, from a configuration."""
    return Firewall(
        interface=config.networking.interface,
        listen_port=config.networking.listen_port,
        bind_port=config.discovery.bind_port,
        mdns=config.discovery.mdns,
        open_ports=config.networking.open_ports,
    )


def load(firewall: Firewall) -> None:
    """Replace the rules; ClusterError when they cannot be, and then the former ones stay."""
    _nft(render(firewall), hint="see: journalctl -u clusteros-firewall, nft list ruleset")


def set_ranges(ranges: Iterable[str]) -> None:
    """Let the mesh in from these ranges (CIDR) and keep them off other interfaces; none shuts the mesh.

    Raises ClusterError also where the rules are not loaded.
    """
    _nft(render_ranges(ranges), hint="load the rules first: systemctl restart clusteros-firewall")


def _nft(text: str, *, hint: str) -> None:
    run(["nft", "-f", "-"], stdin=text.encode(), time_limit=_TIME_LIMIT, hint=hint)


def _complain(error: ClusterError) -> None:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"hint: {error.hint}", file=sys.stderr)
