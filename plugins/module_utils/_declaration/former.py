# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which service an app's address is taken over from; a part of the table."""

from __future__ import annotations

import re
from typing import Final

from .fields import ABSENT, Field, Invalid

_UNIT: Final = re.compile(r"(?!-)[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.service")


def _service(text: str) -> str:
    if not _UNIT.fullmatch(text) or len(text) > 255:
        better = f"{text}.service"
        raise Invalid("not the name of a service", better if "." not in text and _UNIT.fullmatch(better) else None)
    return text


FORMER: Final = Field(
    "former",
    "str",
    "The service of the host that serves the app before Headcount does. Its address is taken over when the first"
    " generation has passed its trial, by the way that loses least, which the plan tells; then it is disabled, not"
    " deleted. `headcount-rollback APP --to-former` gives it back.",
    ABSENT,
    "myapp.service",
    default_help="none; whoever has the address is in the app's way, and named",
    allowed="the name of a systemd service",
    check=_service,
)
