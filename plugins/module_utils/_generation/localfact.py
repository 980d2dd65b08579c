# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is live on a host, for `ansible -m setup` (ansible_local.headcount): one file of all apps."""

from __future__ import annotations

import fcntl
import os
from typing import Callable, Mapping

from .._os.files import make_directory, read_mapping, write_json
from .._os.paths import Layout
from .shared import is_own_fact

Part = Mapping[str, object]
"""What is told of one app."""


def update(layout: Layout, part: Callable[[Part | None], Part | None]) -> None:
    """Put what `part` makes of the app's part into its place; None is no part.

    Apps may be at it at the same moment: each reads and writes while it holds the folder, so that none takes the
    other's part away. A fact of that name that somebody else put there stays as it is.
    """
    folder = os.path.dirname(layout.local_fact)
    make_directory(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not is_own_fact(layout.local_fact):
            return
        before = read_mapping(layout.local_fact)
        known = before.get(layout.app)
        mine = part(known if isinstance(known, dict) else None)
        after = {name: told for name, told in before.items() if name != layout.app}
        after |= {layout.app: dict(mine)} if mine is not None else {}
        if after != before:
            write_json(layout.local_fact, after)
    finally:
        os.close(handle)
