# SPDX-License-Identifier: Apache-2.0
"""Three machines of profile hpc, which all files of this folder share."""
