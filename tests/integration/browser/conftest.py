# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Makes scripts/lib importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts" / "lib"))
