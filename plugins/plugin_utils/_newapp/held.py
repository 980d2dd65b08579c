# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The scratch folder of a call, which goes with it: also that of one that was killed, by the next call."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PREFIX: Final = "headcount-new-app-"
_FRESH_SECONDS: Final = 60.0
"""A folder that is younger may not be held yet."""


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this call's own, held by a lock that the kernel gives back however the call ends."""
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def sweep(place: Path) -> None:
    """Remove the scratch folders in `place` of this user's calls that have ended without doing so."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or one that goes at this moment
            known = folder.lstat()
            if folder.is_symlink() or known.st_uid != os.geteuid() or time.time() - known.st_mtime < _FRESH_SECONDS:
                continue
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
