# SPDX-License-Identifier: Apache-2.0
"""The mesh: every admitted member is a WireGuard peer of every other, and the firewall around it."""
