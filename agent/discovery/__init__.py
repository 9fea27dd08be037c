# SPDX-License-Identifier: Apache-2.0
"""Discovery: who is there. Serf's gossip, mDNS on the LAN, seeds across networks; see agent/cluster.py."""
