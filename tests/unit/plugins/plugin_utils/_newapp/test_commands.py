# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What command lines, Procfiles and Dockerfiles start."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.commands import (
    Started,
    dockerfile,
    dotenv,
    flask_app,
    is_process,
    listen_of,
    procfile,
    started,
)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        pytest.param("gunicorn shop:app", Started("shop", "app"), id="the plain one"),
        pytest.param(
            "exec /venv/bin/gunicorn -b :5000 --access-logfile - -w 4 shop:app",
            Started("shop", "app", listen="0.0.0.0:5000"),
            id="a path, and options with values",
        ),
        pytest.param(
            "flask db upgrade && gunicorn --preload 'shop:create_app(\"prod\")' --bind=127.0.0.1:81 --timeout 120",
            Started("shop", 'create_app("prod")', listen="127.0.0.1:81", timeout=120),
            id="a factory behind a command",
        ),
        pytest.param("gunicorn --chdir src shop.wsgi", Started("shop.wsgi", chdir="src"), id="a folder, no callable"),
        pytest.param("python -m gunicorn shop:app", Started("shop", "app"), id="as a module"),
        pytest.param("gunicorn -b 0.0.0.0:$PORT shop:app", Started("shop", "app"), id="a port that nobody knows"),
        pytest.param(
            "gunicorn -b 0.0.0.0:${PORT:-8080} shop:app",
            Started("shop", "app", listen="0.0.0.0:8080"),
            id="its default",
        ),
        pytest.param(
            "waitress-serve --call shop:create_app", Started("shop", "create_app()", server="waitress"), id="waitress"
        ),
        pytest.param(
            "uwsgi --http :9090 --wsgi-file shop/wsgi.py --callable app",
            Started("shop.wsgi", "app", listen="0.0.0.0:9090", server="uwsgi"),
            id="uwsgi",
        ),
        pytest.param("flask --app shop run -h 0.0.0.0", Started("shop", server="flask"), id="flask run"),
        pytest.param("python run.py", Started("run", server="python"), id="a script"),
        pytest.param("celery -A shop worker", None, id="no app"),
        pytest.param("gunicorn --version", None, id="no app of Gunicorn"),
        pytest.param("python manage.py migrate", None, id="a command of Django"),
        pytest.param("echo 'unclosed", None, id="no shell takes it"),
    ],
)
def test_what_a_line_starts(line: str, wanted: Started | None) -> None:
    assert started(line) == wanted


def test_a_procfile_has_the_web_server_and_other_processes() -> None:
    found = dict(procfile("web: gunicorn shop:app\nworker: rq worker jobs\n# no: line\nclock: python clock.py\n"))
    assert found == {"web": "gunicorn shop:app", "worker": "rq worker jobs", "clock": "python clock.py"}
    assert [name for name, command in found.items() if is_process(name, command)] == ["worker", "clock"]


def test_the_last_stage_of_a_dockerfile_counts() -> None:
    image = dockerfile(
        'FROM node AS assets\nCMD ["npm", "run"]\nFROM python:3.12\nENV FLASK_APP=shop.py \\\n    MODE=live\n'
        "WORKDIR /srv\n"
        'EXPOSE 5000/tcp\nENTRYPOINT ["tini", "--"]\nCMD ["gunicorn", "shop:app"]\n'
    )
    assert image.command == "tini -- gunicorn shop:app"
    assert (dict(image.variables), image.workdir, image.port) == (
        {"FLASK_APP": "shop.py", "MODE": "live"},
        "/srv",
        "5000",
    )


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("shop.py", ("shop", "")),
        ("src/shop/app.py:create_app", ("src.shop.app", "create_app")),
        ("shop:create_app('x')", ("shop", "create_app('x')")),
        ("./shop", ("shop", "")),
        ("not a module", None),
    ],
)
def test_what_flask_app_names(value: str, wanted: tuple[str, str] | None) -> None:
    assert flask_app(value) == wanted


@pytest.mark.parametrize(
    ("bind", "wanted"),
    [(":80", "0.0.0.0:80"), ("localhost:5000", "127.0.0.1:5000"), ("8000", "0.0.0.0:8000"), ("[::]:80", "[::]:80"),
     ("unix:/run/x.sock", ""), ("web:8000", "0.0.0.0:8000"), ("0.0.0.0:99999", ""), ("", "")],
)  # fmt: skip
def test_where_a_server_listens(bind: str, wanted: str) -> None:
    assert listen_of(bind) == wanted


def test_a_file_of_variables() -> None:
    assert dotenv("export A=1\nB='x # y'  # note\nC = two # note\n# D=4\nnot a line\n") == [
        ("A", "1"), ("B", "x # y"), ("C", "two"),
    ]  # fmt: skip
