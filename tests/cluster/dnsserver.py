# SPDX-License-Identifier: Apache-2.0
"""Resolve seeds beside a DNS server of our own; run in a network namespace whose resolv.conf names 127.0.0.1.

`python3 -m tests.cluster.dnsserver SRV_NAME` prints addresses and failures as JSON, and the seconds it took.
"""

import json
import socket
import sys
import threading
import time

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset

from agent.discovery.seeds import resolve

RECORDS = {
    "_cluster-os._udp.lab.test.": (
        "SRV",
        ["20 0 7946 second.lab.test.", "10 5 7001 first.lab.test.", "30 0 7946 gone.lab.test."],
    ),
    "first.lab.test.": ("A", ["192.0.2.1"]),
    "second.lab.test.": ("A", ["192.0.2.2"]),
}


def serve(server: socket.socket) -> None:
    """Answer for RECORDS, with silence for names below `silent.`."""
    while True:
        data, client = server.recvfrom(4096)
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text()
        if name.endswith("silent."):
            continue
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        kind, texts = RECORDS.get(name, ("A", []))
        if texts and query.question[0].rdtype == dns.rdatatype.from_text(kind):
            response.answer.append(dns.rrset.from_text(name, 60, "IN", kind, *texts))
        server.sendto(response.to_wire(), client)


def main() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    begun = time.monotonic()
    found = resolve(["198.51.100.7"], sys.argv[1], 7946)
    print(json.dumps([found.addresses, found.failures, time.monotonic() - begun]))


if __name__ == "__main__":
    main()
