# SPDX-License-Identifier: Apache-2.0
"""How the commands of a node speak to its agent: one socket, a line of JSON each way."""
