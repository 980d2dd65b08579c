# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project has taken from the machine while it was looked at: libraries that are no Python, and programs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator

LOOKED_WITH = frozenset({"gcc", "cc", "clang", "ld", "objdump", "ldconfig"})
"""Programs by which Python's own ctypes.util looks for libraries."""
_LIBRARY = re.compile(r"\s(/[^\s]+\.so(?:\.[\d.]+)?)$", re.MULTILINE)
_STANDARD = re.compile(r"/python3(\.\d+)?/")


def of_the_machine(programs: Iterable[str]) -> list[str]:
    """The files of libraries, of programs and of Python's distutils that came from no wheel and with no Python."""
    own = (os.path.realpath(sys.prefix) + os.sep, sys.prefix + os.sep)
    found = {*_libraries(), *_programs(programs), *_distutils()}
    return sorted(path for path in found if not path.startswith(own))


def _libraries() -> Iterator[str]:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as stream:
            mapped = set(_LIBRARY.findall(stream.read()))
    except OSError:
        return
    bundled = "" if sys.base_prefix in ("/usr", "/usr/local") else sys.base_prefix + os.sep
    for path in mapped:
        if not _STANDARD.search(path) and not (bundled and path.startswith(bundled)):
            yield path


def _programs(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        path = shutil.which(name)
        if path and os.path.basename(name) not in LOOKED_WITH:
            yield os.path.realpath(path)


def _distutils() -> Iterator[str]:
    """Debian has it in a package of its own, up to Python 3.11; what setuptools brings lies in site-packages."""
    for name, module in list(sys.modules.items()):
        if name.startswith("distutils."):
            path = getattr(module, "__file__", None)
            if path and _STANDARD.search(path) and "-packages" not in path:
                yield path
