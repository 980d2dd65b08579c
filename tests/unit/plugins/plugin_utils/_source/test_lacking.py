# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a wheel lacks of its project."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._source.lacking import lacking

INIT = "shop/__init__.py"


@pytest.mark.parametrize(
    ("names", "wheel", "expected"),
    [
        pytest.param([INIT, "shop/a.py"], {INIT: "", "shop/a.py": ""}, {}, id="whole"),
        pytest.param(
            [INIT, "shop/templates/a.html", "shop/templates/mail/b.txt", "shop/static/s.css"],
            {INIT: ""},
            {"shop/static/": 1, "shop/templates/": 2},
            id="package data",
        ),
        pytest.param(
            [INIT, "shop/api/__init__.py", "shop/api/v1.py"],
            {INIT: ""},
            {"shop/api/": 1, "shop/api/v1.py": 1},
            id="packages",
        ),
        pytest.param(
            ["src/shop/__init__.py", "src/shop/migrations/env.py"], {INIT: ""}, {"src/shop/migrations/": 1}, id="src"
        ),
        pytest.param(
            [INIT, "config.py", "manage.py"], {INIT: "from config import Config\n"}, {"config.py": 1}, id="beside"
        ),
        pytest.param(
            [INIT, "lib/__init__.py"], {INIT: "def f():\n    import lib.x\n"}, {"lib/": 1}, id="another package"
        ),
        pytest.param(
            [INIT, "shop/tests/test_a.py", "shop/conftest.py", "tests/__init__.py", "setup.py", "docs/conf.py"],
            {INIT: "import tests\n"},
            {},
            id="tests and the like",
        ),
        pytest.param([INIT, "shop/README.md", "shop/assets/x.scss"], {INIT: ""}, {}, id="what nobody looks for"),
        pytest.param(
            [INIT, "shop/static/fonts/.empty", "shop/static/js/.gitkeep", "shop/translations/messages.pot"],
            {INIT: ""},
            {},
            id="what keeps an empty folder, and what translators need",
        ),
        pytest.param(["wsgi.py"], {"wsgi.py": "import os\n"}, {}, id="one module"),
    ],
)
def test_what_the_app_would_look_for(names: list[str], wheel: dict[str, str], expected: dict[str, int]) -> None:
    assert lacking(names, wheel) == expected
