# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a Gunicorn was started with, by its command line and its environment."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former import commandline


@pytest.mark.parametrize(
    ("line", "app", "settings"),
    [
        (
            "/srv/venv/bin/gunicorn -w 3 -b 0.0.0.0:8000 shop.wsgi:app",
            "shop.wsgi:app",
            {"workers": "3", "bind": ["0.0.0.0:8000"]},
        ),
        ("/usr/bin/python3 /srv/venv/bin/gunicorn app:app", "app:app", {}),
        ("python3.11 -m gunicorn --workers=2 'shop:create_app()'", "shop:create_app()", {"workers": "2"}),
        ("python -m gunicorn.app.wsgiapp shop:app --threads 4", "shop:app", {"threads": "4"}),
        ("newrelic-admin run-program gunicorn shop:app", "shop:app", {}),
        (
            "gunicorn -k gevent --preload --worker-connections 500 -c /etc/shop.py shop:app",
            "shop:app",
            {"worker_class": "gevent", "preload_app": True, "worker_connections": "500", "config": "/etc/shop.py"},
        ),
        (
            "gunicorn -b unix:/run/a.sock -b :8000 -e A=1 --env B=2 --keep-alive 5 shop:app",
            "shop:app",
            {"bind": ["unix:/run/a.sock", ":8000"], "raw_env": ["A=1", "B=2"], "keepalive": "5"},
        ),
        (
            "gunicorn -w4 -t120 --access-logfile - shop:app",
            "shop:app",
            {"workers": "4", "timeout": "120", "accesslog": "-"},
        ),
        ("gunicorn -w 2 -w 6 shop:app", "shop:app", {"workers": "6"}),
        (
            "gunicorn --name gunicorn --no-sendfile -- shop:app",
            "shop:app",
            {"proc_name": "gunicorn", "no_sendfile": True},
        ),
        ("gunicorn3 --an-option-of-tomorrow 7 shop:app", "shop:app", {"an_option_of_tomorrow": "7"}),
        ("gunicorn", "", {}),
        ("gunicorn -w", "", {"workers": ""}),
    ],
)
def test_what_is_said(line: str, app: str, settings: dict[str, Any]) -> None:
    found = commandline.parse(shlex.split(line))
    assert found is not None
    assert (found.app, found.settings) == (app, settings)


@pytest.mark.parametrize(
    "line",
    ["uwsgi --http :8000", "python3 -m flask run", "/usr/bin/supervisord -n", "sh -c 'exec gunicorn shop:app'", ""],
)
def test_what_starts_none(line: str) -> None:
    assert commandline.parse(shlex.split(line)) is None


def test_the_program_is_told_from_its_words() -> None:
    found = commandline.own_words(["/usr/bin/python3", "-m", "gunicorn", "-w", "2", "gunicorn:app"])
    assert found == (("/usr/bin/python3", "-m", "gunicorn"), ("-w", "2", "gunicorn:app"))


def test_the_words_of_a_unit() -> None:
    text = (
        "{ path=/srv/venv/bin/gunicorn ; argv[]=/srv/venv/bin/gunicorn -w 3 shop:app ; ignore_errors=no ; "
        "start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }"
    )
    assert commandline.exec_words(text) == ["/srv/venv/bin/gunicorn", "-w", "3", "shop:app"]
    assert commandline.exec_words("") == []


def test_the_command_line_counts_most_and_the_file_least() -> None:
    found = commandline.merged(
        {"workers": 9, "timeout": 60, "bind": "a"},
        commandline.from_environment("--workers 5 --threads 2"),
        {"workers": "3", "bind": ["b"]},
    )
    assert found == {"workers": 3, "timeout": 60, "bind": ["b"], "threads": 2}
    assert commandline.from_environment("--name 'torn") == {}
