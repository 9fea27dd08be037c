# SPDX-License-Identifier: Apache-2.0
"""The state of a role: copied to the voters as it changes, taken from them by the next holder."""
