# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The mode of an app's public unix socket. Light: what is sent to hosts needs it."""

from __future__ import annotations

from typing import Final, Mapping

OPEN: Final = "0666"
CLOSED: Final = "0660"


def mode_of(app: Mapping[str, object]) -> str:
    """The mode of the public socket's file."""
    return str(app.get("listen_mode") or (CLOSED if app.get("listen_group") else OPEN))
