# SPDX-License-Identifier: Apache-2.0
"""What an operator puts before a cluster: a port that leads to whichever machine has a service at the moment.

A program that runs inside the network of a group: `PORT ADDRESS...`. It knows nothing of what it carries. A
machine that has lost its power says nothing more, so connections to it end when it does not answer probes.
"""

import asyncio
import os
import socket
import sys
from contextlib import suppress
from functools import partial

TRY = 20.0
"""Seconds for a machine to take a connection; that one is off is found out earlier, by the link."""
_PROBES = {socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 3, socket.TCP_KEEPCNT: 5}
"""Seconds until the first probe and between two, and how many may be lost (tcp(7))."""
_CHUNK = 1 << 16


async def carry(
    addresses: list[str], port: int, down: asyncio.StreamReader, up: asyncio.StreamWriter
) -> None:
    """Carry one connection both ways, to the first machine that takes it, until an end closes it."""
    for address in tuple(addresses):
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TRY)
            # It is asked first the next time.
            addresses.remove(address)
            addresses.insert(0, address)
            _probe(writer)
            await asyncio.gather(_copy(down, writer), _copy(reader, up))
            return
    up.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


def _probe(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


async def serve(port: int, addresses: list[str]) -> None:
    """Serve until killed; prints `ready` when it can be asked."""
    server = await asyncio.start_server(partial(carry, addresses, port), "", port)
    print("ready", flush=True)
    os.close(1)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2:]))
