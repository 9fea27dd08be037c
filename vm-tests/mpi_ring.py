# SPDX-License-Identifier: Apache-2.0
"""An MPI program, run in the image by test_slurm.py: a ring and an all-reduce, whose results are checked.

Prints, at rank 0, a line for each, with how long one round took in milliseconds.
"""

import sys
import time
from array import array

from mpi4py import MPI

ROUNDS = 5
NUMBERS = 1 << 16

world = MPI.COMM_WORLD
rank, size = world.Get_rank(), world.Get_size()

began = time.monotonic()
for round_ in range(ROUNDS):
    if rank == 0:
        world.send([round_], dest=1 % size)
        passed = world.recv(source=size - 1)
        if passed != [round_, *range(1, size)]:
            sys.exit(f"the ring is broken: {passed}")
    else:
        world.send([*world.recv(source=rank - 1), rank], dest=(rank + 1) % size)
if rank == 0:
    print(f"ring of {size} is whole, {(time.monotonic() - began) / ROUNDS * 1000:.1f} ms")

own, total = array("d", [rank + 1.0]) * NUMBERS, array("d", [0.0]) * NUMBERS
world.Barrier()
began = time.monotonic()
for _ in range(ROUNDS):
    world.Allreduce(own, total)
if set(total) != {size * (size + 1) / 2}:
    sys.exit("the sum is wrong")
if rank == 0:
    print(f"sum over {size} is right, {(time.monotonic() - began) / ROUNDS * 1000:.1f} ms")
