# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Generates docs/variables.md and each role's argument_specs and defaults from
plugins/module_utils/_declaration/table.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The checkout. Its plugins are imported as the collection, through the link in .collections."""

sys.path.insert(0, str(ROOT / ".collections"))
