# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The file that gunicorn.hooks names is read on the controller, and refused before a host is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.digests import public_digest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_host
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.declared import file_problems

GOOD = "def post_fork(server, worker):\n    pass\n"


def read(tmp_path: Path, text: str | None) -> tuple[dict[str, Any], list[str]]:
    (tmp_path / "app").mkdir(exist_ok=True)
    (tmp_path / "app/requirements.txt").write_text("flask\n", encoding="utf-8")
    (tmp_path / "app/shop.py").touch()
    if text is not None:
        (tmp_path / "hooks.py").write_text(text, encoding="utf-8")
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "shop:app", "listen": "0.0.0.0:8000"}
    host = normalise_host({"headcount_apps": [{**app, "gunicorn": {"hooks": "hooks.py"}}]}, "web1")
    problems = file_problems(host, [str(tmp_path)])
    return host.apps[0], [problem.text for problem in problems]


def test_its_text_goes_into_the_app_and_counts_as_declared(tmp_path: Path) -> None:
    app, problems = read(tmp_path, GOOD)
    assert problems == []
    assert app["gunicorn"] == {"hooks": "hooks.py", "hooks_text": GOOD}
    other, _ = read(tmp_path, GOOD + "\n")
    assert public_digest(App.from_dict(app)) != public_digest(App.from_dict(other))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "is 'hooks.py', which is in none of "),
        ("def (", "which is no file of Python: "),
        ("x = 1\n", "which has none of Gunicorn's server hooks: allowed is on_starting, "),
        (
            f"workers = 3\npidfile = 'x'\naccesslog = '-'\n{GOOD}",
            "which sets workers (settings.workers), pidfile (not taken), accesslog (gunicorn.accesslog): allowed is a "
            "file with hooks alone; fix: declare them at the places named",
        ),
    ],
)
def test_what_is_refused_of_it(tmp_path: Path, text: str | None, problem: str) -> None:
    (found,) = read(tmp_path, text)[1]
    assert found.startswith("headcount_apps[0].gunicorn.hooks is 'hooks.py'")
    assert problem in found
