# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The host itself: files, processes, systemd, users, one HTTP request, and where everything of an app lives."""

import sys

OLDEST_PYTHON = (3, 9)
"""What modules, the host's tool and releases run on, or a later one."""

if tuple(sys.version_info) < OLDEST_PYTHON:
    # Every module imports this package first, so that an old Python is told by name and not by a SyntaxError.
    version = ".".join(map(str, sys.version_info[:3]))
    raise ImportError("Headcount needs Python 3.9 or later, and this is Python " + version)
