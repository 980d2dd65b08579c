# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""From a folder to the text of an entry, in the sandbox, with an environment that is there already."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import flow, sandbox
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.environment import Made
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BuildFailed

FLASK = "from flask import Flask\napp = Flask(__name__)\n@app.route('/')\ndef index(): return 'hello'\n"
PACKAGE = '[project]\nname = "till"\n[build-system]\nrequires = []\n'


class Maker:
    """Gives the environment that the tests run in, and notes for what it was asked."""

    def __init__(self, fails: bool = False) -> None:
        self.asked: list[Any] = []
        self.fails = fails

    def __call__(self, source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        self.asked.append(source["as"])
        if source["as"] == "package" and self.fails:
            raise BuildFailed("it could not be built")
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


def test_a_package_that_cannot_be_built_is_taken_as_a_tree(tmp_path: Path) -> None:
    made = Maker(fails=True)
    found = flow.entry(project(tmp_path / "shop", app__py=FLASK, pyproject__toml=PACKAGE), tools(made))
    assert made.asked == ["package", "tree"]
    assert found.proposal.entry["source"]["as"] == "tree"
    assert "no wheel of it can be built here: its files are taken as they are" in " ".join(
        found.text.replace("#", "").split()
    )


def test_a_package_whose_wheel_holds_no_app_is_taken_as_a_tree(tmp_path: Path) -> None:
    made = Maker()
    found = flow.entry(project(tmp_path / "shop", app__py=FLASK, pyproject__toml=PACKAGE), tools(made))
    assert (made.asked, found.proposal.entry["name"]) == (["package", "tree"], "till")


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
    with pytest.raises(flow.Cannot) as caught:
        flow.entry(project(tmp_path / "shop", **files), tools(Maker()))
    assert str(caught.value).startswith("headcount_apps[0].entry_point ")
    assert ": allowed is " in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(("fails", "files"), [(False, "acme_missing"), (True, "acme_missing")])
def test_one_reason_is_told_where_neither_form_works(tmp_path: Path, fails: bool, files: str) -> None:
    shop = project(tmp_path / "shop", app__py=f"import {files}\n" + FLASK, pyproject__toml=PACKAGE)
    with pytest.raises(flow.Cannot) as caught:
        flow.entry(shop, tools(Maker(fails)))
    assert (files in str(caught.value)) is fails


def test_notes_name_no_folder_that_is_gone_and_no_server(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", app__py=FLASK, requirements__txt="flask\n")

    def make(source: Mapping[str, Any], folder: Path, cache: Path) -> Made:
        where = f"source path {source['value']!r}: "
        notes = (f"{where}x==1 is old", f"{where}uv.lock: gunicorn==25 gives way to gunicorn 27, which the plan needs")
        return Made(Path(sys.executable), folder, notes=notes)

    assert flow.entry(shop, tools(make)).proposal.notes == ("x==1 is old",)


def test_a_guess_of_dependencies_that_fails_asks_for_their_versions(tmp_path: Path) -> None:
    shop = project(tmp_path / "shop", app__py="from flask import no_such_name\n" + FLASK)
    with pytest.raises(flow.Cannot) as caught:
        flow.entry(shop, tools(Maker()))
    assert caught.value.problem.fix == (
        "nothing in the project says versions, so that the newest of flask were taken: name those that it was made for "
        "with source.requirements, or in a requirements.txt"
    )
