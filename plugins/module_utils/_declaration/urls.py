# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Credentials in URLs: whether there is one, and a text without any. Pure functions."""

from __future__ import annotations

import re
from typing import Final

_USER_INFO: Final = re.compile(r"://([^/\s'\"<>]+)@")
_PARAMETER: Final = re.compile(
    r"(?i)([?&#])((?:[\w.-]*(?:token|secret|passw(?:or)?d|signature|credentials?)"
    r"|(?:[\w.-]*[_-])?(?:key|api-?key|auth|sig|pwd|pass)))=([^&#\s'\"<>;]+)"
)
_KEYRING_USERS: Final = ("oauth2accesstoken", "VssSessionToken", "aws", "__token__")
"""Users that are the same for everybody: a keyring of the controller has what goes with them."""
_VARIABLE: Final = re.compile(r"(\$\{[A-Z0-9_]+\})+")


def masked(text: str) -> str:
    """`text` without the users and passwords of its URLs, and without the values of parameters such as token, key."""
    return _PARAMETER.sub(r"\1\2=***", _USER_INFO.sub("://***@", text))


def secret_parameter(text: str) -> str:
    """The parameter of a URL in `text` that carries a credential, as access_token; "" when none does."""
    return next((found[2] for found in _PARAMETER.finditer(text) if not _VARIABLE.fullmatch(found[3])), "")


def credential(text: str) -> str:
    """What a URL in `text` carries that is secret, as "a password"; "" for nothing. A ${VARIABLE} is not secret."""
    for found in _USER_INFO.finditer(text):
        user, _, password = found[1].partition(":")
        known = not password and user in _KEYRING_USERS
        if not known and not _VARIABLE.fullmatch(password or user):
            return "a password" if password else "a user or a token"
    name = secret_parameter(text)
    return f"a value of the parameter {name}" if name else ""


__all__ = ["credential", "masked", "secret_parameter"]
