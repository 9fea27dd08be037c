# SPDX-License-Identifier: Apache-2.0
"""What the agent says about its node: one document, and its forms for people, scripts and monitoring."""
