"""Where a process runs: told so that others of the same machine see that it is gone, and need not wait for its lease.

Nobody is taken for dead who may be alive. What cannot be seen from here (another machine or container, a kernel that
does not say) is left to leases; a process that has a dead one's number by now is taken for it.
"""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SPACE = Path("/proc/self/ns/pid")


def here() -> str:
    """This machine since it was started, and whose numbers of processes it sees; without a ``/`` it sees nobody's."""
    return _here(socket.gethostname())


@cache
def _here(host: str) -> str:
    try:
        said = f"{_BOOT.read_text().strip()} {_SPACE.readlink()}"
    except OSError:  # not Linux, or hidden
        return host
    return f"{host}/{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def gone(where: str, pid: int) -> bool:
    """Whether the process that had this number at ``where`` is certainly over: killed, and not merely stopped."""
    if "/" not in where or where != here():
        return False
    try:
        os.kill(pid, 0)  # asks, and does nothing
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
