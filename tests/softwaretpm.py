# SPDX-License-Identifier: Apache-2.0
"""A TPM 2.0 for a test: swtpm of the tools tree, on a socket of its own."""

import os
import signal
import subprocess
from pathlib import Path

from image.toolstree import ToolsTree


class SoftwareTpm:
    """A swtpm process; `device` is what systemd and tpm2-tools call it."""

    def __init__(self, tools: ToolsTree, folder: Path) -> None:
        folder.mkdir()
        self.device = f"swtpm:path={folder}/tpm"
        self._pid_file = folder / "pid"
        argv: list[str | Path] = ["swtpm", "socket", "--tpm2", "--daemon", "--tpmstate", f"dir={folder}"]
        argv += [
            "--server",
            f"type=unixio,path={folder}/tpm",
            "--ctrl",
            f"type=unixio,path={folder}/tpm.ctrl",
        ]
        argv += ["--flags", "startup-clear,not-need-init", "--pid", f"file={self._pid_file}"]
        subprocess.run(tools.command(argv), check=True, timeout=60)  # returns when it listens

    def stop(self) -> None:
        os.kill(int(self._pid_file.read_text()), signal.SIGTERM)
