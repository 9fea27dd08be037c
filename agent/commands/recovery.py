# SPDX-License-Identifier: Apache-2.0
"""The command `recover`: give up a lost quorum. First it only shows what that would drop."""

import argparse
import sys

from agent.commands.observe import ask_agent, require
from agent.commands.output import print_json
from agent.control.client import ask
from agent.control.runtime import Runtime
from agent.errors import ClusterError
from agent.state import State
from agent.status.names import known, short
from agent.status.tables import table


def recover(options: argparse.Namespace, _state: State, runtime: Runtime) -> int:
    """Go on with the members that are left after a majority of the voters was lost for good."""
    names = known(require(runtime)[0])
    plan = ask(runtime.socket, {"request": "recover", "confirm": False, "drop": []})
    sentence, keep, drop = plan.get("sentence"), _nodes(plan.get("keep")), _nodes(plan.get("drop"))
    if options.yes:
        # What is dropped is what was shown: the agent refuses when its plan is another one by now.
        sentence = ask_agent(runtime, {"request": "recover", "confirm": True, "drop": drop})
    if options.json:
        print_json({"done": options.yes, "sentence": sentence, "keep": keep, "drop": drop})
        return 0
    print(sentence)
    rows = [
        ("keep" if node in keep else "drop", short(node), names.get(node, "-")) for node in (*keep, *drop)
    ]
    print("\n" + table(("WHAT", "NODE", "HOST NAME"), rows))
    if not options.yes:
        print("nothing was changed; to do it: node-agent recover --yes", file=sys.stderr)
    return 0


def _nodes(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ClusterError("that is no answer of an agent", hint="restart clusteros-agent")
    return value
