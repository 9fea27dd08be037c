# SPDX-License-Identifier: Apache-2.0
"""Send garbage to a port. Run on a machine: `python3 garbage.py tcp|udp ADDRESS PORT SEED`."""

import random
import socket
import sys
from contextlib import suppress

SIZES = (0, 1, 4, 17, 148, 1000, 1400)
LARGE = 1 << 20


def tcp(address: str, port: int, chance: random.Random) -> None:
    """Connections with random bytes, with much of them, cut off, and silent ones."""
    silent = []
    for size in (*SIZES, LARGE):
        with suppress(OSError), socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(chance.randbytes(size))
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.2)
            connection.recv(65536)
        with suppress(OSError):
            silent.append(socket.create_connection((address, port), timeout=2))
    for connection in silent:
        connection.close()


def udp(address: str, port: int, chance: random.Random) -> None:
    """Datagrams with random bytes; also such that begin as WireGuard's four kinds of message do."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(50):
            for size in SIZES:
                data = chance.randbytes(size)
                sender.sendto(data, (address, port))
                sender.sendto(bytes([chance.randrange(1, 5), 0, 0, 0]) + data, (address, port))


if __name__ == "__main__":
    kind, host, number, seed = sys.argv[1:]
    {"tcp": tcp, "udp": udp}[kind](host, int(number), random.Random(int(seed)))
