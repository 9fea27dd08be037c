# SPDX-License-Identifier: Apache-2.0
"""The daemon of a node: one loop that observes, decides and applies."""
