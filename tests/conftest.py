# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Makes the checkout importable as the collection `ansible_collections.headcount.gunicorn`."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / ".collections"))

# How long an example takes says something about the machine's other work only.
settings.register_profile("headcount", deadline=None)
settings.load_profile("headcount")
