# SPDX-License-Identifier: Apache-2.0
"""`python3 -m firstboot`."""

import sys

from firstboot.main import main

sys.exit(main(sys.argv[1:]))
