# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What newer versions of well-known distributions no longer have, and the pin that brings it back. Pure."""

from __future__ import annotations

import re
from typing import Final

_GONE: Final = (
    (r"'(url_\w+|iri_to_uri|Href)' from 'werkzeug\.urls'|'parse_options_header' from 'werkzeug'", "werkzeug<3"),
    (r"'(safe_str_cmp|pbkdf2_\w+)' from 'werkzeug\.security'|'BaseResponse' from 'werkzeug", "werkzeug<2.1"),
    (
        r"No module named 'werkzeug\.contrib|'(cached_property|secure_filename|FileStorage)' from 'werkzeug'",
        "werkzeug<1",
    ),
    (r"'(Markup|escape|contextfilter|contextfunction|environmentfilter|evalcontextfilter)' from 'jinja2", "jinja2<3.1"),
    (r"'soft_unicode' from 'markupsafe'", "markupsafe<2.1"),
    (r"'(json|JSONWebSignatureSerializer|TimedJSONWebSignatureSerializer)' from 'itsdangerous'", "itsdangerous<2.1"),
    (r"'(_request_ctx_stack|_app_ctx_stack)' from 'flask|'JSONEncoder' from 'flask\.json'", "flask<2.3"),
    (r"'(Markup|escape)' from 'flask'|'__version__' from 'flask'", "flask<3"),
    (r"No module named 'flask\._compat'", "flask<2"),
    (r"module 'sqlalchemy' has no attribute '__all__'|'(_QueryEntity)' from 'sqlalchemy", "sqlalchemy<2"),
    (r"'(TextField|html_params)' from 'wtforms(\.fields|\.widgets)?'", "wtforms<3"),
    (r"'(ugettext\w*|force_text|smart_text|url)' from 'django\.", "django<4"),
)


def pin_of(message: str) -> str:
    """The requirement that brings back what an error says is not there; "" where none is known."""
    return next((pin for pattern, pin in _GONE if re.search(pattern, message)), "")


def fix(message: str) -> str:
    """What to do about it; "" where nothing is known."""
    pin = pin_of(message)
    if not pin:
        return ""
    return (
        f"pin {pin} in what the project depends on, or take versions of what imports it that are made for newer ones; "
        f"--requirements '{pin}' beside those of the project tries it"
    )
