# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which older version has what an import no longer finds."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import pins


@pytest.mark.parametrize(
    ("words", "pin"),
    [
        ("cannot import name 'url_quote' from 'werkzeug.urls' (venv/lib/werkzeug/urls.py)", "werkzeug<3"),
        ("cannot import name 'safe_str_cmp' from 'werkzeug.security'", "werkzeug<2.1"),
        ("No module named 'werkzeug.contrib'", "werkzeug<1"),
        ("cannot import name 'escape' from 'jinja2' (venv/lib/jinja2/__init__.py)", "jinja2<3.1"),
        ("cannot import name '_request_ctx_stack' from 'flask'", "flask<2.3"),
        ("cannot import name 'Markup' from 'flask'", "flask<3"),
        ("cannot import name 'till' from 'shop'", ""),
    ],
)
def test_the_pin_that_brings_it_back(words: str, pin: str) -> None:
    assert pins.pin_of(words) == pin
    assert pins.fix(words).startswith(f"pin {pin} in what the project depends on") is bool(pin)
