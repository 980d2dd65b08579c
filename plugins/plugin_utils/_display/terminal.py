# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Text that action plugins print for people while a playbook runs."""

from __future__ import annotations

from ansible import constants
from ansible.utils.display import Display

_terminal = Display()


def is_for_people() -> bool:
    """Whether standard output is for people: a JSON callback's reader must not find other text in it."""
    return "json" not in str(getattr(constants, "DEFAULT_STDOUT_CALLBACK", "default"))


def display(text: str) -> None:
    """Print `text` as it is."""
    if text and is_for_people():
        _terminal.display(text)
