# SPDX-License-Identifier: Apache-2.0
"""First boot: gives a machine its identity and its host name, and completes that after any interruption."""
