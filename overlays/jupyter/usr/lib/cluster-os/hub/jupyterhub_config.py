# SPDX-License-Identifier: Apache-2.0
"""What JupyterHub reads. All of it is in configuration.py, which can be tested."""

import batchspawner  # noqa: F401  adds to the hub's API what jobs tell their port by

from hub.configuration import configure
from hub.settings import read_settings

configure(get_config(), read_settings())  # type: ignore[name-defined]  # noqa: F821
