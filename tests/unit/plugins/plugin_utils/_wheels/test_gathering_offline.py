# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Gathering with the real uv, pip and git, from a folder of wheels and without a network."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import subprocess
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any, ClassVar, Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import sources, wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import WheelhouseError
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import Platform

BOOKWORM = Platform("3.11", "x86_64", "glibc 2.36")
# A build backend in the project itself, so that nothing has to be fetched: every file beside it goes into the wheel. As
# others do, it knows nothing of [tool.uv.sources].
BACKEND = """
import pathlib, re, zipfile
def build_wheel(out, config_settings=None, metadata_directory=None):
    text = pathlib.Path("pyproject.toml").read_text()
    name = re.search('name = "(.*?)"', text)[1]
    needs = re.findall("'(.*?)'", re.search(r"dependencies = \\[(.*)\\]", text)[1])
    file, info = f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    head = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n" + "".join(f"Requires-Dist: {x}\\n" for x in needs)
    with zipfile.ZipFile(pathlib.Path(out) / file, "w") as archive:
        for path in sorted(pathlib.Path(".").rglob("*")):
            if path.is_file():
                archive.write(path, f"{name}_files/{path}")
        archive.writestr(f"{info}/METADATA", head)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
    return file
def get_requires_for_build_wheel(config_settings=None):
    return []
"""


def project(folder: Path, name: str, needs: str = "", more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = [{needs}]\n'
        f'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n{more}',
        encoding="utf-8",
    )
    return folder


def public(folder: Path, name: str, version: str, needs: str = "", build: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    tags = f"{build}-py3-none-any" if build else "py3-none-any"
    with zipfile.ZipFile(folder / f"{name}-{version}-{tags}.whl", "w") as archive:
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
            f"Requires-Dist: {needs}\n" if needs else ""
        )
        archive.writestr(f"{info}/METADATA", head)
        made = f"Build: {build}\n" if build else ""
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n{made}")
        archive.writestr(f"{info}/RECORD", "")


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], cwd=folder, check=True, capture_output=True
    )


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place that packages come from, as pip.conf names it; uv learns of it from there."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "links"
    folder.mkdir()
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {folder}\n", encoding="utf-8")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    for name, version in (("pip", "99.0"), ("gunicorn", "27.0.1"), ("six", "1.17.0"), ("shoplib", "9.9")):
        public(folder, name, version)
    public(folder, "flask", "3.0.3", "werkzeug>=3")
    public(folder, "flask", "3.1.3", "werkzeug>=3")
    public(folder, "werkzeug", "3.0.3")
    public(folder, "werkzeug", "3.1.9")
    return folder


def gather(tmp_path: Path, folder: Path, server: Sequence[str] = ("gunicorn==27.0.1",), **more: Any) -> Any:
    source = {"kind": "path", "value": str(folder), **more}
    return wheelhouse.gather(source, BOOKWORM, server, tmp_path / "cache", tmp_path)


def inside(found: Any, name: str) -> set[str]:
    path = next(item.path for item in found.wheels if item.name == name)
    with zipfile.ZipFile(path) as archive:
        return {item.partition("/")[2] for item in archive.namelist() if "_files/" in item}


def test_all_that_is_declared_is_in_the_release(tmp_path: Path, links: Path) -> None:
    mono = tmp_path / "mono"
    project(mono / "packages/six", "six", more="[tool.x]\n")
    remote = project(tmp_path / "remote", "shoplib")
    git(remote, "init", "--quiet")
    git(remote, "add", ".")
    git(remote, "commit", "--quiet", "-m", "x")
    git(remote, "tag", "v1")
    (remote / "later.py").touch()
    git(remote, "add", ".")
    git(remote, "commit", "--quiet", "-m", "later")
    (mono / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*/*"]\n', encoding="utf-8")
    shop = project(
        mono / "services/shop", "shop", f"'flask>=2', 'six', 'shoplib @ git+file://{remote}@v1'",
        "[tool.uv.sources]\nsix = {workspace = true}\n",
    )  # fmt: skip
    (shop / "requirements.txt").write_text("flask==3.0.3\nwerkzeug==3.0.3\n", encoding="utf-8")
    (shop / ".env").write_text("SECRET=1\n", encoding="utf-8")
    (shop / ".gitignore").write_text("local_settings.py\n", encoding="utf-8")
    (shop / "local_settings.py").write_text("SECRET = 1\n", encoding="utf-8")
    git(mono, "init", "--quiet")
    found = gather(tmp_path, shop)
    assert found.distributions == {
        "shop": "1.0", "flask": "3.0.3", "werkzeug": "3.0.3", "six": "1.0", "shoplib": "1.0", "gunicorn": "27.0.1"
    }  # fmt: skip
    assert "later.py" not in inside(found, "shoplib")
    assert not {".env", "local_settings.py"} & inside(found, "shop")
    assert "requirements.txt" in inside(found, "shop")


def test_what_a_project_is_built_with_comes_from_where_pip_is_told(tmp_path: Path, links: Path) -> None:
    public(links, "onlyhere", "1.0")
    app = project(tmp_path / "app", "shop")
    path = app / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("requires = []", 'requires = ["onlyhere"]'), "utf-8")
    assert gather(tmp_path, app).distributions == {"shop": "1.0", "gunicorn": "27.0.1"}


def test_what_was_not_found_is_told_with_where_it_was_looked_for(tmp_path: Path, links: Path) -> None:
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, project(tmp_path / "app", "shop", "'nowhere'"))
    assert f"(asked: {links} (find-links)); correct the name or the version in the project" in str(caught.value)


def tree(folder: Path, files: dict[str, str]) -> Path:
    """A project that is no package."""
    for name, text in {"app.py": "import flask\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def held(found: Any) -> list[str]:
    with tarfile.open(found.tree.path) as archive:
        return archive.getnames()


def test_a_tree_goes_into_the_release_as_git_sees_it(tmp_path: Path, links: Path) -> None:
    files = {
        "requirements.txt": "-r requirements/live.txt\nsix\n",
        "requirements/live.txt": "flask==3.0.3\n",
        "pyproject.toml": "[tool.black]\nline-length = 100\n",
        "templates/mail/reset_password.txt": "hello\n",
        ".gitignore": "local.py\n.env\n",
        "local.py": "SECRET = 1\n",
        ".env": "SECRET=1\n",
    }
    app = tree(tmp_path / "app", files)
    git(app, "init", "--quiet")
    found = gather(tmp_path, app)
    assert found.distributions == {"flask": "3.0.3", "werkzeug": "3.1.9", "six": "1.17.0", "gunicorn": "27.0.1"}
    assert held(found) == sorted({"app.py", *files} - {"local.py", ".env"})
    assert found.form == "released as a tree: its pyproject.toml has no [project]"
    assert found.tree in found.files
    (app / "local.py").write_text("SECRET = 2\n", encoding="utf-8")
    assert gather(tmp_path, app) == found
    again = gather(tmp_path / "other", tree(tmp_path / "elsewhere", {k: files[k] for k in files if k in held(found)}))
    assert (again.id, again.tree.sha256) == (found.id, found.tree.sha256)
    (app / "templates/mail/reset_password.txt").write_text("hi\n", encoding="utf-8")
    changed = gather(tmp_path, app)
    assert changed.id != found.id
    assert changed.distributions == found.distributions


def test_a_package_is_taken_as_a_tree_when_somebody_says_so(tmp_path: Path, links: Path) -> None:
    app = tree(project(tmp_path / "app", "shop", "'flask==3.0.3'"), {})
    built, as_it_is = gather(tmp_path, app), gather(tmp_path, app, **{"as": "tree"})
    assert (built.tree, built.form) == (
        None,
        "released as a package: its pyproject.toml has [project] and [build-system]",
    )
    assert "shop" in built.distributions
    assert as_it_is.distributions == {"flask": "3.0.3", "werkzeug": "3.1.9", "gunicorn": "27.0.1"}
    assert as_it_is.form == "released as a tree: source.as says so"
    assert built.source_id != as_it_is.source_id


UV_LOCK = """version = 1
[[package]]
name = "shop"
version = "1"
source = { virtual = "." }
[[package]]
name = "flask"
version = "3.0.3"
source = { registry = "https://example.com/simple" }
[[package]]
name = "werkzeug"
version = "3.0.3"
source = { registry = "https://example.com/simple" }
[[package]]
name = "pytest"
version = "8"
source = { registry = "https://example.com/simple" }
"""
POETRY_LOCK = """[[package]]
name = "flask"
version = "3.0.3"
files = []
[[package]]
name = "werkzeug"
version = "3.0.3"
files = []
[[package]]
name = "pytest"
version = "8"
files = []
"""
PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
LOCKED = {"flask": "3.0.3", "werkzeug": "3.0.3", "gunicorn": "27.0.1"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param(
            {"pyproject.toml": PROJECT + 'dependencies = ["flask<3.1"]\n', "uv.lock": UV_LOCK}, LOCKED, id="uv"
        ),
        pytest.param(
            {
                "pyproject.toml": '[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = "^3.9"\n'
                'flask = "^3.0"\n[tool.poetry.group.dev.dependencies]\npytest = "^8"\n',
                "poetry.lock": POETRY_LOCK,
            },
            LOCKED,
            id="poetry",
        ),
        pytest.param(
            {
                "Pipfile": "",
                "Pipfile.lock": '{"default": {"flask": {"version": "==3.0.3"}, "werkzeug": {"version": "==3.0.3"}}, '
                '"develop": {"pytest": {"version": "==8"}}}',
            },
            LOCKED,
            id="pipenv",
        ),
        pytest.param(
            {
                "pyproject.toml": PROJECT + 'dependencies = ["flask<3.1"]\n',
                "pdm.lock": '[[package]]\nname = "flask"\nversion = "3.0.3"\n[[package]]\nname = "werkzeug"\n'
                'version = "3.0.3"\n[[package]]\nname = "pytest"\nversion = "8"\ngroups = ["dev"]\n',
            },
            LOCKED,
            id="pdm",
        ),
        pytest.param(
            {"Pipfile": '[packages]\nflask = "==3.0.3"\nwerkzeug = {version = "<3.1"}\n[dev-packages]\npytest = "*"\n'},
            LOCKED,
            id="pipenv, without its lock",
        ),
        pytest.param({"requirements.in": "flask<3.1\nwerkzeug<3.1\n"}, LOCKED, id="pip-tools, not compiled"),
        pytest.param(
            {
                "requirements.in": "flask\n",
                "Pipfile": '[packages]\nsix = "*"\n',
                "requirements.txt": "flask==3.0.3\nwerkzeug==3.0.3\n",
            },
            LOCKED,
            id="pip-tools, compiled",
        ),
        pytest.param(
            {
                "pylock.toml": '[[packages]]\nname = "flask"\nversion = "3.0.3"\n[[packages]]\nname = "werkzeug"\n'
                'version = "3.0.3"\n'
            },
            LOCKED,
            id="pylock",
        ),
        pytest.param(
            {"requirements/prod.txt": "-c limits.txt\nflask\n", "requirements/limits.txt": "flask<3.1\nwerkzeug<3.1\n"},
            LOCKED,
            id="a folder of requirements, with limits",
        ),
        pytest.param(
            {"pyproject.toml": PROJECT + 'dependencies = ["flask==3.0.3", "werkzeug<3.1"]\n'}, LOCKED, id="own"
        ),
        pytest.param(
            {
                "pyproject.toml": PROJECT + '[project.optional-dependencies]\nweb = ["werkzeug<3.1"]\n',
                "requirements.txt": "-e .[web]\nflask==3.0.3; python_version > '3.10'\nsix; python_version < '3'\n",
            },
            LOCKED,
            id="itself, with an extra",
        ),
        pytest.param(
            {"setup.cfg": "[options]\ninstall_requires =\n    flask==3.0.3\n    werkzeug==3.0.3\n"},
            LOCKED,
            id="setup.cfg",
        ),
    ],
)
def test_what_a_tree_depends_on_is_what_it_says(
    tmp_path: Path, links: Path, files: dict[str, str], expected: dict[str, str]
) -> None:
    assert gather(tmp_path, tree(tmp_path / "app", files)).distributions == expected


def test_source_requirements_count_instead_of_what_the_project_says(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "nowhere\n", "requirements/live.txt": "flask==3.0.3\n"})
    found = gather(tmp_path, app, requirements=["requirements/live.txt", "six==1.17.0"])
    assert found.distributions == {"flask": "3.0.3", "werkzeug": "3.1.9", "six": "1.17.0", "gunicorn": "27.0.1"}
    assert gather(tmp_path, app, requirements=[]).distributions == {"gunicorn": "27.0.1"}


@pytest.mark.parametrize("offered", ["", "1.0", "3.0"])
def test_what_a_plugin_of_a_tree_needs_of_it_is_the_tree_itself(tmp_path: Path, links: Path, offered: str) -> None:
    public(links, "forum_plugin", "2.0", "Forum>=3")
    if offered:
        public(links, "forum", offered)
    folder = tmp_path / "forum"
    folder.mkdir()
    told = '[project]\nname = "Forum"\nversion = "2.1"\ndependencies = ["flask", "forum-plugin>=2"]\n'
    (folder / "pyproject.toml").write_text(told, encoding="utf-8")
    (folder / "app.py").write_text("", encoding="utf-8")
    found = gather(tmp_path, folder)
    assert found.tree is not None
    assert set(found.distributions) == {"flask", "forum-plugin", "gunicorn", "werkzeug"}


def test_a_tree_of_a_workspace_gets_the_members_from_the_checkout(tmp_path: Path, links: Path) -> None:
    mono = tmp_path / "mono"
    project(mono / "packages/six", "six")
    (mono / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*/*"]\n', encoding="utf-8")
    told = PROJECT + 'dependencies = ["flask", "six"]\n[tool.uv.sources]\nsix = {workspace = true}\n'
    shop = tree(mono / "services/shop", {"pyproject.toml": told})
    found = gather(tmp_path, shop)
    assert found.distributions["six"] == "1.0"
    assert held(found) == ["app.py", "pyproject.toml"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "says what the app depends on: add a requirements.txt to the project, or name what it needs, as in"),
        (
            {"pyproject.toml": PROJECT + 'dependencies = ["flask", "six"]\n', "uv.lock": UV_LOCK},
            "[project] of pyproject.toml: six is not in uv.lock, which is more exact",
        ),
        (
            {"requirements-web.txt": "flask\n", "requirements-worker.txt": "flask\n"},
            "name what the app needs in production with source.requirements",
        ),
        (
            {"requirements.txt": "flask==3.0.3\n", "pyproject.toml": PROJECT + 'dependencies = ["flask>=3.1"]\n'},
            "flask",
        ),
    ],
)
def test_a_tree_that_does_not_say_what_it_depends_on_is_refused(
    tmp_path: Path, links: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, tree(tmp_path / "app", files))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"environment.yml": "dependencies: [flask]\n"},
            "depends on (environment.yml is conda's, and is not read): add",
        ),
        ({"Pipfile": '[packages]\nshoplib = {git = "https://h.example/shoplib.git"}\n'}, "make the Pipfile.lock"),
    ],
)
def test_a_file_that_says_what_cannot_be_taken_is_named(
    tmp_path: Path, links: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, tree(tmp_path / "app", files))
    assert words in str(caught.value)


def test_what_is_left_open_is_decided_once_and_kept(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "flask\nwerkzeug==3.0.3\n"})
    first = gather(tmp_path, app)
    assert first.distributions["flask"] == "3.1.3"
    public(links, "flask", "3.2.0", "werkzeug>=3")
    (app / "app.py").write_text("import flask, os\n", encoding="utf-8")
    later = gather(tmp_path, app)
    assert later.id != first.id
    assert later.distributions == first.distributions
    other_class = gather(tmp_path, app, server=["gunicorn==27.0.1", "six"])
    assert other_class.distributions == {**first.distributions, "six": "1.17.0"}
    assert other_class.kept == later.kept == first.kept
    assert "flask==3.1.3\n" in Path(first.kept).read_text(encoding="utf-8")
    Path(first.kept).unlink()
    assert gather(tmp_path, app).distributions["flask"] == "3.2.0"
    (app / "requirements.txt").write_text("flask==3.0.3\nwerkzeug==3.0.3\n", encoding="utf-8")
    assert gather(tmp_path, app).kept == ""


@pytest.mark.parametrize("change", ["newer", "gone", "again", "newer, and forgotten"])
def test_another_days_index_gives_the_same_release(tmp_path: Path, links: Path, change: str) -> None:
    """`forgotten`: what was gathered is no longer in the controller's cache, but for what is kept for good."""
    app = tree(tmp_path / "app", {"requirements.txt": "flask\nsix\n"})
    first = gather(tmp_path, app)
    public(links, "flask", "3.2.0", "werkzeug>=3")
    public(links, "werkzeug", "3.2.0")
    if change == "gone":
        (links / "flask-3.1.3-py3-none-any.whl").unlink()
    if change == "again":
        public(links, "six", "1.17.0", build="1")
    if "forgotten" in change:
        shutil.rmtree(tmp_path / "cache" / "sets")
    later = gather(tmp_path, app)
    assert (later.id, later.lock_text, later.notes) == (first.id, first.lock_text, first.notes)


def test_a_kept_version_is_had_from_the_index_that_has_it_for_this_python(tmp_path: Path, links: Path) -> None:
    """Of a version that it prefers uv looks at the first index that has it alone."""
    other = tmp_path / "other"
    other.mkdir()
    public(other, "six", "1.17.0")
    (other / "six-1.17.0-py3-none-any.whl").rename(other / "six-1.17.0-cp27-cp27m-manylinux_2_17_x86_64.whl")
    for folder in (links, other):
        for path in list(folder.glob("*.whl")):
            page = tmp_path / f"simple-{folder.name}" / path.name.partition("-")[0] / "index.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            with page.open("a", encoding="utf-8") as stream:
                stream.write(f'<a href="file://{path}">{path.name}</a>\n')
    places = [f"file://{tmp_path}/simple-{name}" for name in ("other", "links")]
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = {places[1]}\nextra-index-url = {places[0]}\n", encoding="utf-8"
    )
    app = tree(tmp_path / "app", {"requirements.txt": "flask\nsix==1.17.0\n"})
    first = gather(tmp_path, app)
    (app / "app.py").write_text("import flask, os\n", encoding="utf-8")
    assert gather(tmp_path, app).distributions == first.distributions


def test_that_what_was_decided_once_is_gone_is_told(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "flask\n"})
    gather(tmp_path, app)
    public(links, "flask", "3.2.0", "werkzeug>=3")
    (links / "flask-3.1.3-py3-none-any.whl").unlink()
    (app / "app.py").write_text("import flask, os\n", encoding="utf-8")
    told = "flask 3.1.3, which was decided once, gives way to 3.2.0: it is not to be had any more"
    assert any(note.startswith(told) for note in gather(tmp_path, app).notes)
    assert gather(tmp_path, app).notes == ()  # it is told by the run in which it happened


def test_that_another_class_of_worker_moves_a_version_is_told_once(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "six\n"})
    public(links, "six", "1.18.0")
    public(links, "hub", "1.0", "six<1.18")
    assert gather(tmp_path, app).distributions["six"] == "1.18.0"
    hub = ["gunicorn==27.0.1", "hub==1.0"]
    (note,) = gather(tmp_path, app, server=hub).notes
    assert note.startswith("six 1.18.0, which was decided once, gives way to 1.17.0")
    assert gather(tmp_path, app, server=hub).notes == gather(tmp_path, app).notes == ()


@pytest.mark.parametrize(("pinned", "told"), [("21.2.0", True), ("27.0.1", False)])
def test_the_gunicorn_in_the_metadata_of_a_project_is_seen_and_replaced(
    tmp_path: Path, links: Path, pinned: str, told: bool
) -> None:
    found = gather(tmp_path, project(tmp_path / "app", "shop", f"'flask', 'gunicorn=={pinned}'"))
    assert found.gunicorn == pinned
    assert found.distributions["gunicorn"] == "27.0.1"
    words = f"the project's metadata: gunicorn=={pinned} gives way to gunicorn 27.0.1"
    assert any(words in note for note in found.notes) is told


def test_a_wheel_that_lacks_what_the_app_looks_for_is_refused_before_a_host_is_touched(
    tmp_path: Path, links: Path
) -> None:
    app = project(tmp_path / "app", "shop", "'flask==3.0.3'")
    text = (app / "backend.py").read_text(encoding="utf-8")
    # It takes modules alone, as setuptools does without package-data.
    (app / "backend.py").write_text(
        text.replace('f"{name}_files/{path}"', "path").replace('rglob("*")', 'rglob("*.py")')
    )
    tree(app, {"shop/__init__.py": "import config\n", "shop/templates/index.html": "hello\n", "config.py": ""})
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, app)
    assert "the wheel that is built of it lacks shop/templates/ (1 file), which the app would not find: take" in str(
        caught.value
    )
    assert "source.as: tree" in str(caught.value)
    told = gather(tmp_path, app, **{"as": "package"})
    assert [note for note in told.notes if "lacks shop/templates/ (1 file); source.as: tree would have it" in note]
    assert "shop/templates/index.html" in held(gather(tmp_path, app, **{"as": "tree"}))


def test_a_conflict_names_the_lines_that_it_is_about(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "six\nflask==3.0.3\nwerkzeug==2.0\n"})
    public(links, "werkzeug", "2.0")
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, app)
    told = str(caught.value)
    assert "flask==3.0.3 needs werkzeug>=3, but werkzeug==2.0 is required" in told
    assert "(requirements.txt, line 2 has flask==3.0.3, requirements.txt, line 3 has werkzeug==2.0)" in told
    assert "make it again" not in told  # a person has written it
    text = (app / "requirements.txt").read_text(encoding="utf-8")
    (app / "requirements.txt").write_text(f"# This file was autogenerated by uv\n{text}", encoding="utf-8")
    with pytest.raises(WheelhouseError, match=r"requirements\.txt of .* says which versions: make it again after"):
        gather(tmp_path, app)


class _Refusing(http.server.BaseHTTPRequestHandler):
    status = 401

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize("status", [401, 403])
def test_an_index_that_lets_nobody_in_is_told_although_uv_passes_over_it(
    tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(_Refusing, "status", status)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "none").mkdir()
    place = f"127.0.0.1:{server.server_port}/simple"
    (tmp_path / "pip.conf").write_text(
        f"[global]\nindex-url = file://{tmp_path}/none\nextra-index-url = http://ada:x7hq2@{place}\n"
        f"find-links = {links}\n",
        encoding="utf-8",
    )
    app = tree(tmp_path / "app", {"requirements.txt": "six\nnclib==1.2\n"})
    try:
        with pytest.raises(WheelhouseError) as caught:
            gather(tmp_path, app)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    told = str(caught.value)
    assert f"the index http://{place} (pip's settings) answered {status} " in told
    assert told.endswith("(requirements.txt, line 2 has nclib==1.2)")
    assert "x7hq2" not in told


class _Counting(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


SDIST = """
import sys, zipfile
from pathlib import Path
def build_wheel(out, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(Path(out) / "extra-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("extra-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: extra\\nVersion: 1.0\\n")
        about = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
        archive.writestr("extra-1.0.dist-info/WHEEL", about)
        archive.writestr("extra-1.0.dist-info/RECORD", "")
    return "extra-1.0-py3-none-any.whl"
"""


@pytest.mark.parametrize("kept", ["wheel", "source", "built"])
def test_what_a_url_with_a_hash_names_is_fetched_once(
    tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    served = tmp_path / "served"
    served.mkdir()
    if kept == "wheel":
        public(served, "extra", "1.0")
    else:
        table = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        with tarfile.open(served / "extra-1.0.tar.gz", "w:gz") as archive:
            for name, text in (("pyproject.toml", table), ("backend.py", SDIST), ("PKG-INFO", "Name: extra\n")):
                (tmp_path / name).write_text(text, encoding="utf-8")
                archive.add(tmp_path / name, f"extra-1.0/{name}")
    (file,) = served.iterdir()
    digest = sources.file_digest(file)
    monkeypatch.setattr(_Counting, "asked", [])
    handler = functools.partial(_Counting, directory=str(served))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    line = f"extra @ http://127.0.0.1:{server.server_port}/{file.name} --hash=sha256:{digest}\n"
    app = tree(tmp_path / "app", {"requirements.txt": line, "app.py": "1\n"})
    try:
        first = gather(tmp_path, app)
        (app / "app.py").write_text("2\n", encoding="utf-8")
        if kept == "built":
            shutil.rmtree(tmp_path / "cache" / "wheels" / digest)
        second = gather(tmp_path, app)
        (app / "requirements.txt").write_text(line.replace(digest, "0" * 64), encoding="utf-8")
        with pytest.raises(WheelhouseError, match="its hash differs"):
            gather(tmp_path, app)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert first.distributions == second.distributions == {"extra": "1.0", "gunicorn": "27.0.1"}
    assert _Counting.asked == [f"/{file.name}"] * 2


def test_a_configuration_of_gunicorn_in_the_project_is_told(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "six\n", "gunicorn.conf.py": "timeout = 9\npidfile = 'run'\n"})
    (note,) = gather(tmp_path, app).notes
    assert "gunicorn.conf.py is not read" in note
    assert note.endswith("the inventory to say: settings.timeout; without effect here: pidfile")


def test_a_tracked_secret_of_a_repository_is_told_as_that_of_a_folder_is(tmp_path: Path, links: Path) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "six\n", ".env": "SECRET=1\n", "conf/dev.db": ""})
    git(app, "init", "--quiet")
    git(app, "add", "--all")
    git(app, "commit", "--quiet", "-m", "x")
    source = {"kind": "git", "value": f"file://{app}"}
    found = wheelhouse.gather(source, BOOKWORM, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path)
    assert {".env", "conf/dev.db"} <= set(held(found))
    (note,) = found.notes
    assert note == (
        f"source git 'file://{app}': shipped, because git tracks it, although by its name it is a secret or data: "
        ".env, conf/dev.db; `git rm --cached` takes it out of the project"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("requirements.txt", "six\n# --extra-index-url https://me:s3cret@h.example/simple\n"),
        ("requirements-dev.txt", "six\npytest  # from https://s3cret@h.example/simple\n"),
        ("deploy/pip.conf", "[global]\nindex-url = https://me:s3cret@h.example/simple\n"),
        ("Dockerfile", "FROM x\nRUN pip install -i https://h.example/simple?token=s3cret -r requirements.txt\n"),
        ("requirements/old.txt", "\n#git+ssh://me:s3cret@h.example/x.git\n"),
    ],
)
def test_a_credential_is_in_no_file_of_a_tree_that_says_where_packages_come_from(
    tmp_path: Path, links: Path, name: str, text: str
) -> None:
    app = tree(tmp_path / "app", {"requirements.txt": "six\n", name: text})
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, app)
    said = str(caught.value)
    assert f"{name}, line 2: " in said
    assert "h.example" in said
    assert "which would get into the release" in said
    assert "s3cret" not in said


def test_what_only_looks_like_a_credential_is_no_hindrance(tmp_path: Path, links: Path) -> None:
    text = "six\n# -i https://user:password@h.example/simple or https://<user>:<token>@h/\n"
    text += "# git+ssh://git@h.example/a.git, -i https://me:${PASSWORD}@h.example/, see https://h.example/?page=2\n"
    files = {"requirements.txt": text, "compose.yml": "DATABASE_URL: postgres://shop:dev@db/shop\n"}
    assert gather(tmp_path, tree(tmp_path / "app", files)).tree is not None


def test_only_wheels_are_taken_of_what_is_to_come_as_wheels(tmp_path: Path, links: Path) -> None:
    with tarfile.open(links / "six-2.0.tar.gz", "w:gz") as archive:
        info = tmp_path / "PKG-INFO"
        info.write_text("Metadata-Version: 2.2\nName: six\nVersion: 2.0\n", encoding="utf-8")
        archive.add(info, "six-2.0/PKG-INFO")
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'six'\nversion = '2.0'\n", encoding="utf-8")
        archive.add(tmp_path / "pyproject.toml", "six-2.0/pyproject.toml")
    app = tree(tmp_path / "app", {"requirements.txt": "--only-binary six\nsix\n"})
    assert gather(tmp_path, app).distributions["six"] == "1.17.0"
    (app / "requirements.txt").write_text("--only-binary :all:\nsix==2.0\n", encoding="utf-8")
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, app)
    told = "six==2.0 has no wheel for Python 3.11, and of it nothing but wheels may be taken (--only-binary)"
    assert f"{told} (requirements.txt, line 2 has six==2.0)" in str(caught.value)


def test_a_version_without_a_wheel_names_the_oldest_one_that_has_one(tmp_path: Path, links: Path) -> None:
    for version, tag in (("1.0", "cp39-cp39-linux_x86_64"), ("2.0", "cp39-cp39-linux_x86_64"), ("3.0", "py3-none-any")):
        public(links, "native", version)
        (links / f"native-{version}-py3-none-any.whl").rename(links / f"native-{version}-{tag}.whl")
    public(links, "native", "4.0")
    app = tree(tmp_path / "app", {"requirements.txt": "native==1.0\n"})
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, app)
    assert (
        "native==1.0 has neither a wheel for Python 3.11 on x86_64 with glibc 2.36 nor a source; allow another version "
        "of it (3.0 is the oldest after it that has a wheel), or have headcount_python name Python 3.9, which it has a "
        "wheel for (requirements.txt, line 1 has native==1.0)"
    ) in str(caught.value)


@pytest.mark.parametrize("backend", ["poetry.masonry.api", "nowhere.api"])
def test_a_project_that_cannot_be_built_may_be_a_tree(tmp_path: Path, links: Path, backend: str) -> None:
    app = tree(project(tmp_path / "app", "shop", "'flask==3.0.3'"), {})
    text = (app / "pyproject.toml").read_text(encoding="utf-8")
    text = text.replace('build-backend = "backend"', f'build-backend = "{backend}"')
    (app / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path, app)
    said = str(caught.value)
    assert "it could not be built: " in said
    assert "take the project as it is, without building it, with source.as: tree" in said
    assert ('requires = ["poetry-core"]' in said) is (backend == "poetry.masonry.api")


def test_a_project_with_nothing_but_a_setup_py_may_be_a_tree(tmp_path: Path, links: Path) -> None:
    text = "from setuptools import setup\nsetup(name='shop', install_requires=['flask==3.0.3'])\n"
    app = tree(tmp_path / "app", {"setup.py": text})
    assert gather(tmp_path, app, **{"as": "tree"}).distributions["flask"] == "3.0.3"
