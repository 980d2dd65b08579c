# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What may be a secret in an environment that nobody has declared. Pure.

A value that is none costs nothing in a vault; one that is one must not lie in an entry that everybody can read.
"""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = re.compile(r"(?i)pass|pwd|secret|token|key|cred|dsn|hook|salt|jwt|private|(^|_)auth(_|$)")
_VALUES: Final = re.compile(
    r"(?i:(pass(word|wd|phrase)?|pwd|secret|token|(account|access|api|shared)_?(access_?)?(key|signature))\s*=)"
    r"|-----BEGIN|\b[sr]k_(live|test)|\beyJ[A-Za-z0-9_-]|\bgh[opsu]_\w|\bxox[a-z]-|\bAKIA[0-9A-Z]"
    r"|://\S*@|[^\s:@/]:[^\s@]+@|://\S*hook"
)
"""Passwords and keys in connection strings, keys of services, tokens, and addresses that say who signs in."""


def likely(name: str, value: str) -> bool:
    """Whether a variable may be a secret, by any part of its name or of its value."""
    return bool(_NAMES.search(name)) or likely_value(value)


def likely_value(value: str) -> bool:
    """The same by the value alone."""
    return bool(_VALUES.search(value))
