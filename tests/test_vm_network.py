# SPDX-License-Identifier: Apache-2.0
"""The bridge of the VMs, and the relay that stands in where no tap may be opened."""

import subprocess
import sys
from pathlib import Path

from harness.namespace import python_env
from harness.relay import split

# The script plays QEMU: it asks for the bridge's address by ARP.
_SCRIPT = """
import socket, struct, subprocess, sys
from harness import bridge
from harness.namespace import python

bridge.make()
bridge.make()
bridge.add_port("node1", tap=False)
bridge.add_port("node1", tap=False)
path = sys.argv[1]
relay = subprocess.Popen(python("harness.relay", path, "node1-vm"), stdout=subprocess.PIPE)
assert relay.stdout.readline() == b"ready\\n"
mac = bytes.fromhex("525400000001")
ours, theirs = bytes([10, 77, 0, 11]), bytes([10, 77, 0, 1])
ask = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, ours, bytes(6), theirs)
frame = b"\\xff" * 6 + mac + b"\\x08\\x06" + ask
with socket.socket(socket.AF_UNIX) as vm:
    vm.settimeout(5)
    vm.connect(path)
    vm.sendall(struct.pack("!I", len(frame)) + frame)
    stream = vm.makefile("rb")
    while True:
        answer = stream.read(struct.unpack("!I", stream.read(4))[0])
        if answer[12:14] == b"\\x08\\x06" and answer[20:22] == b"\\x00\\x02":
            break
    print("answer to", answer[:6].hex(), "for", ".".join(map(str, answer[28:32])))
    stream.close()
print("relay", relay.wait(5))
"""


def test_a_frame_goes_through_the_relay_to_the_bridge_and_back(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    command = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "--",
        sys.executable,
        str(script),
        str(tmp_path / "net"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=python_env(), timeout=30, check=False)
    assert done.stdout == "answer to 525400000001 for 10.77.0.1\nrelay 0\n", done.stderr


def test_frames_are_split_wherever_the_stream_is_cut() -> None:
    stream = b"\0\0\0\3abc" + b"\0\0\0\0" + b"\0\0\0\1x"
    for cut in range(len(stream) + 1):
        first, pending = split(stream[:cut])
        second, pending = split(pending + stream[cut:])
        assert (first + second, pending) == ([b"abc", b"", b"x"], b"")
