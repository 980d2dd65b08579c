# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Server hooks of a project, as gunicorn.hooks names them."""

from __future__ import annotations

from typing import Any


def post_fork(server: Any, worker: Any) -> None:
    """Leave a trace in the log."""
    server.log.info("a hook of the project saw worker %s", worker.pid)
