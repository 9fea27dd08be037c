# SPDX-License-Identifier: Apache-2.0
"""Make one program of the recorder, as k3s is one."""

import zipapp
from pathlib import Path


def pack(output: Path) -> Path:
    """Write it to the file `output`, and return that."""
    output.parent.mkdir(parents=True, exist_ok=True)
    package = Path(__file__).parent
    zipapp.create_archive(
        package.parent,
        output,
        interpreter="/usr/bin/python3 -I",
        main=f"{package.name}.node:main",
        filter=lambda path: path.parts[0] == package.name and path.suffix == ".py",
    )
    return output
