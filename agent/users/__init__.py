# SPDX-License-Identifier: Apache-2.0
"""Users: people's accounts, the same on every node, from bundle or operator to systemd's userdb."""
