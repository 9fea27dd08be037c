# SPDX-License-Identifier: Apache-2.0
"""Control a running QEMU over QMP, with QEMU's own library, from code that is not asynchronous."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, QMPError

from agent.errors import ClusterError
from harness.model import Json

LIMIT = 20.0
"""Seconds for a connection and an answer."""


class QmpError(ClusterError):
    """QEMU does not answer on its control socket, or refused a command."""


def execute(socket: Path, command: str, arguments: dict[str, Any] | None = None) -> Json:
    """Run one QMP command and return its answer; raises QmpError.

    Each call is a connection of its own: QEMU serves one at a time, and so no caller shuts out another.
    """

    def run() -> Json:
        return asyncio.run(asyncio.wait_for(_execute(socket, command, arguments), LIMIT))

    try:
        # In a thread of its own, as the caller's may have a loop: a browser's, say (harness/browser.py).
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(run).result()
    except ExecInterruptedError:
        if command == "quit":  # the answer may be lost with the process
            return {}
        raise QmpError(f"QEMU went away during {command}") from None
    except (ConnectError, QMPError, OSError, TimeoutError) as error:
        raise QmpError(f"QEMU does not answer {command}: {error}") from None


async def _execute(socket: Path, command: str, arguments: dict[str, Any] | None) -> Json:
    client = QMPClient("harness")
    client.logger.disabled = True
    await client.connect(str(socket))
    try:
        return await client.execute(command, arguments)
    except ExecuteError as error:
        raise QmpError(f"QEMU refused {command}: {error}") from None
    finally:
        # The answer counts; a QEMU that ends closes first.
        with suppress(QMPError, EOFError, OSError):
            await client.disconnect()
