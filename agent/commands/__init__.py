# SPDX-License-Identifier: Apache-2.0
"""The commands of `node-agent`, one concern a module. agent/command.py loads the one that is needed."""
