# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where things of this checkout lie."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
WORK = ROOT / ".headcount"
LOGS = WORK / "log"
LABS = WORK / "lab"
#: For locks and SSH control sockets: short, because a socket's path has at most 107 bytes, and gone after a reboot.
RUN = Path("/run/headcount-lab") if os.geteuid() == 0 else Path(f"/tmp/headcount-lab-{os.geteuid()}")


def checkout_id(root: Path = ROOT) -> str:
    """Six hex digits that tell this checkout's labs from those of another checkout on the same machine."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:6]


def shown(path: Path) -> str:
    """`path` as a person would type it: relative to the checkout when it lies inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
