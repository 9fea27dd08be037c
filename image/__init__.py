# SPDX-License-Identifier: Apache-2.0
"""The builder: turns this repository into signed, reproducible, bootable images by driving mkosi."""
