# SPDX-License-Identifier: Apache-2.0
"""Who may be a member, who is one, and what members share."""
