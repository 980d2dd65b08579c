# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""From a folder to the text of an entry, in the sandbox, with an environment that is there already."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import flow, sandbox
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.environment import Made
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Answers
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import (
    BuildFailed,
    Contradiction,
    LacksFiles,
    NetworkUnreachable,
    TooSlow,
)

FLASK = "from flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef index(): return 'hello'\n"
PACKAGE = '[project]\nname = "till"\n[build-system]\nrequires = []\n'


class Maker:
    """Gives the environment that the tests run in, and notes for what it was asked."""

    def __init__(self, fails: type[BuildFailed] | None = None) -> None:
        self.asked: list[Any] = []
        self.fails = fails

    def __call__(self, source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        self.asked.append(source["as"])
        if source["as"] is None and self.fails:
            raise self.fails("it is not whole")
        return Made(Path(sys.executable), folder, ())


def tools(make: Any, told: list[str] | None = None) -> flow.Tools:
    look = partial(sandbox.look, weigh_seconds=0.1)
    return flow.Tools(Path("/nowhere"), make, look, (told if told is not None else []).append)


def project(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name.replace("__", ".").replace("SLASH", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def test_a_folder_with_a_module_becomes_an_entry(tmp_path: Path) -> None:
    told: list[str] = []
    made = Maker()
    shop = project(tmp_path / "shop", app__py=FLASK, requirements__txt="flask\n", Procfile="web: gunicorn app:app\n")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shop").rglob("*")}
    found = flow.entry(shop, tools(made, told), "web1")
    assert found.ready
    app = yaml.safe_load(found.text)["all"]["vars"]["headcount_apps"][0]
    assert (app["name"], app["entry_point"], app["health"], app["source"]) == ("shop", "app:app", "/", {"path": shop})
    assert made.asked == ["tree"]
    assert told[-1] == "importing app:app (Procfile)"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "shop").rglob("*")} == before


def test_the_only_app_of_a_repository_is_found_below_its_top(tmp_path: Path) -> None:
    repository = project(
        tmp_path / "shop", backSLASHapp__py=FLASK, backSLASHrequirements__txt="flask\n", frontSLASHx__py=""
    )
    found = flow.entry(repository, tools(Maker())).proposal.entry
    assert (found["name"], found["entry_point"]) == ("back", "app:app")
    assert found["source"] == {"path": repository, "subdirectory": "back"}


@pytest.mark.parametrize("other", ["packagesSLASHstoreSLASHstore__py", "deskSLASHapp__py"])
def test_the_only_app_of_a_workspace_is_looked_at_as_the_member_that_it_is(tmp_path: Path, other: str) -> None:
    root = '[project]\nname = "mono"\n[tool.uv.workspace]\nmembers = ["packages/*", "services/*"]\n'
    files = {
        "pyproject__toml": root,
        "packagesSLASHstoreSLASHpyproject__toml": PACKAGE.replace("till", "store"),
        "servicesSLASHwebSLASHpyproject__toml": '[project]\nname = "shop-web"\ndependencies = ["flask"]\n',
        "servicesSLASHwebSLASHweb__py": FLASK,
        other: FLASK if "desk" in other else "def connect(): ...\n",
    }
    found = flow.entry(project(tmp_path / "mono", **files), tools(Maker())).proposal.entry
    if "desk" in other:  # which of the two is meant is nothing that new-app could know
        assert "subdirectory" not in found["source"]
    else:
        assert (found["name"], found["entry_point"]) == ("shop-web", "web:app")
        assert found["source"] == {"path": str(tmp_path / "mono"), "subdirectory": "services/web"}


def test_a_package_that_cannot_be_built_is_taken_as_a_tree(tmp_path: Path) -> None:
    made = Maker(BuildFailed)
    found = flow.entry(project(tmp_path / "shop", app__py=FLASK, pyproject__toml=PACKAGE), tools(made))
    assert made.asked == [None, "tree"]
    assert found.proposal.entry["source"]["as"] == "tree"
    assert "no wheel of it can be built here: its files are taken as they are" in " ".join(
        found.text.replace("#", "").split()
    )


def test_a_package_whose_wheel_holds_no_app_is_taken_as_a_tree(tmp_path: Path) -> None:
    made = Maker()
    found = flow.entry(project(tmp_path / "shop", app__py=FLASK, pyproject__toml=PACKAGE), tools(made))
    assert (made.asked, found.proposal.entry["name"]) == ([None, "tree"], "till")


def test_a_package_whose_wheel_lacks_files_is_taken_as_a_rollout_would_have_it(tmp_path: Path) -> None:
    made = Maker(LacksFiles)
    found = flow.entry(project(tmp_path / "shop", app__py=FLASK, pyproject__toml=PACKAGE), tools(made))
    assert (made.asked, found.proposal.entry["source"]["as"]) == ([None, "tree"], "tree")
    assert "but the wheel of it lacks files, which its app would look for" in found.proposal.comments["source"]


def test_a_package_that_lacks_files_and_works_as_no_tree_is_one_that_does_without(tmp_path: Path) -> None:
    """Its app asks for the version that it is installed as."""
    code = "from importlib.metadata import version\nversion('till')\n" + FLASK
    asked: list[Any] = []

    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        asked.append(source["as"])
        if source["as"] is None:
            raise LacksFiles("it is not whole", "till/static/")
        if source["as"] == "package":
            project(folder, till__py=FLASK)
            return Made(Path(sys.executable), folder, ("till.py",))
        return Made(Path(sys.executable), folder)

    told: list[str] = []
    shop = project(tmp_path / "shop", till__py=code, pyproject__toml=PACKAGE)
    with pytest.raises(flow.Unfinished):
        flow.entry(shop, tools(make, told))
    assert asked == [None, "tree", "package"]
    assert "the wheel of it lacks till/static/, which its app would look for; looking at it as a tree" in told
    assert any("looking at it as a package that does without" in text for text in told)


def test_an_app_that_asks_for_its_own_version_is_told_what_installs_it(tmp_path: Path) -> None:
    code = "from importlib.metadata import version\nversion('till')\n" + FLASK
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(project(tmp_path / "till", till__py=code, requirements__txt="flask\n"), tools(Maker()))
    assert "fix: source.as: package installs it; a tree is no distribution" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param({"x__py": "y = 1\n"}, "was not found in shop: no module", id="nothing"),
        pytest.param(
            {"partSLASH01-aSLASHapp__py": FLASK, "partSLASH02-bSLASHapp__py": FLASK},
            "holds the app, one of part/01-a, part/02-b", id="folders below",
        ),
        pytest.param(
            {"app__py": "import acme_missing\nfrom flask import Flask\napp = Flask('x')\n"},
            "fix: name the distribution that brings acme_missing", id="a dependency",
        ),
        pytest.param(
            {"app__py": "from flask import Flask\nimport pkg_resources.missing\napp = Flask('x')\n"},
            "fix: name setuptools<81 in the project's dependencies", id="a part of setuptools that is gone",
        ),
        pytest.param(
            {"app__py": "from flask import Flask\nfrom collections import MutableMapping\napp = Flask('x')\n"},
            "headcount_python with a Python 3.9", id="older than this Python",
        ),
        pytest.param(
            {"app__py": "class FastAPI:\n    async def __call__(self, a, b, c): pass\nFastAPI.__module__ = 'fastapi'\n"
                        "app = FastAPI()\n"},
            "fix: serve it with an ASGI server", id="ASGI",
        ),
        pytest.param(
            {"app__py": "import socket\nfrom flask import Flask\napp = Flask('x')\ns = socket.socket()\n"
                        "s.bind(('127.0.0.1', 5000))\n"},
            "put what serves under", id="it serves by itself",
        ),
    ],
)  # fmt: skip
def test_a_project_that_cannot_work_is_refused_as_by_the_preflight(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(project(tmp_path / "shop", **files), tools(Maker()))
    assert str(caught.value).startswith("headcount_apps[0].entry_point ")
    assert ": allowed is " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(("fails", "files"), [(None, "acme_missing"), (BuildFailed, "acme_missing")])
def test_one_reason_is_told_where_neither_form_works(
    tmp_path: Path, fails: type[BuildFailed] | None, files: str
) -> None:
    shop = project(tmp_path / "shop", app__py=f"import {files}\n" + FLASK, pyproject__toml=PACKAGE)
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(shop, tools(Maker(fails)))
    assert (files in str(caught.value)) is bool(fails)


OPENS = "import os\nopen(os.environ.get('SHOP_SETTINGS', ''))\n" + FLASK


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        pytest.param(
            {"app__py": OPENS, "Dockerfile": "FROM x\nENV SHOP_SETTINGS=/config/shop\nCMD gunicorn app:app\n"},
            "fix: name what SHOP_SETTINGS leads to on a host, with --environment SHOP_SETTINGS=VALUE",
            id="its files lead to what is not there",
        ),
        pytest.param(
            {"app__py": "import os\nif not os.environ.get('SHOP_SETTINGS'):\n    raise SystemExit(1)\n" + FLASK},
            "--environment SHOP_SETTINGS=VALUE",
            id="it ends without a word",
        ),
    ],
)
def test_a_variable_that_an_import_may_fail_for_want_of_is_named(
    tmp_path: Path, files: dict[str, str], fix: str
) -> None:
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(project(tmp_path / "shop", requirements__txt="flask\n", **files), tools(Maker()))
    assert fix in str(caught.value)
    if "Dockerfile" in files:
        assert "QUESTION, to be answered first: what is SHOP_SETTINGS?" in " ".join(
            caught.value.entry.text.replace("#", "").split()
        )


def test_a_file_of_settings_that_only_an_image_has_is_asked_for(tmp_path: Path) -> None:
    image = "FROM x\nENV SHOP_SETTINGS=/config/shop.cfg\nCMD gunicorn app:app\n"
    found = flow.entry(
        project(tmp_path / "shop", requirements__txt="flask\n", app__py=OPENS, Dockerfile=image), tools(Maker())
    )
    assert not found.ready
    assert "environment" not in found.proposal.entry
    said = " ".join(found.text.replace("#", "").split())
    assert "Dockerfile has /config/shop.cfg, which is not there" in said
    assert "environment: {SHOP_SETTINGS: /etc/shop/settings}" in said


def test_a_file_of_settings_that_must_say_something_is_asked_for_in_half_an_entry(tmp_path: Path) -> None:
    strict = OPENS + "if not open(os.environ['SHOP_SETTINGS']).read():\n    raise SystemExit('no site configured')\n"
    image = "FROM x\nENV SHOP_SETTINGS=/config/shop.cfg\nCMD gunicorn app:app\n"
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(
            project(tmp_path / "shop", requirements__txt="flask\n", app__py=strict, Dockerfile=image), tools(Maker())
        )
    assert "SHOP_SETTINGS: where it names a file of settings, the path of one on this machine" in str(caught.value)
    said = " ".join(caught.value.entry.text.replace("#", "").split())
    assert "environment: {SHOP_SETTINGS: /etc/shop/settings}" in said
    assert "vault_" not in said


def test_another_python_is_what_a_person_names(tmp_path: Path) -> None:
    named: list[str] = []

    def make(source: Mapping[str, Any], folder: Path, cache: Path, python: str = "") -> Made:
        named.append(python)
        return Made(Path(sys.executable), folder, minor="3.99")

    shop = project(tmp_path / "shop", app__py="import acme_missing\n" + FLASK, requirements__txt="flask\n")
    for answers in (Answers(), Answers(python="3.99")):
        with pytest.raises(flow.Unfinished, match=r"importing it here with Python 3\.99 fails"):
            flow.entry(shop, tools(make), answers=answers)
    assert named == ["", "3.99"]


def test_what_cannot_be_looked_at_to_the_end_gives_what_is_known_without_it(tmp_path: Path) -> None:
    broken = "import os\nif os.environ['TILL_KEY'] != 'x' * 32:\n    raise ValueError('a key has 32 bytes')\n" + FLASK
    shop = project(tmp_path / "shop", wsgi__py=broken, requirements__txt="flask\n",
                   Procfile="web: gunicorn -b :9000 wsgi:app\nworker: python work.py\n", work__py="")  # fmt: skip
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(shop, tools(Maker()))
    half = caught.value.entry
    assert not half.ready
    assert "TILL_KEY had values that were made up here" in str(caught.value)
    assert half.proposal.entry["entry_point"] == "wsgi:app"
    assert half.proposal.entry["listen"] == "0.0.0.0:9000"
    assert half.proposal.entry["processes"] == {"worker": "python work.py"}
    assert half.proposal.entry["secrets"] == {"TILL_KEY": "{{ vault_shop_till_key }}"}
    told = [question.text for question in half.proposal.questions if question.must]
    assert told[0].startswith("what is its entry_point, and which pages do users ask for?")
    assert "what is TILL_KEY?" in told[1]
    given = flow.entry(shop, tools(Maker()), answers=Answers(environment={"TILL_KEY": "x" * 32}))
    assert given.proposal.entry["health"] == "/"
    assert "x" * 32 not in given.text


@pytest.mark.parametrize(
    "error",
    [NetworkUnreachable("index.example was not reachable"), TooSlow("pip was slow"), BuildFailed("no compiler")],
)
def test_what_cannot_be_gathered_leaves_what_is_known_by_files(tmp_path: Path, error: Exception) -> None:
    def make(*_: Any) -> Made:
        raise error

    shop = project(tmp_path / "shop", app__py=FLASK, requirements__txt="flask\n")
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(shop, tools(make))
    assert caught.value.cause is error
    assert caught.value.entry.proposal.entry["entry_point"] == "app:app"
    text = " ".join(caught.value.entry.text.replace("#", "").split())
    assert str(error) in text
    assert ("; call it again" in text) is not isinstance(error, BuildFailed)
    assert ("Put that right" in text) is isinstance(error, BuildFailed)


def test_answers_of_a_person_go_before_what_new_app_finds(tmp_path: Path) -> None:
    asked: list[Mapping[str, Any]] = []

    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        asked.append(source)
        return Made(Path(sys.executable), folder)

    project(tmp_path / "all", oneSLASHapp__py=FLASK, twoSLASHapp__py="app = 3\n", twoSLASHother__py=FLASK)
    (tmp_path / "all/two/needs.txt").write_text("flask\n")
    answers = Answers("till", {"A": "{data}/a"}, (str(tmp_path / "all/two/needs.txt"), "x==1"), entry_point="other:app",
                      subdirectory="two")  # fmt: skip
    found = flow.entry(str(tmp_path / "all"), tools(make), answers=answers).proposal.entry
    assert found["name"] == "till"
    assert found["entry_point"] == "other:app"
    assert found["environment"] == {"A": "{data}/a"}
    assert found["source"] == {
        "path": str(tmp_path / "all"), "subdirectory": "two", "requirements": ["needs.txt", "x==1"],
    }  # fmt: skip
    assert (asked[0]["value"], asked[0]["requirements"]) == (str(tmp_path / "all/two"), ["needs.txt", "x==1"])


def test_a_lock_that_a_person_names_is_in_the_entry_and_is_gathered_by(tmp_path: Path) -> None:
    asked: list[Mapping[str, Any]] = []

    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        asked.append(source)
        return Made(Path(sys.executable), folder)

    shop = project(tmp_path / "shop", app__py=FLASK, shop__lock="flask==3.1.2\n")
    lock = f"{shop}/shop.lock"
    found = flow.entry(shop, tools(make), answers=Answers(lock=lock)).proposal.entry
    assert found["source"] == {"path": shop, "lock": lock}
    assert asked[0]["lock"] == lock


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (Answers(lock="/nowhere/x.lock"), "--lock is '/nowhere/x.lock', which is no file"),
        (Answers(requirements=("none.txt",)), "--requirements is 'none.txt', which is no file (looked for in "),
        (Answers(requirements=("/etc/os-release.txt",)), "which is no file: allowed is a file of the project"),
        (Answers(subdirectory="../x"), "--subdirectory is '../x': allowed is a folder in the source"),
        (Answers(entry_point="app.py:app"), "--entry-point is 'app.py:app': 'app.py' is a file"),
    ],
)
def test_an_answer_that_cannot_be_is_refused_by_its_option(tmp_path: Path, answers: Answers, words: str) -> None:
    shop = project(tmp_path / "shop", app__py=FLASK)
    with pytest.raises(Unknown) as caught:
        flow.entry(shop, tools(Maker()), answers=answers)
    assert words in str(caught.value)


def test_variables_of_a_member_of_the_workspace_are_seen(tmp_path: Path) -> None:
    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        site = folder / "site"
        (site / "till").mkdir(parents=True)
        (site / "till/__init__.py").write_text("import os\nKEY = os.environ['TILL_KEY']\n")
        return Made(Path(sys.executable), site, beside=("till/__init__.py",))

    shop = project(tmp_path / "shop", app__py=f"import till\n{FLASK}", requirements__txt="flask\n")

    def look(place: sandbox.Place, module: str, target: str) -> Any:
        return sandbox.look(replace(place, paths=(*place.paths, place.beside[0].parent)), module, target, 0.1)

    found = flow.entry(shop, flow.Tools(Path("/nowhere"), make, look)).proposal.entry
    assert found["secrets"] == {"TILL_KEY": "{{ vault_shop_till_key }}"}


def test_notes_name_no_folder_that_is_gone_and_no_server(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", app__py=FLASK, requirements__txt="flask\n")

    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        where = f"source path {source['value']!r}: "
        notes = (f"{where}x==1 is old", f"{where}uv.lock: gunicorn==25 gives way to gunicorn 27, which the plan needs")
        return Made(Path(sys.executable), folder, notes=notes)

    notes = flow.entry(shop, tools(make)).proposal.notes
    assert [note for note in notes if "concurrency" not in note] == ["x==1 is old"]


def test_a_guess_of_dependencies_that_fails_asks_for_their_versions(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", app__py="from flask import no_such_name\n" + FLASK)
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(shop, tools(Maker()))
    assert caught.value.cause.problem.fix == (
        "nothing in the project says versions, so that the newest of flask were taken: name those that it was made for "
        "with source.requirements, or in a requirements.txt"
    )


def test_a_project_that_says_no_versions_gets_older_ones_where_the_newest_lack_what_it_imports(tmp_path: Path) -> None:
    asked: list[Any] = []

    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        asked.append(source["requirements"])
        major = 3 - len(asked)
        lib = folder / "lib/python3.11/site-packages"
        (lib / f"acme_kit-{major}.2.dist-info").mkdir(parents=True)
        project(folder.parent / "tree", acme_kit__py="def build(): ...\n" if major == 1 else "")
        return Made(Path(sys.executable), lib)

    told: list[str] = []
    shop = project(tmp_path / "shop", app__py="from acme_kit import build\n" + FLASK)
    found = flow.entry(shop, tools(make, told)).proposal
    assert asked == [["acme-kit", "flask"], ["acme-kit<2", "flask"]]
    assert found.entry["source"]["requirements"] == ["acme-kit<2", "flask"]
    assert any("nothing says versions: trying acme-kit<2, flask" in text for text in told)


@pytest.mark.parametrize("works", ["Pipfile.lock", "requirements.txt", ""])
def test_of_two_files_that_contradict_each_other_the_one_is_taken_that_works(tmp_path: Path, works: str) -> None:
    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        if source["requirements"] is None:
            files = ("Pipfile.lock", "requirements.txt")
            raise Contradiction("a has x 1 and b has x 2: two; make one of them again", files)
        if source["requirements"] != [works]:
            raise BuildFailed("x 1 cannot be built")
        return Made(Path(sys.executable), folder)

    shop = project(tmp_path / "shop", app__py=FLASK, requirements__txt="x==2\n", Pipfile__lock="{}")
    if not works:
        with pytest.raises(flow.Unfinished) as caught:
            flow.entry(shop, tools(make))
        assert "; Pipfile.lock alone: x 1 cannot be built; requirements.txt alone: x 1 cannot" in str(caught.value)
        return
    found = flow.entry(shop, tools(make)).proposal
    assert found.entry["source"]["requirements"] == [works]
    assert [question.text for question in found.questions] == [
        f"is it {works} that counts? a has x 1 and b has x 2: two; with {works} alone it could be imported here"
    ]


@pytest.mark.parametrize("named", [(), ("flask", "markupsafe")])
def test_the_versions_of_what_a_person_named_are_no_question_of_a_half_entry(
    tmp_path: Path, named: tuple[str, ...]
) -> None:
    shop = project(tmp_path / "shop", app__py="import flask\nraise SystemExit('no')\napp = flask.Flask(__name__)\n")
    with pytest.raises(flow.Unfinished) as caught:
        flow.entry(shop, tools(Maker()), answers=Answers(requirements=named))
    asked = [question.text for question in caught.value.entry.proposal.questions]
    assert any(text.startswith("which versions does it need") for text in asked) is (not named)


def test_a_script_of_a_project_goes_behind_the_package_that_its_readme_names(tmp_path: Path) -> None:
    script = "from shop import create_app\napp = create_app()\n"
    files = {"README__md": "export FLASK_APP=shop:create_app", "accounts__py": script, "requirements__txt": "flask\n"}
    folder = project(tmp_path / "x", **files)
    factory = (
        "from flask import Flask\ndef create_app():\n    app = Flask('a')\n    app.route('/')(str)\n    return app\n"
    )
    (tmp_path / "x" / "shop").mkdir()
    (tmp_path / "x" / "shop" / "__init__.py").write_text(f"{factory}    return app\n")
    found = flow.entry(folder, tools(Maker()))
    assert found.proposal.entry["entry_point"] == "shop:create_app()"


def test_what_the_files_alone_decided_is_said_and_asked(tmp_path: Path) -> None:
    shop = project(tmp_path / "x", requirements__txt="flask\n", app__py="import acme\n" + FLASK)
    with pytest.raises(flow.Unfinished) as raised:
        flow.entry(shop, tools(Maker()))
    half = raised.value.entry
    assert "not imported here, so that its files alone decided" in half.proposal.comments["entry_point"]
    assert not half.ready


def test_of_several_projects_with_an_app_each_is_named(tmp_path: Path) -> None:
    files = {
        "shopSLASHserver__py": FLASK, "shopSLASHrequirements__txt": "flask\n",
        "siteSLASHmanage__py": "", "siteSLASHrequirements__txt": "django\n",
        "apiSLASHmain__py": "from fastapi import FastAPI\napp = FastAPI()\n", "apiSLASHrequirements__txt": "fastapi\n",
    }  # fmt: skip
    folder = project(tmp_path / "all", **files)
    with pytest.raises(flow.Unfinished, match=r"2 projects with an app: shop, site(.|\n)*--subdirectory shop"):
        flow.entry(folder, tools(Maker()))
    found = flow.entry(folder, tools(Maker()), answers=Answers(subdirectory="shop"))
    assert found.proposal.entry["entry_point"] == "server:app"
    (tmp_path / "all" / "app.py").write_text(FLASK)  # the top holds one, so that it is the project
    assert "subdirectory" not in flow.entry(folder, tools(Maker())).proposal.entry["source"]


def test_the_only_requirements_of_a_folder_below_count(tmp_path: Path) -> None:
    folder = project(tmp_path / "all", app__py=FLASK, deploySLASHrequirements__txt="flask==3.0.0\n")
    found = flow.entry(folder, tools(Maker())).proposal
    assert found.entry["source"]["requirements"] == ["deploy/requirements.txt"]
    assert "deploy/requirements.txt is the only file that says what it depends on" in found.comments["source"]


def test_a_guess_that_cannot_be_had_is_said_to_be_one(tmp_path: Path) -> None:
    def fails(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        raise BuildFailed("acme-native 1.0: there is no wheel")

    folder = project(tmp_path / "all", app__py=f"import acme\n{FLASK}")
    with pytest.raises(flow.Unfinished, match="no wheel; acme is a guess by the name of an import") as raised:
        flow.entry(folder, tools(fails))
    asked = [question.text for question in raised.value.entry.proposal.questions]
    assert any("that its imports do; acme is a guess" in text for text in asked)


def test_what_a_folder_that_a_person_names_came_to_is_told(tmp_path: Path) -> None:
    files = {"sandboxSLASHwsgi__py": "import acme\n" + FLASK, "till__py": "", "pyproject__toml": PACKAGE}
    folder = project(tmp_path / "x", **files)
    answers = Answers(environment={"PYTHONPATH": "sandbox"}, entry_point="wsgi:app")
    for fails in (None, LacksFiles):
        with pytest.raises(flow.Unfinished, match="No module named 'acme'"):
            flow.entry(folder, tools(Maker(fails)), answers=answers)
    (tmp_path / "x" / "sandbox" / "wsgi.py").write_text(FLASK)
    found = flow.entry(folder, tools(Maker()), answers=answers).proposal.entry
    assert (found["entry_point"], found["environment"]) == ("wsgi:app", {"PYTHONPATH": "sandbox"})
