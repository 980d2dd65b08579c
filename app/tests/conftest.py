# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the app importable from its checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
