# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why a host could not be reached, in words."""

from __future__ import annotations

import re
from typing import Final

_WAITED: Final = re.compile(
    r"(?i)connect to (host|address) .*timed out|timed out during banner exchange|timeout \(\d+s\) waiting"
)
"""What ends after the time that Ansible gives a connection, or sudo's question for a password."""


def connection_words(text: object) -> str:
    """Why a host could not be reached, without the words that Ansible puts around what ssh said, and with the setting
    that says how long is waited where that has passed."""
    said = " ".join(str(text or "no answer").split())
    for prefix in ("Task failed: ", "Failed to connect to the host via ssh: "):
        said = said[len(prefix) :] if said.startswith(prefix) else said
    before, told, after = said.partition("can be reached over ssh:")
    words = ((after.strip() or "it does not answer") if told else before).rstrip(".")
    if not _WAITED.search(words):
        return words
    return f"{words} (how long Ansible waits: ANSIBLE_TIMEOUT, or timeout in ansible.cfg; 10 s unless it is set)"
