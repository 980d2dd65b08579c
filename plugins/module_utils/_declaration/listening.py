# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may reach the unix socket that an app listens on; a part of the table, and its rule."""

from __future__ import annotations

import re
from typing import Final

from .fields import ABSENT, Context, Field, Invalid, Parsed, Part, inline
from .socketmode import CLOSED, OPEN


def _group(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}\$?", text):
        raise Invalid("not the name of a group")
    return text


GROUP: Final = Field(
    "listen_group",
    "str",
    "With a unix socket: the group of its file, which is that of the proxy in front (nginx of Debian: www-data). Nobody"
    " else reaches it then, and the verification asks as a member of it does.",
    ABSENT,
    "www-data",
    default_help="root, and everybody may connect",
    allowed="the name of a group of the host",
    check=_group,
)
MODE: Final = Field(
    "listen_mode",
    "str",
    "With a unix socket: the mode of its file, in quotes.",
    ABSENT,
    CLOSED,
    default_help="0660 with `listen_group`, else 0666",
    choices=("0600", CLOSED, OPEN),
)


def check_socket(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """Keys of a unix socket are beside one, and let somebody in."""
    group, mode = app.get("listen_group"), app.get("listen_mode")
    if not str(app["listen"]).startswith("unix:"):
        for key, value in (("listen_group", group), ("listen_mode", mode)):
            if value is not None:
                what = f"is {value!r}, but listen is {app['listen']!r}, which has no file"
                context.add((*parts, key), what, "nothing beside a port", "remove it, or listen: unix:/run/shop.sock")
    elif mode == "0600" and group is not None:
        what = f"is {mode!r} beside listen_group {group!r}, which it shuts out"
        context.add((*parts, "listen_mode"), what, f"{CLOSED} or {OPEN}", f"listen_mode: {inline(CLOSED)}")
    elif mode == CLOSED and group is None:
        what = f"is {mode!r} without listen_group, so that root alone could connect"
        context.add((*parts, "listen_mode"), what, f"{CLOSED} with the group of the proxy", "listen_group: www-data")
