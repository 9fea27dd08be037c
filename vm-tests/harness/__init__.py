# SPDX-License-Identifier: Apache-2.0
"""The QEMU library: machines, their network and their consoles, for `build.py vm` and for vm-tests alike."""
