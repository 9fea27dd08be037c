# SPDX-License-Identifier: Apache-2.0
"""Agreement among the voters: the replicated ledger, who votes, who holds a role."""
