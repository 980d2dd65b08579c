# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project's files say of how it is run, and which modules may hold the app."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import hints, scan
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Command, Hints

FLASK = "from flask import Flask\napp = Flask(__name__)\n"
FACTORY = "from flask import Flask\ndef create_app(mode='live'):\n    return Flask(__name__)\n"


def project(folder: Path, files: dict[str, str]) -> tuple[str, ...]:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tuple(sorted(files))


def hinted(folder: Path, files: dict[str, str]) -> Hints:
    return hints.read(folder, project(folder, files))


@pytest.mark.parametrize(
    ("files", "candidate", "origin"),
    [
        pytest.param({"Procfile": "web: gunicorn shop:app"}, "shop:app", "Procfile", id="Procfile"),
        pytest.param({"Dockerfile": 'CMD ["gunicorn", "shop:app"]'}, "shop:app", "Dockerfile's CMD", id="Dockerfile"),
        pytest.param(
            {"Dockerfile": "FROM python\nCMD ./boot.sh",
             "boot.sh": "#!/bin/sh\nexec gunicorn -b :5000 \\\n shop:app\n"},
            "shop:app", "boot.sh, which Dockerfile's CMD calls", id="a script that the Dockerfile calls",
        ),
        pytest.param(
            {"compose.yaml": "services:\n  web:\n    command: gunicorn shop:app\n"},
            "shop:app", "compose.yaml", id="compose",
        ),
        pytest.param(
            {"docker/common/Dockerfile.app": 'FROM x AS a\nCMD ["gunicorn", "shop:create_app()"]'},
            "shop:create_app()", "docker/common/Dockerfile.app's CMD", id="a Dockerfile further below",
        ),
        pytest.param(
            {"build/live.dockerfile": "FROM x AS base\nCMD gunicorn shop:app\nFROM base as live\nRUN true\n"},
            "shop:app", "build/live.dockerfile's CMD", id="a stage that is made from another one",
        ),
        pytest.param(
            {"docker/compose.yaml": "services:\n  a: {build: {context: .., dockerfile: build/Dockerfile.b}}\n",
             "build/Dockerfile.a": "CMD gunicorn old:app", "build/Dockerfile.b": "CMD gunicorn shop:app"},
            "shop:app", "build/Dockerfile.b's CMD", id="the Dockerfile that a compose file names goes first",
        ),
        pytest.param({".flaskenv": "FLASK_APP=shop.py"}, "shop", "FLASK_APP in .flaskenv", id=".flaskenv"),
        pytest.param({"gunicorn.conf.py": 'wsgi_app = "shop:app"'}, "shop:app", "gunicorn.conf.py", id="its settings"),
        pytest.param({"uwsgi.ini": "[uwsgi]\nmodule = shop:app\n"}, "shop:app", "uwsgi.ini", id="uwsgi.ini"),
        pytest.param(
            {"deploy/shop.service": "[Service]\nExecStart=/srv/venv/bin/gunicorn -w 4 shop:app\n"},
            "shop:app", "deploy/shop.service", id="a unit",
        ),
        pytest.param(
            {"manage.py": 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site.settings.live")', "site/wsgi.py": ""},
            "site.wsgi:application", "manage.py", id="Django",
        ),
    ],
)  # fmt: skip
def test_a_file_names_the_app(tmp_path: Path, files: dict[str, str], candidate: str, origin: str) -> None:
    found = hinted(tmp_path, files).candidates
    assert [(str(item), item.origin, item.certain) for item in found][:1] == [(candidate, origin, True)]
    assert "old" in str(files) or len(found) == 1


def test_an_image_that_starts_no_app_says_nothing_of_it(tmp_path: Path) -> None:
    files = {"proxy/Dockerfile": "FROM nginx\nENV MODE=proxy\nEXPOSE 8080", "app/Dockerfile": "ENV FLASK_APP shop.py"}
    found = hinted(tmp_path, {**files, "compose.yaml": "services:\n  proxy: {build: proxy}\n"})
    assert (dict(found.variables), found.listen) == ({"FLASK_APP": ("shop.py", "app/Dockerfile")}, "")


def test_the_folder_of_a_dockerfile_holds_the_module_that_it_starts(tmp_path: Path) -> None:
    found = hinted(tmp_path, {"back/Dockerfile": "CMD gunicorn shop:app", "back/shop.py": FLASK})
    assert [(str(item), item.path) for item in found.candidates] == [("shop:app", "back")]


@pytest.mark.parametrize("line", ["", "python-path = /srv/back\n", "pythonpath = back\n", "chdir = /srv/back\n"])
def test_the_folder_that_uwsgi_looks_in(tmp_path: Path, line: str) -> None:
    ini = "back/uwsgi.ini" if not line else "uwsgi.ini"
    found = hinted(tmp_path, {ini: f"[uwsgi]\nmodule = shop:app\n{line}", "back/shop.py": FLASK})
    assert [(str(item), item.path) for item in found.candidates] == [("shop:app", "back")]


@pytest.mark.parametrize(
    "command",
    [
        '>\n      bash -c "python manage.py migrate\n      && gunicorn shop.wsgi:application -b 0.0.0.0:8000"',
        '["sh", "-ec", "python manage.py migrate && gunicorn shop.wsgi:application -b :8000"]',
    ],
)
def test_the_line_that_a_shell_is_given_is_read_as_a_line(tmp_path: Path, command: str) -> None:
    found = hinted(tmp_path, {"compose.yaml": f"services:\n  web:\n    command: {command}\n"})
    assert [item.run for item in found.prepares] == ["python manage.py migrate"]
    assert [str(item) for item in found.candidates] == ["shop.wsgi:application"]
    assert (found.listen, found.before) == ("0.0.0.0:8000", ())


def test_what_puts_a_connexion_app_together_may_hold_the_app(tmp_path: Path) -> None:
    server = "import config\nconnex_app = config.connex_app\nconnex_app.add_api('a.yml')\n"
    names = project(tmp_path, {"config.py": "app = connex_app.app\n", "server.py": server})
    found = {str(item) for item in scan.candidates(tmp_path, names, "shop")}
    assert found == {"config", "server:connex_app"}


def test_what_a_script_of_flask_names_is_less_sure(tmp_path: Path) -> None:
    found = hinted(tmp_path, {"Procfile": "web: python run.py", "uwsgi.ini": "[uwsgi]\nmodule = shop:app\n"})
    assert [(str(item), item.certain) for item in found.candidates] == [("shop:app", True), ("run", False)]


def test_further_processes_migrations_address_and_timeout(tmp_path: Path) -> None:
    found = hinted(
        tmp_path,
        {
            "Procfile": "web: gunicorn -b :5000 -t 120 shop:app\nworker: rq worker jobs\nrelease: flask db upgrade\n",
            "migrations/env.py": "", "migrations/versions/1_a.py": "", "blog/migrations/0001_initial.py": "",
        },
    )  # fmt: skip
    assert [(item.name, item.origin) for item in found.processes] == [("worker", "Procfile")]
    assert found.migrations == (("blog/migrations", ""), ("migrations", ""))
    assert found.prepares == (Command("flask db upgrade", "Procfile"),)
    assert (found.listen, found.timeout) == ("0.0.0.0:5000", 120)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"migrations/env.py": "from flask import current_app", "migrations/versions/1.py": ""}, "flask db upgrade"),
        (
            {"shop/migrations/env.py": "from flask import current_app", "shop/migrations/versions/1.py": ""},
            "flask db upgrade --directory shop/migrations",
        ),
        ({"alembic.ini": "", "db/env.py": "", "db/versions/1.py": ""}, "alembic upgrade head"),
        ({"manage.py": "", "blog/migrations/0001_initial.py": ""}, "python manage.py migrate --noinput"),
    ],
)
def test_migrations_have_a_command(tmp_path: Path, files: dict[str, str], command: str) -> None:
    assert [found for _, found in hinted(tmp_path, files).migrations] == [command]


def test_what_a_project_runs_before_its_server(tmp_path: Path) -> None:
    """As microblog has it: in its Procfile, and once more in the script of its image."""
    found = hinted(
        tmp_path,
        {
            "Procfile": "web: flask db upgrade; flask translate compile; gunicorn shop:app\nworker: rq worker jobs\n",
            "Dockerfile": 'ENTRYPOINT ["./boot.sh"]\n',
            "boot.sh": "#!/bin/bash\nwhile true; do\n    flask db upgrade\n    sleep 5\ndone\nexec gunicorn shop:app\n",
        },
    )
    assert found.prepares == (Command("flask db upgrade", "Procfile"),)
    assert found.before == (Command("flask translate compile", "Procfile"),)


@pytest.mark.parametrize(
    ("code", "processes"),
    [
        (
            "from celery import Celery\napp = Celery('shop', broker=URL)\n",
            {"worker": "celery -A shop.tasks.app worker --concurrency 2"},
        ),
        (
            "import celery\nq = celery.Celery('shop')\nq.conf.beat_schedule = {}\n",
            {"worker": "celery -A shop.tasks.q worker --concurrency 2", "beat": "celery -A shop.tasks.q beat"},
        ),
        (
            "flask_app = create_app()\ncelery_app = flask_app.extensions['celery']\n",
            {"worker": "celery -A shop.tasks.celery_app worker --concurrency 2"},
        ),
        ("import rq\nqueue = rq.Queue('mail', connection=redis)\n", {"worker": "rq worker mail"}),
        ("from queue import Queue\nq = Queue('mail')\n", {}),
    ],
)
def test_a_queue_in_the_code_needs_a_worker(tmp_path: Path, code: str, processes: dict[str, str]) -> None:
    found = hinted(tmp_path, {"shop/tasks.py": code}).processes
    assert {item.name: item.command for item in found} == processes
    declared = hinted(tmp_path, {"shop/tasks.py": code, "Procfile": "q: celery -A x worker & rq worker y"}).processes
    assert [item.name for item in declared] == ["q"], "what the project declares counts"


def test_values_of_a_secret_file_stay_where_they_are(tmp_path: Path) -> None:
    found = hinted(tmp_path, {".env": "SECRET_KEY=real\nFLASK_APP=shop.py\n", ".env.example": "SECRET_KEY=change-me\n"})
    assert found.variables == {"FLASK_APP": ("shop.py", ".env")}
    assert found.examples == {"SECRET_KEY": ("change-me", ".env.example")}


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        pytest.param({"app.py": FLASK, "wsgi.py": "from app import app\n"}, [("wsgi", ""), ("app", "")],
                     id="wsgi.py first"),
        pytest.param({"app/__init__.py": FACTORY, "shop.py": "from app import create_app\napp = create_app()\n"},
                     [("shop", ""), ("app", "")], id="a module of the top before a factory"),
        pytest.param({"src/shop/app.py": FACTORY}, [("shop.app", "")], id="src layout"),
        pytest.param({"shop/web/__init__.py": FACTORY}, [("shop.web", "")], id="namespace package"),
        pytest.param({"site/wsgi.py": "application = get_wsgi_application()\n"}, [("site.wsgi", "")], id="Django"),
        pytest.param({"main.py": "dash = Dash(__name__)\nserver = dash.server\n"}, [("main", "server")], id="Dash"),
        pytest.param({"tests/test_app.py": FLASK, "docs/conf.py": FLASK, "setup.py": FLASK}, [], id="nothing of it"),
        pytest.param({"app.py": "if __name__ == '__main__':\n    app = Flask(__name__)\n"}, [], id="only as a script"),
        pytest.param({"app.py": "def broken(:\n"}, [], id="no Python"),
        pytest.param({"shop.py": "api = Celery('x')\napplication = make_app()\n"}, [("shop", "")], id="not Celery"),
    ],
)  # fmt: skip
def test_what_the_code_holds(tmp_path: Path, files: dict[str, str], wanted: list[tuple[str, str]]) -> None:
    found = scan.candidates(tmp_path, project(tmp_path, files), "shop")
    assert [(item.module, item.target) for item in found] == wanted


def test_a_module_below_src_needs_that_folder_on_the_path(tmp_path: Path) -> None:
    (found,) = scan.candidates(tmp_path, project(tmp_path, {"src/shop/app.py": FACTORY}), "shop")
    assert (found.path, found.likely) == ("src", "create_app()")


def test_folders_that_hold_an_app_are_named(tmp_path: Path) -> None:
    names = project(tmp_path, {"parts/01-first/app.py": FLASK, "parts/02-next/web/__init__.py": FACTORY, "x.py": ""})
    assert scan.candidates(tmp_path, names, "course") == []
    assert scan.folders(tmp_path, names) == ["parts/01-first", "parts/02-next"]


def test_a_module_may_have_a_hyphen(tmp_path: Path) -> None:
    names = project(tmp_path, {"my-app.py": FLASK})
    assert [item.module for item in scan.candidates(tmp_path, names, "my-app")] == ["my-app"]


def test_a_function_of_a_script_is_no_command(tmp_path: Path) -> None:
    script = "#!/bin/sh\ncmd() {\n  flask db upgrade\n}\ncmd migrate && exec gunicorn shop:app\n"
    found = hinted(tmp_path, {"Dockerfile": 'CMD ["./boot.sh"]\n', "boot.sh": script})
    assert [command.run for command in found.prepares] == ["flask db upgrade"]
    assert found.before == ()


@pytest.mark.parametrize(
    ("files", "origin"),
    [
        ({"Dockerfile": "RUN SECRET_KEY=x python manage.py collectstatic --no-input\n"}, "Dockerfile's RUN"),
        (
            {"docker/default.Dockerfile": "FROM a\nRUN x && \\\n  ./manage.py collectstatic\n"},
            "docker/default.Dockerfile's RUN",
        ),
        ({"Procfile": "release: python manage.py collectstatic --noinput && python manage.py migrate\n"}, "Procfile"),
        ({"Procfile": "release: python manage.py migrate\n"}, ""),
    ],
)
def test_who_collects_static_files(tmp_path: Path, files: dict[str, str], origin: str) -> None:
    found = hinted(tmp_path, files)
    assert found.collects == origin
    assert [command.run for command in found.prepares] == ["python manage.py migrate"] * ("Procfile" in files)


def test_what_uwsgi_runs_beside_the_app_is_a_process(tmp_path: Path) -> None:
    text = (
        "[uwsgi]\nmodule = shop:app\nenv = DJANGO_SETTINGS_MODULE=shop.settings.live\nenv = MODE=live\n"
        "attach-daemon = ./manage.py sendalerts\nattach-daemon = celery -A shop worker\n"
        "smart-attach-daemon = /tmp/x.pid python jobs.py\nattach-daemon2 = cmd=python -m mail,freq=3\n"
    )
    found = hinted(tmp_path, {"uwsgi.ini": text})
    assert {item.name: item.command for item in found.processes} == {
        "sendalerts": "./manage.py sendalerts",
        "celery": "celery -A shop worker",
        "jobs": "python jobs.py",
        "mail": "python -m mail",
    }
    assert found.variables["MODE"] == ("live", "uwsgi.ini")


@pytest.mark.parametrize(
    ("files", "settings", "others"),
    [
        ({"shop/settings.py": "DATABASES = {}"}, ["shop.settings"], []),
        ({"shop/settings/live.py": "from .base import *", "shop/settings/base.py": "DATABASES = {}",
          "shop/wsgi.py": "os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings.live'"}, ["shop.settings.live"], []),
        ({"shop/settings/live.py": "from .base import *", "shop/settings/dev.py": "from .base import *"}, [],
         ["shop.settings.dev", "shop.settings.live"]),
    ],
)  # fmt: skip
def test_the_settings_of_a_project(
    tmp_path: Path, files: dict[str, str], settings: list[str], others: list[str]
) -> None:
    found = hinted(tmp_path, {"manage.py": "", **files}).django
    assert ([module for module, _ in found.settings], list(found.others)) == (settings, others)


@pytest.mark.parametrize(
    ("line", "run"),
    [
        ("/venv/bin/python manage.py migrate --noinput", "python manage.py migrate --noinput"),
        (".venv/bin/flask db upgrade", "flask db upgrade"),
        ("uv run --no-sync flask db upgrade", "flask db upgrade"),
        ("poetry run python manage.py migrate", "python manage.py migrate"),
        ("bin/migrate.sh", "bin/migrate.sh"),
    ],
)
def test_a_program_is_that_of_the_release(tmp_path: Path, line: str, run: str) -> None:
    assert [item.run for item in hinted(tmp_path, {"Procfile": f"release: {line}\n"}).prepares] == [run]


@pytest.mark.parametrize(
    "line", ["gunicorn -c deploy/server.py shop:app", "gunicorn --config=file:deploy/server.py shop"]
)
def test_the_hooks_of_a_file_that_gunicorn_is_given_are_seen(tmp_path: Path, line: str) -> None:
    (tmp_path / "deploy").mkdir()
    text = "workers = 3\ntimeout = 90\ndef child_exit(server, worker):\n    pass\n"
    (tmp_path / "deploy/server.py").write_text(text, encoding="utf-8")
    (tmp_path / "Procfile").write_text(f"web: {line}\n", encoding="utf-8")
    found = hints.read(tmp_path, ["Procfile", "deploy/server.py", "other.py"])
    assert (found.hooks, found.timeout) == ({"deploy/server.py": ("child_exit",)}, 90)


def test_a_file_of_settings_that_a_unit_gives_to_gunicorn_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/server.py").write_text("timeout = 90\nbind = '127.0.0.1:8100'\n", encoding="utf-8")
    unit = "[Service]\nExecStart=/srv/venv/bin/gunicorn -c /srv/shop/deploy/server.py shop:app\n"
    (tmp_path / "shop.service").write_text(unit, encoding="utf-8")
    found = hints.read(tmp_path, ["deploy/server.py", "shop.service"])
    assert (found.timeout, found.listen) == (90, "127.0.0.1:8100")


def test_the_variables_that_code_asks_for_are_told_with_their_first_place(tmp_path: Path) -> None:
    asks = "import os\ndef page():\n    return os.environ['SHOP_PREFIX']\n"
    files = {"shop/links.py": asks, "shop/more.py": asks, "tests/test_shop.py": asks.replace("PREFIX", "TEST")}
    assert hinted(tmp_path, files).asked == {"SHOP_PREFIX": "shop/links.py:3"}


def test_a_script_that_takes_the_app_for_something_else_is_told_apart(tmp_path: Path) -> None:
    script = "import sys\nfrom shop import create_app\napp = create_app()\nwith app.app_context():\n    sys.exit(1)\n"
    files = {"accounts.py": script, "wsgi.py": script, "blog.py": f"{FLASK}@app.route('/')\ndef index(): ...\n"}
    names = project(tmp_path, {**files, "shop/__init__.py": FACTORY})
    found = {item.module: item.script for item in scan.candidates(tmp_path, names, "shop")}
    assert found == {"accounts": True, "wsgi": False, "blog": False, "shop": False}


FLASK_GROUP = "from flask.cli import FlaskGroup\nfrom shop import create_app\ncli = FlaskGroup(create_app=create_app)\n"


@pytest.mark.parametrize(
    ("files", "manage"),
    [
        ({"manage.py": FLASK_GROUP}, ""),
        ({"manage.py": FLASK_GROUP, "requirements.txt": "Flask==3\ndjango-environ\n"}, ""),
        ({"manage.py": "from shop.cli import main\nmain()\n", "requirements.txt": "Django>=4\n"}, "manage.py"),
        ({"manage.py": "import x\n", "pyproject.toml": '[project]\ndependencies = ["django~=5.0"]\n'}, "manage.py"),
        ({"manage.py": "from django.core.management import execute_from_command_line\n"}, "manage.py"),
        ({"manage.py": ""}, "manage.py"),
    ],
)
def test_a_manage_py_of_another_framework_is_none_of_django(tmp_path: Path, files: dict[str, str], manage: str) -> None:
    assert hinted(tmp_path, files).django.manage == manage


SERVICES = """
services:
  web:
    build: .
    command: python manage.py run -h 0.0.0.0
    environment: [SHOP_SETTINGS=shop.Live, "REDIS_URL=redis://redis:6379", CACHE=redis, SHOP_TOKEN=x, "A=${A}", NONE]
  job:
    build: {context: .}
    environment: {WORKS: 2, FLAG: true, DJANGO_SETTINGS_MODULE: shop.settings.dev}
  redis: {image: redis, environment: {MEMORY: 5}}
"""


@pytest.mark.parametrize(
    ("more", "names"), [("", {"USE_ES", "APP_SETTINGS"}), (", ES_URI: 'http://search:9200'", {"APP_SETTINGS"})]
)
def test_a_switch_of_a_compose_file_goes_with_the_place_that_it_is_for(
    tmp_path: Path, more: str, names: set[str]
) -> None:
    web = f"{{build: ., environment: {{USE_ES: 1, APP_SETTINGS: shop.Live{more}}}}}"
    found = hinted(tmp_path, {"docker-compose.yml": f"services:\n  search: {{image: es}}\n  web: {web}\n"}).variables
    assert set(found) == names


def test_the_settings_that_a_compose_file_gives_the_project(tmp_path: Path) -> None:
    files = {
        "docker-compose.yml": SERVICES,
        "docker-compose.dev.yml": "services:\n  web: {build: ., environment: [SHOP_SETTINGS=shop.Dev, MORE=1]}\n",
        "Dockerfile": "FROM python\nENV WORKS=1\n",
    }
    found = hinted(tmp_path, files).variables
    assert dict(found) == {"SHOP_SETTINGS": ("shop.Live", "docker-compose.yml"), "WORKS": ("1", "Dockerfile")}
