# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A project's code in the sandbox: what is seen of it, what it cannot do, and that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import sandbox
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.inside import asking
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.sandbox import Place, best, look
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Imported

WSGI = "def {name}(environ, start_response):\n    start_response('200 OK', [])\n    return [b'ok']\n"
needs_mounts = pytest.mark.skipif(not best().mounts, reason="this user may not make namespaces")


@pytest.fixture
def at(tmp_path: Path) -> Place:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data.txt").write_text("kept")
    root = tmp_path / "project"
    return Place(tmp_path, root, Path(sys.executable), (root,), (root,), environment={"GIVEN": "1"})


def imported(at: Place, text: str, target: str = "") -> Imported:
    (at.root / "shop.py").write_text(text)
    return look(at, "shop", target, weigh_seconds=0.1)


def test_a_flask_app_is_found_asked_and_weighed(at: Place) -> None:
    found = imported(
        at,
        "import os\nfrom flask import Flask, redirect\n"
        "app = Flask(__name__)\n"
        "app.config['SQLALCHEMY_DATABASE_URI'] = 'sqlite:///' + os.path.join(os.path.dirname(__file__), 'app.db')\n"
        "MODE, GIVEN = os.environ.get('MODE', 'dev'), os.environ['GIVEN']\n"
        "@app.route('/')\ndef index(): return 'hello'\n"
        "@app.route('/item/<int:number>')\ndef item(number): return ''\n"
        "@app.route('/logout')\ndef logout(): raise SystemExit\n"
        "@app.route('/broken')\ndef broken(): return os.environ['NOT_THERE']\n"
        "@app.route('/away')\ndef away(): return redirect('/')\n"
        "@app.post('/write')\ndef write(): return ''\n",
    )
    assert (found.entry_point, found.kind, found.stage, found.error) == ("shop:app", "flask", "done", None)
    assert {page.path: page.status for page in found.pages} == {"/": 200, "/away": 302, "/broken": 500}
    assert [item.path for item in found.weighed] == ["/"]
    assert found.weighed[0].requests > 3
    variables = {item.name: item for item in found.variables}
    assert (variables["MODE"].default, variables["MODE"].places) == ("dev", ("shop.py:5",))
    assert set(variables) == {"MODE", "GIVEN", "NOT_THERE"}
    assert found.databases == ("sqlite:///app.db",)
    assert found.other_host is None


def test_an_app_that_answers_to_one_name_only_is_seen(at: Place) -> None:
    found = imported(
        at,
        "def app(environ, start_response):\n"
        "    start_response('200 OK' if environ['HTTP_HOST'] == 'localhost' else '400 Bad Request', [])\n"
        "    return []\n",
    )
    assert found.other_host == 400


@pytest.mark.parametrize("status", ["302 Found", "401 Unauthorized", "404 Not Found"])
def test_an_app_whose_pages_lead_to_a_log_in_is_asked_by_another_name_too(at: Place, status: str) -> None:
    text = (
        "def app(environ, start_response):\n"
        f"    start_response({status!r} if environ['HTTP_HOST'] in NAMES else '400 Bad Request', [])\n"
        "    return []\n"
    )
    found = imported(at, f"NAMES = ('localhost',)\n{text}")
    assert {page.status for page in found.pages} == {int(status[:3])}
    assert found.other_host == 400
    assert imported(at, f"NAMES = ('localhost', 'app.example.com')\n{text}").other_host is None


INSISTS = (
    "def app(environ, start_response):\n"
    "    path = environ['PATH_INFO']\n"
    "    if {secure} or path == '/ping':\n"
    "        start_response('200 OK', [('Content-Type', 'text/plain')])\n"
    "    else:\n"
    "        start_response({status!r}, [('Location', 'https://' + environ['HTTP_HOST'] + {to})])\n"
    "    return []\n"
)
BY_SCHEME = "environ['wsgi.url_scheme'] == 'https'"
BY_HEADER = "environ.get('HTTP_X_FORWARDED_PROTO') == 'https'"


@pytest.mark.parametrize("secure", [BY_SCHEME, BY_HEADER])
@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found"])
def test_pages_that_lead_to_https_of_themselves_are_asked_as_through_a_proxy(
    at: Place, secure: str, status: str
) -> None:
    found = imported(at, INSISTS.format(secure=secure, status=status, to="path"))
    assert found.https
    assert {page.status for page in found.pages} == {200}
    assert found.other_host is None


@pytest.mark.parametrize(
    ("secure", "to"),
    [
        pytest.param("False", "path", id="whatever the proxy says"),
        pytest.param(BY_SCHEME, "'/login'", id="to a log in"),
        pytest.param(BY_SCHEME, "path + 'de/'", id="to another page"),
    ],
)
def test_pages_that_lead_elsewhere_by_https_do_not_insist_on_it(at: Place, secure: str, to: str) -> None:
    found = imported(at, INSISTS.format(secure=secure, status="302 Found", to=to))
    assert not found.https
    assert {page.path: (page.status, page.insists) for page in found.pages}["/"] == (302, secure == "False")


@pytest.mark.parametrize(
    ("code", "default"),
    [
        ("X = os.environ.get('X') or 'dev'", "dev"),
        ("X = os.getenv('X', None) or 'dev'", "dev"),
        ("X = os.environ.get('X', '') or 5", "5"),
        ("X = os.environ.get(\n    'X'\n) or (\n    'dev'\n)", "dev"),
        ("X = os.environ.get('Y') or os.environ.get('X') or 'dev'", "dev"),
        (
            "HERE = 'var'\nclass Config:\n    X = os.getenv('X') or 'sqlite:///' + os.path.join(HERE, 'a.db')",
            "sqlite:///var/a.db",
        ),
        ("def make(folder):\n    return os.getenv('X') or f'{folder}/a'\nmake('var')", "var/a"),
        ("X = os.environ.get('X', 'named') or 'dev'", "named"),
        ("X = os.environ.get('X') or os.urandom(8)", None),
        ("X = os.environ.get('X') or None", None),
        ("X = os.environ.get('X'); Y = os.environ.get('Y') or 'dev'", None),
        ("Y = 'X' in os.environ or 'dev'", None),
        ("X = os.environ.get('X') or missing", None),
    ],
)
def test_what_is_taken_where_a_variable_is_not_set_is_its_default(at: Place, code: str, default: str | None) -> None:
    found = imported(at, f"import os\n{code}\n{WSGI.format(name='app')}")
    (variable,) = (item for item in found.variables if item.name == "X")
    assert (variable.default, variable.bare) == (default, False)


def test_a_missing_variable_is_named_with_its_place(at: Place) -> None:
    found = imported(at, "import os\nX = os.environ.get('UNUSED')\nURL = os.environ['SHOP_URL']\n")
    assert not found.found
    assert found.error is not None
    assert (found.error.missing_variables, found.error.where) == (("SHOP_URL",), "shop.py:3")


def test_a_variable_that_an_app_names_before_it_exits_is_missing(at: Place) -> None:
    text = (
        "import os, sys\n"
        "if len(os.environ.get('SECRET_KEY', '')) < 16 or 'GIVEN' not in os.environ:\n"
        "    print('configure a random SECRET_KEY, GIVEN is there')\n    sys.exit(1)\n"
        f"{WSGI.format(name='app')}"
    )
    found = imported(at, text)
    assert found.error is not None
    assert found.error.missing_variables == ("SECRET_KEY",)
    given = replace(at, environment={**at.environment, "SECRET_KEY": "headcount-stand-in"})
    assert imported(given, text).found


def test_a_variable_that_is_named_where_no_app_is_made_is_missing(at: Place) -> None:
    text = (
        "import logging, os\n"
        "if os.environ.get('SHOP_SETTINGS'):\n"
        + textwrap.indent(WSGI.format(name="application"), "    ")
        + "else:\n    logging.fatal('environment variable SHOP_SETTINGS must be set')\n"
    )
    found = imported(at, text, "application")
    assert found.error is not None
    assert (found.error.kind, found.error.missing_variables) == ("NotFound", ("SHOP_SETTINGS",))
    assert "after saying: CRITICAL:root:environment variable SHOP_SETTINGS must be set" in found.error.message
    silent = imported(at, "print('SHOP_SETTINGS is not read')\n", "application")
    assert silent.error is not None
    assert silent.error.message == "it holds no application"


def test_a_variable_that_is_missing_only_shows_in_what_is_made_of_it(at: Place) -> None:
    found = imported(at, "import os\nPORT = int(os.getenv('SHOP_PORT'))\n")
    assert found.error is not None
    assert (found.error.kind, found.error.missing_variables) == ("TypeError", ("SHOP_PORT",))


@needs_mounts
def test_nothing_of_the_project_or_of_the_machine_is_written(at: Place, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.txt"
    found = imported(
        at,
        "import os\nSEEN = []\n"
        f"for path in ('data.txt', {str(outside)!r}, os.path.expanduser('~/x'), '/tmp/fine'):\n"
        "    try:\n        open(path, 'w').write('x')\n"
        "    except OSError as error:\n        SEEN.append(type(error).__name__)\n"
        "raise RuntimeError(f'{SEEN} {sorted(os.environ)}')\n",
    )
    assert found.error is not None
    assert found.error.message.startswith("['OSError', 'FileNotFoundError'] ")
    assert (at.root / "data.txt").read_text() == "kept"
    assert not outside.exists()
    assert "data.txt" in found.written
    assert "PYTEST_CURRENT_TEST" not in found.error.message


@pytest.fixture
def led(tmp_path: Path) -> Place:
    """A tree in a scratch folder, as a release is made, that leads to the data as one does."""
    root = tmp_path / "tree"
    root.mkdir()
    (root / "seen.txt").write_text("shipped")
    return Place(tmp_path, root, Path(sys.executable), (root,), (root,), sandbox.lead(tmp_path))


@needs_mounts
def test_what_leads_to_the_data_can_be_written(led: Place) -> None:
    text = (
        "import sqlite3\nfrom flask import Flask\napp = Flask(__name__)\n"
        "open(app.instance_path + '/key', 'w').write('x')\n"
        "def count(): return [open('seen.txt').read(), open('seen.txt', 'a').write('!')]\n"
        "sqlite3.connect('app.db').execute('create table if not exists a (b)')\n"
        "@app.route('/')\ndef index(): return str(count())\n"
    )
    refused = imported(led, text)
    assert refused.error is not None
    assert refused.error.read_only
    assert refused.written == {"instance/key": "file", "app.db": "sqlite"}
    found = imported(replace(led, leads=("app.db", "seen.txt")), text)
    assert [(page.path, page.status) for page in found.pages] == [("/", 200)]
    assert not (led.root / "app.db").exists()
    assert (led.root / "seen.txt").read_text() == "shipped"
    assert (led.scratch / "data" / "seen.txt").read_text().startswith("shipped!")


@needs_mounts
def test_an_installed_package_is_read_only_but_for_flasks_own_folder(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    site = next((tmp_path / "venv/lib").glob("python3*/site-packages"))
    (site / "shop").mkdir()
    (site / "shop/__init__.py").write_text(
        "import os\ndef app(environ, start): pass\n"
        f"open({str(tmp_path)!r} + '/venv/var/shop-instance', 'w')\n"
        "os.makedirs(os.path.dirname(__file__) + '/uploads', exist_ok=True)\n"
    )
    (tmp_path / "work").mkdir()
    kept = sandbox.lead(tmp_path)
    place = Place(tmp_path, tmp_path / "work", tmp_path / "venv/bin/python", (), (site / "shop",), kept, installed=site)
    found = look(place, "shop", "", weigh_seconds=0.1)
    assert found.error is not None
    assert "Read-only file system" in found.error.message
    assert found.written == {"instance/shop-instance": "file", "shop/uploads": "folder"}
    assert look(replace(place, leads=("shop/uploads",)), "shop", "", weigh_seconds=0.1).found


def test_the_file_of_a_database_is_told_as_flask_sqlalchemy_finds_it(at: Place) -> None:
    found = imported(
        at,
        "from flask import Flask\napp = Flask(__name__)\n"
        "class Extension: engines = {}\n"
        "app.extensions['sqlalchemy'] = Extension()\n"
        "app.config['SQLALCHEMY_DATABASE_URI'] = 'sqlite:///app.db'\n"
        "app.config['SQLALCHEMY_BINDS'] = {'old': 'sqlite://', 'far': 'sqlite:////srv/app.db'}\n",
    )
    assert found.databases == ("sqlite:///instance/app.db", "sqlite://", "sqlite:////srv/app.db")


@pytest.mark.parametrize(
    ("address", "tree", "package"),
    [
        ("sqlite://///{root}/app.db", "sqlite:///app.db", "sqlite:///./app.db"),
        ("sqlite:////{root}/db/../app.db?timeout=9", "sqlite:///app.db?timeout=9", "sqlite:///./app.db?timeout=9"),
        ("sqlite:///./app.db", "sqlite:///app.db", "sqlite:///./app.db"),
        ("sqlite:///db/app.db", "sqlite:///db/app.db", "sqlite:///./db/app.db"),
        ("sqlite://///{site}/shop/app.db", "sqlite:////site/shop/app.db", "sqlite:///shop/app.db"),
        ("sqlite://///{data}/app.db", "sqlite:///{data}/app.db", "sqlite:///{data}/app.db"),
        ("sqlite://///srv/app.db", "sqlite:////srv/app.db", "sqlite:////srv/app.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://", "sqlite://"),
    ],
)
def test_the_address_of_a_database_has_the_path_that_was_written(
    at: Place, address: str, tree: str, package: str
) -> None:
    """Compared with what the app wrote, whatever slashes and dots a project makes it of."""
    site = at.scratch / "site"
    places = {name: str(path).lstrip("/") for name, path in (("root", at.root), ("site", site))}
    said = address.format(**places, data=str(at.scratch / sandbox.DATA).lstrip("/"))
    answer = {"stage": "done", "config": {"databases": [said]}}
    answer["variables"] = {"AT": {"default": said, "bare": False, "places": []}}
    for place, wanted in ((at, tree), (replace(at, own=(site / "shop",), installed=site), package)):
        found = sandbox.read(answer, place)
        assert found.databases == (wanted,)
        assert found.variables[0].default == found.databases[0]


def test_what_is_written_by_a_path_of_two_slashes_is_the_same_file(at: Place) -> None:
    text = "import os, sqlite3\nsqlite3.connect('/' + os.path.abspath('app.db'))\n"
    found = imported(replace(at, writable=True), text + WSGI.format(name="app"))
    assert found.written == {"app.db": "sqlite"}
    data = sandbox.read({"stage": "done", "setup": {"made": [f"{at.scratch}/{sandbox.DATA}/app.db"]}}, at)
    assert data.made == ("{data}/app.db",)


@needs_mounts
def test_no_peer_is_reached(at: Place) -> None:
    found = imported(at, "import socket\nsocket.create_connection(('127.0.0.1', 6379), 2)\n")
    assert found.error is not None
    assert found.error.unreached
    assert "127.0.0.1:6379" in found.peers


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        pytest.param(
            "import acme_does_not_exist\n", "ModuleNotFoundError", "acme_does_not_exist", id="a missing module"
        ),
        pytest.param("import sys\nsys.exit('usage: shop')\n", "SystemExit", "usage: shop", id="it exits"),
        pytest.param(
            "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 5000))\n",
            "Serves",
            "opens port 5000",
            id="it serves",
        ),
        pytest.param(
            "import sys\nprint('no key is set')\nsys.exit(1)\n",
            "SystemExit",
            "1, after saying: no key is set",
            id="it says why",
        ),
        pytest.param("value = 3\n", "NotFound", "holds no WSGI callable", id="no app"),
        pytest.param("class app:\n    pass\napp = app()\n", "NotFound", "holds no WSGI callable", id="not callable"),
        pytest.param(
            "def create_app(mode):\n    pass\n",
            "NotFound",
            "create_app needs arguments: mode",
            id="a factory with arguments",
        ),
        pytest.param(
            "def create_app():\n    return 3\n", "NotFound", "gives int, which is no WSGI", id="a factory of a number"
        ),
        pytest.param(
            "import os\nprint('bye', flush=True)\nos._exit(7)\n", "Ended", "its Python ended: bye", id="killed"
        ),
    ],
)
def test_why_a_module_is_no_app(at: Place, text: str, kind: str, words: str) -> None:
    found = imported(at, text)
    assert found.error is not None
    assert (found.error.kind, words in found.error.message) == (kind, True), found.error
    assert not found.found


@pytest.mark.parametrize(
    ("text", "target", "wanted"),
    [
        pytest.param(WSGI.format(name="application"), "", "application", id="application"),
        pytest.param(WSGI.format(name="web"), "web", "web", id="by its name"),
        pytest.param(f"def make_app():\n    {WSGI.format(name='web')!r}\n" + WSGI.format(name="inner") +
                     "def create_app(mode='x'):\n    return inner\n", "", "create_app()", id="create_app first"),
        pytest.param(WSGI.format(name="inner") + "def build(mode):\n    return inner\n",
                     "build('live')", "build('live')",
                     id="a factory with a literal"),
        pytest.param("from flask import Flask\nshop = Flask(__name__)\n", "", "shop", id="the only Flask object"),
        pytest.param("from flask import Flask, current_app, g, request, session\n"
                     "def create_app():\n    return Flask(__name__)\n", "", "create_app()",
                     id="beside what is there in a request alone"),
    ],
)  # fmt: skip
def test_which_callable_is_taken(at: Place, text: str, target: str, wanted: str) -> None:
    assert imported(at, text, target).target == wanted


def test_an_endless_import_ends(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "IMPORT_SECONDS", 0.5)
    found = imported(at, "while True:\n    pass\n")
    assert found.error is not None
    assert "took longer than 0.5 s" in found.error.message


def test_a_busy_machine_does_not_make_an_import_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of a step stands still while others have the processor, and a step ends for all that."""
    now = {"wall": 0.0, "own": 0.0}
    rung: list[float] = []
    monkeypatch.setattr(asking, "own_seconds", lambda: now["own"])
    monkeypatch.setattr(asking.time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(asking.signal, "setitimer", lambda _, seconds: rung.append(seconds))
    with asking.within(10, "the import"):
        ring = signal.getsignal(signal.SIGALRM)
        assert callable(ring)
        now.update(wall=10.0, own=2.0)
        ring(signal.SIGALRM, None)
        assert rung == [10, 8.0]
        now.update(wall=49.0, own=4.0)
        ring(signal.SIGALRM, None)
        assert rung == [10, 8.0, 1.0]
        now.update(wall=50.0)
        with pytest.raises(asking.TooLong, match="the import took longer than 10 s"):
            ring(signal.SIGALRM, None)


def test_the_own_clock_runs_with_the_work() -> None:
    begin, cpu = asking.own_seconds(), time.process_time()
    while time.process_time() - cpu < 0.05:
        pass
    assert 0.04 < asking.own_seconds() - begin < 5


def test_disks_are_told_from_what_the_kernel_mounts() -> None:
    mounts = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:5 / /proc rw - proc proc rw\n"
        "24 22 8:2 / /home rw shared:7 - xfs /dev/sda2 rw\n"
        "25 22 0:9 / /var/lib/containers/x/merged rw - overlay overlay rw\n"
        "26 22 0:7 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    )
    assert sandbox.disks_of(mounts) == ["/", "/home"]


def test_the_environment_is_that_of_a_unit(at: Place) -> None:
    known = sandbox.environment(at)
    assert set(known) == {"PATH", "LANG", "HOME", "TMPDIR", "FLASK_SKIP_DOTENV", "GIVEN"}
    assert known["HOME"] != os.environ.get("HOME")


def test_a_python_that_lies_in_tmp_is_found() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        venv.create(Path(folder) / "env", symlinks=True)
        scratch, root = Path(folder) / "scratch", Path(folder) / "scratch" / "project"
        root.mkdir(parents=True)
        (root / "shop.py").write_text("def app(environ, start):\n    return []\n", encoding="utf-8")
        place = Place(scratch, root, Path(folder) / "env/bin/python", (root,), (root,))
        assert look(place, "shop", "app", weigh_seconds=0.1).target == "app"


def test_data_in_a_value_is_a_folder_that_is_there(at: Place) -> None:
    text = (
        "import os\nfrom flask import Flask\napp = Flask(__name__)\n"
        "@app.route('/')\ndef index():\n"
        "    open(os.environ['PAGES'] + '/a', 'w').close()\n    return str(os.listdir(os.environ['PAGES']))\n"
    )
    place = replace(at, environment={"PAGES": "{data}/pages"}, folders=("pages",), repositories=("pages",))
    assert [page.status for page in imported(place, text).pages] == [200]
    assert sorted(item.name for item in (at.scratch / "data/pages").iterdir()) == [".git", "a"]


def test_an_import_that_takes_too_long_is_told_as_such(at: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "IMPORT_SECONDS", 0.2)
    found = imported(at, "import threading\nthreading.Event().wait(30)\n")
    assert found.error is not None
    assert found.error.late
    assert found.error.message == "the import took longer than 0.2 s"


def test_code_of_a_member_that_is_installed_is_the_projects_own(at: Place) -> None:
    site = at.scratch / "site"
    (site / "till").mkdir(parents=True)
    (site / "till/__init__.py").write_text("import os\nTAX = os.environ.get('TILL_TAX', '19')\n")
    (site / "coins.py").write_text("import os\nCURRENCY = os.environ.get('CURRENCY')\n")
    (site / "others.py").write_text("import os\nOTHER = os.environ.get('OTHER')\n")
    place = replace(at, paths=(at.root, site), beside=(site / "till", site / "coins.py"))
    found = imported(place, "import coins, others, till\n" + WSGI.format(name="app"))
    assert {item.name: item.places for item in found.variables} == {
        "CURRENCY": ("coins.py:2",), "TILL_TAX": ("till/__init__.py:2",),
    }  # fmt: skip


SEES = (
    "import os, subprocess\nSEEN = {}\n"
    "def see(name, act):\n"
    "    try: SEEN[name] = act()\n"
    "    except OSError as error: SEEN[name] = error.errno\n"
)


@needs_mounts
def test_the_code_has_no_right_to_undo_the_sandbox(at: Place) -> None:
    text = (
        f"{SEES}"
        "WANTED = ('CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs')\n"
        "STATUS = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "SEEN = {name: int(STATUS[name], 16) for name in WANTED}\n"
        "REMOUNT = ['mount', '-o', 'remount,bind,rw', '/']\n"
        "SEEN['remount'] = subprocess.run(REMOUNT, stderr=subprocess.DEVNULL).returncode == 0\n"
        "see('etc', lambda: open('/etc/headcount-was-here', 'w'))\n"
        "raise RuntimeError(SEEN)\n"
    )
    found = imported(at, text)
    assert found.error is not None
    none = {"CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0, "NoNewPrivs": 1}
    assert found.error.message == str({**none, "remount": False, "etc": 30})


@needs_mounts
def test_homes_services_devices_and_other_processes_are_not_seen(at: Place) -> None:
    text = (
        f"{SEES}"
        "for place in ('/root', '/home'): see(place, lambda: os.listdir(place))\n"
        "see('sockets', lambda: [name for name in os.listdir('/run') if name != 'mount'])\n"
        "see('shadow', lambda: open('/etc/shadow').read())\n"
        "see('write', lambda: open('/home/x', 'w'))\n"
        "see('kernel', lambda: open('/proc/sys/kernel/core_pattern', 'w'))\n"
        "see('processes', lambda: [name for name in os.listdir('/proc') if name.isdigit()])\n"
        "see('disks', lambda: sorted(os.listdir('/dev')))\n"
        "raise RuntimeError(SEEN)\n"
    )
    found = imported(at, text)
    assert found.error is not None
    assert found.error.message == str(
        {
            **{"/root": [], "/home": [], "sockets": [], "shadow": "", "write": 30, "kernel": 30, "processes": ["1"]},
            "disks": ["fd", "full", "null", "random", "shm", "urandom", "zero"],
        }
    )


@needs_mounts
def test_a_project_and_a_python_that_lie_in_what_is_hidden_are_seen_and_nothing_else_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        home, scratch = Path(folder), Path(folder) / "scratch"
        monkeypatch.setattr(sandbox, "_HIDDEN", (*sandbox._HIDDEN, folder))
        (home / "private.txt").write_text("")
        venv.create(home / "python", with_pip=False, symlinks=True)
        root = scratch / "project"
        root.mkdir(parents=True)
        place = Place(scratch, root, home / "python/bin/python", (root,), (root,))
        found = imported(place, f"import os\nraise RuntimeError(sorted(os.listdir({folder!r})))\n")
        assert found.error is not None
        assert found.error.message == "['python', 'scratch']"
        assert imported(place, WSGI.format(name="app")).found


def test_the_home_of_who_calls_is_hidden_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for home, told in (("/var/lib/ci", True), ("/home/anna", False), ("/", False)):
        monkeypatch.setenv("HOME", home)
        assert (Path(home) in sandbox.hidden_places()) == told


def test_what_a_python_is_made_from_is_needed_at_each_step(at: Place, tmp_path: Path) -> None:
    links = [tmp_path / name / "bin/python" for name in ("one", "two")]
    for link in links:
        link.parent.mkdir(parents=True)
    links[0].symlink_to(links[1])
    links[1].symlink_to(sys.executable)
    place = replace(at, scratch=tmp_path / "scratch", python=links[0])
    assert {tmp_path / "one", tmp_path / "two"} <= set(sandbox.pythons_hidden(place, [tmp_path]))


def test_a_sandbox_that_shares_proc_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[list[str]] = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        tried.append(words)
        return subprocess.CompletedProcess(words, int("--mount-proc" in words))

    monkeypatch.setattr(sandbox.subprocess, "run", run)
    best.cache_clear()
    made = best()
    best.cache_clear()
    assert (made.mounts, made.told) == (
        True,
        "/proc is the machine's own: the import could read of your processes there",
    )
    assert all("setpriv" in words[-1] for words in tried)


@pytest.mark.parametrize(("route", "rules"), [("", 0), ("@app.post('/write')\ndef write(): return ''\n", 1)])
def test_how_many_addresses_an_app_answers_to(at: Place, route: str, rules: int) -> None:
    assert imported(at, f"from flask import Flask\napp = Flask(__name__)\n{route}").rules == rules
    assert imported(at, WSGI.format(name="app")).rules is None


def test_what_a_project_says_gives_no_orders_to_a_terminal(at: Place) -> None:
    raised = imported(at, "raise RuntimeError('\x1b[31mRED\x1b[2J \x07')\n")
    assert raised.error is not None
    assert raised.error.message == "RED \\x07"
    ended = imported(at, "import os\nprint('\x1b]0;title\x07bye', flush=True)\nos._exit(7)\n")
    assert ended.error is not None
    assert ended.error.message == "its Python ended: bye"


TABLES = """
import os, sqlite3, sys
import click
from flask import Flask
app = Flask(__name__)
os.makedirs(app.instance_path, exist_ok=True)

def connect():
    return sqlite3.connect(os.path.join(app.instance_path, "shop.sqlite"))

@app.route("/")
def index():
    return str(connect().execute("SELECT count(*) FROM item").fetchone())

@app.route("/well")
def well():
    return "well"

@click.command("COMMAND")
def setup():
    MAKES
    app.logger

app.cli.add_command(setup)
"""
CREATES = "connect().executescript('DROP TABLE IF EXISTS item; CREATE TABLE item (name TEXT)')"


@pytest.mark.parametrize(
    ("command", "makes", "status", "setup"),
    [
        ("init-db", CREATES, 200, "init-db"),
        ("db_create", CREATES, 200, "db_create"),
        ("seed", CREATES, 500, ""),
        ("init-db", "sys.exit(3)", 500, ""),
    ],
)
def test_the_command_of_its_own_that_makes_the_tables_is_found(
    at: Place, command: str, makes: str, status: int, setup: str
) -> None:
    (at.root / "instance").mkdir()
    place = replace(at, writable=True)
    found = imported(place, TABLES.replace("COMMAND", command).replace("MAKES", makes))
    pages = {page.path: page for page in found.pages}
    assert (pages["/"].status, pages["/well"].status, found.setup) == (status, 200, setup)
    assert found.made == (("instance/shop.sqlite",) if setup else ())
    assert setup or pages["/"].error == "OperationalError: no such table: item"


@needs_mounts
@pytest.mark.parametrize(
    ("makes", "path", "kind"),
    [
        ("os.symlink(HERE + '/data.txt', HERE + '/build/a.txt')", "build/a.txt", "link"),
        ("os.symlink('../data.txt', HERE + '/build/a.txt')", "build/a.txt", "link"),
        ("os.symlink('/etc/hosts', HERE + '/build/a.txt')", "build/a.txt", "file"),
        ("os.link(HERE + '/data.txt', HERE + '/build/a.txt')", "build/a.txt", "link"),
        ("os.rename(HERE + '/data.txt', HERE + '/build/a.txt')", "build/a.txt", "moved"),
        ("shutil.copy(HERE + '/data.txt', HERE + '/build/a.txt')", "build/a.txt", "file"),
        ("os.remove(HERE + '/data.txt')", "data.txt", "gone"),
        ("subprocess.run(['ln', '-s', '../data.txt', HERE + '/build/a.txt'], check=True)", "build/a.txt", "link"),
        ("subprocess.run(['mkdir', HERE + '/build/a'], check=True)", "build/a", "folder"),
    ],
)
def test_what_an_app_changes_in_its_release_is_seen_and_gone_for_who_looks_next(
    at: Place, makes: str, path: str, kind: str
) -> None:
    (at.root / "build").mkdir()
    text = f"import os, shutil, subprocess\nHERE = os.path.dirname(__file__)\n{makes}\n{WSGI.format(name='app')}"
    tight = imported(at, text)
    assert tight.error is not None
    free = look(replace(at, writable=True), "shop", "", weigh_seconds=0.1)
    assert (free.error, free.written.get(path)) == (None, kind)
    by_python = "subprocess.run" not in makes
    assert free.written_at.get(path) == ("shop.py:3" if by_python else None)
    assert sorted(item.name for item in at.root.iterdir()) == ["build", "data.txt", "shop.py"]
    assert not list((at.root / "build").iterdir())
    assert not (at.scratch / "written").exists()


def test_what_is_not_there_is_not_removed(at: Place) -> None:
    text = "import os\ntry: os.remove('app.pid')\nexcept OSError: pass\n"
    assert imported(at, f"{text}{WSGI.format(name='app')}").written == {}


def test_modules_are_looked_for_in_the_folders_of_pythonpath(at: Place) -> None:
    (at.root / "sandbox").mkdir()
    (at.root / "sandbox" / "till.py").write_text(WSGI.format(name="app"))
    place = replace(at, environment={"PYTHONPATH": "sandbox"})
    assert look(place, "till", "", weigh_seconds=0.1).entry_point == "till:app"
    assert look(at, "till", "", weigh_seconds=0.1).error is not None


def test_the_variable_that_flask_reads_a_file_of_settings_by_is_one_of_the_project(at: Place) -> None:
    text = "from flask import Flask\napp = Flask(__name__)\napp.config.from_envvar('SHOP_CFG', silent=True)\n"
    assert [item.name for item in imported(at, text).variables] == ["SHOP_CFG"]
