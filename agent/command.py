# SPDX-License-Identifier: Apache-2.0
"""The command `node-agent`: runs the function that answers (agent/commands/), and shows what it raises."""

import os
import sys

from agent.commands.parser import make_parser
from agent.control.runtime import find_runtime
from agent.errors import ClusterError
from agent.state import find_state


def main(arguments: list[str]) -> int:
    """Run `node-agent` with these arguments and return its exit status."""
    try:
        options = make_parser(arguments[0] if arguments else None).parse_args(arguments)
        status: int = options.run(options, find_state(options.state), find_runtime(options.run_folder))
        sys.stdout.flush()
    except ClusterError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has enough; keep Python from complaining again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    return status
