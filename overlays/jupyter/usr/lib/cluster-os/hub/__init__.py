# SPDX-License-Identifier: Apache-2.0
"""Programs of the role jupyterhub: its certificate, the snapshots of its database, acting for its users."""
