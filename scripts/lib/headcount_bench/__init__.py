# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Benchmarks. Each module whose name has no underscore in front is one: scripts/bench NAME. README.md says how."""

import sys
from pathlib import Path

_COLLECTIONS = str(Path(__file__).resolve().parents[3] / ".collections")
if _COLLECTIONS not in sys.path:  # so that every module of this package finds the collection, whatever it imports first
    sys.path.insert(0, _COLLECTIONS)
