# SPDX-License-Identifier: Apache-2.0
"""Roles: what runs on which member. A role is a folder of data; nothing here knows a particular service."""
