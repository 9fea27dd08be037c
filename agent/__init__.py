# SPDX-License-Identifier: Apache-2.0
"""The node agent: identity, membership, mesh, election and roles of one node."""
