# SPDX-License-Identifier: Apache-2.0
"""The operator's end of a cluster: its bundle, and what is issued from it. See docs/cluster.md."""
