# SPDX-License-Identifier: Apache-2.0
"""The parts of verification, one module for each thing that is looked at; `image.verify` runs them all."""
