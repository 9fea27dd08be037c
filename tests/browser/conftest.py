# SPDX-License-Identifier: Apache-2.0
"""Machines in network namespaces, as the cluster tests have them."""

from tests.cluster.conftest import heap

__all__ = ["heap"]
