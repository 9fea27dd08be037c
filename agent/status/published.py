# SPDX-License-Identifier: Apache-2.0
"""The status document as a file: the only module that writes or reads /run/cluster-os/status.json.

For the console, for users without privileges, and to know how a node stood whose agent has ended. It holds
nothing secret, so everybody may read it.
"""

from pathlib import Path

from agent import files
from agent.errors import ClusterError
from agent.status import document
from agent.status.document import NodeStatus


def write(path: Path, status: NodeStatus) -> None:
    """Publish `status`; a reader sees the old or the new document, whole."""
    files.replace(path, document.encode(status), mode=0o644)


def read(path: Path) -> NodeStatus | None:
    """Return the last document, None where none was published since the machine started.

    Raises ClusterError when the file cannot be read or is no status document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(document.MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ClusterError(
            f"cannot read {path}: {(error.strerror or str(error)).lower()}", hint="run as root"
        ) from None
    return document.decode(data, str(path))
