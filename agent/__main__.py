# SPDX-License-Identifier: Apache-2.0
"""`python3 -m agent`: the command of the image, run from a checkout."""

import sys

from agent.command import main

sys.exit(main(sys.argv[1:]))
