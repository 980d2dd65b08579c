# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A configuration of Gunicorn in a project is told, name by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._source.serverconf import unread

CONF = """import os
timeout = 99
accesslog: str = "-"
_own = 1
bind = "0.0.0.0:80"
pidfile = "/run/shop.pid"

def post_fork(server, worker):
    os.environ["X"] = "yes"
"""


def test_what_it_sets_is_named_with_what_takes_its_place(tmp_path: Path) -> None:
    assert unread(tmp_path) == []
    (tmp_path / "gunicorn.conf.py").write_text(CONF, encoding="utf-8")
    assert unread(tmp_path) == [
        "gunicorn.conf.py is not read: the plan writes Gunicorn's settings; what it sets is for the inventory to say: "
        "settings.timeout, gunicorn.accesslog, listen; its hooks (post_fork) are taken from a file that gunicorn.hooks "
        "names; without effect here: pidfile"
    ]


@pytest.mark.parametrize("text", ["", "def (", "import os\n"])
def test_one_that_sets_nothing_is_named_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "gunicorn_config.py").write_text(text, encoding="utf-8")
    assert unread(tmp_path) == ["gunicorn_config.py is not read: the plan writes Gunicorn's settings"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop.service", "[Service]\nExecStart=/srv/shop/venv/bin/gunicorn -c /srv/shop/deploy/server.py shop:app\n"),
        ("deploy/supervisor.conf", "[program:shop]\ncommand=gunicorn --config deploy/server.py shop:app\n"),
        ("deploy/shop.ini", "command = gunicorn \\\n  --config=file:server.py shop:app\n"),
        ("Dockerfile", 'FROM python\nCMD ["gunicorn", "shop:app", "--config", "/code/deploy/server.py"]\n'),
        ("docker/web.Dockerfile", "CMD exec gunicorn -c$APP_HOME/deploy/server.py shop:app\n"),
        ("bin/run.sh", "flask db upgrade && exec gunicorn shop:app -c ./deploy/server.py\n"),
        ("Procfile", "web: gunicorn -c deploy/server.py shop:app\n"),
        ("compose.yml", "services:\n  web:\n    command: gunicorn -c deploy/server.py shop:app\n"),
    ],
)
def test_a_file_that_the_projects_own_start_names_is_told(tmp_path: Path, name: str, text: str) -> None:
    for path, content in (("deploy/server.py", "timeout = 90\n"), (name, text)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(content, encoding="utf-8")
    assert unread(tmp_path) == [
        "deploy/server.py is not read: the plan writes Gunicorn's settings; what it sets is for the inventory to say: "
        "settings.timeout"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "RUN pip install gunicorn -c server.py",
        "# gunicorn -c server.py shop:app",
        "gunicorn shop:app; celery -A shop -c server.py",
        "gunicorn -c ../server.py shop:app",
        "gunicorn -c python:server shop:app",
        "gunicorn -c elsewhere.py shop:app",
    ],
)
def test_what_gives_no_file_of_the_project_to_gunicorn_is_none(tmp_path: Path, line: str) -> None:
    (tmp_path / "server.py").write_text("timeout = 90\n", encoding="utf-8")
    (tmp_path / "run.sh").write_text(f"{line}\n", encoding="utf-8")
    assert unread(tmp_path) == []


def test_what_examples_and_tests_name_is_not_the_projects_own(tmp_path: Path) -> None:
    for folder in ("examples", "tests", ".github"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "server.py").write_text("timeout = 90\n", encoding="utf-8")
        (tmp_path / folder / "run.sh").write_text("gunicorn -c server.py shop:app\n", encoding="utf-8")
    assert unread(tmp_path) == []


def test_one_that_is_named_and_taken_by_itself_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text("", encoding="utf-8")
    (tmp_path / "run.sh").write_text("gunicorn -c gunicorn.conf.py shop:app\n", encoding="utf-8")
    assert unread(tmp_path) == ["gunicorn.conf.py is not read: the plan writes Gunicorn's settings"]
