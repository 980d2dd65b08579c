# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a host itself has to know about an app, beside its generations: it holds for whichever of them is live."""

from __future__ import annotations

import os
from typing import Mapping

from .._os.files import make_directory, read_mapping, write_json
from .._os.paths import Layout


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, "settings.json")


def retune_at_boot(layout: Layout) -> bool:
    """Whether the host tunes the app again by itself when it boots with other hardware."""
    return bool(read_mapping(_path(layout)).get("retune_at_boot"))


def write(layout: Layout, wanted: Mapping[str, object]) -> bool:
    """Keep settings; True when anything changed."""
    before = read_mapping(_path(layout))
    after = {**before, **wanted}
    if after == before:
        return False
    make_directory(layout.state, 0o700)
    write_json(_path(layout), after, 0o600)
    return True
