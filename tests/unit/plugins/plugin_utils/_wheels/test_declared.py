# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project declares of its dependencies: every line is a pin, a requirement, a build, or an error."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import declared, sources
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.contradictions import check_python, lacks
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.lockfiles import Direct, direct_of
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.locks import Pinned
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadLock, BadSource
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import Platform

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
LOCK = f"""# made by uv
--index-url https://index.example/simple
click==8.1.8 ; python_full_version < '3.10' \\
    --hash=sha256:{B} \\
    --hash=sha256:{A}
click==8.5.1 ; python_full_version >= '3.10' \\
    --hash=sha256:{C}
    # via flask
colorama==0.4.6 ; sys_platform == 'win32' --hash=sha256:{A}
Zope.Event[test]==6.2 --hash=sha256:{A} --hash=md5:00  # a comment
"""


def environment(python: str = "3.11") -> dict[str, str]:
    return Platform(python, "x86_64", "glibc 2.36").markers()


def project(folder: Path, dependencies: str = "", more: str = "", name: str = "shop") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[project]\nname = "{name}"\nversion = "1"\ndependencies = [{dependencies}]\n{more}'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def read(folder: Path, **files: str) -> declared.Declared:
    if not (folder / "pyproject.toml").exists():
        project(folder)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return declared.declared(folder, folder, environment())


def refusal(folder: Path, **files: str) -> str:
    with pytest.raises((BadLock, BadSource)) as caught:
        read(folder, **files)
    return str(caught.value)


# -- requirements files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("python", "click"), [("3.9", Pinned("click", "8.1.8", (A, B))), ("3.13", Pinned("click", "8.5.1", (C,)))]
)
def test_a_whole_lock_holds_only_what_the_platform_needs(tmp_path: Path, python: str, click: Pinned) -> None:
    (tmp_path / "requirements.txt").write_text(LOCK, encoding="utf-8")
    found = declared.requirements_file(tmp_path / "requirements.txt", tmp_path, environment(python))
    assert found.pins == (click, Pinned("zope-event", "6.2", (A,)))
    assert found.complete
    assert found.indexes.default is not None
    assert found.indexes.default.url == "https://index.example/simple"


def test_pins_without_hashes_are_pins(tmp_path: Path) -> None:
    found = read(tmp_path, requirements__txt="Flask==3.0.3\nblinker==1.8.2\nrequests>=2\n")
    assert found.requirements == (
        ("requirements.txt, line 1", "Flask==3.0.3"),
        ("requirements.txt, line 2", "blinker==1.8.2"),
        ("requirements.txt, line 3", "requests>=2"),
    )
    assert {pin.name: (pin.version, pin.hashes) for pin in found.pins} == {
        "flask": ("3.0.3", ()), "blinker": ("1.8.2", ())
    }  # fmt: skip
    assert not found.complete


def test_a_lock_with_one_line_without_a_hash_keeps_the_others(tmp_path: Path) -> None:
    found = read(tmp_path, requirements__txt=f"flask==3.0.3 --hash=sha256:{A}\nblinker==1.8.2\n")
    assert found.pins == (Pinned("flask", "3.0.3", (A,)), Pinned("blinker", "1.8.2", ()))
    assert not found.complete


def test_files_that_it_includes(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/base.txt").write_text("-c limits.txt\nflask>=3\n-r ../requirements.txt\n", encoding="utf-8")
    (tmp_path / "more/limits.txt").write_text("werkzeug<3.1\nflask==3.0.3\n", encoding="utf-8")
    found = read(tmp_path, requirements__txt="-r more/base.txt\n")
    assert found.requirements == (("more/base.txt, line 2", "flask>=3"),)
    assert found.constraints == ("werkzeug<3.1", "flask==3.0.3")
    both = declared.requirements_file(tmp_path / "requirements.txt", tmp_path, environment())
    assert both.constraints == ("werkzeug<3.1", "flask==3.0.3")
    assert refusal(tmp_path, requirements__txt="flask\n-r more/gone.txt\n").startswith(
        "requirements.txt, line 2 names more/gone.txt, which cannot be read: No such file or directory: correct the "
    )


def test_what_uv_exports_is_a_lock_of_the_project(tmp_path: Path) -> None:
    found = read(tmp_path, requirements__txt=f"-e .\nflask==3.0.3 \\\n    --hash=sha256:{A}\n    # via shop\n")
    assert found.complete
    assert found.wanted_direct == ()


@pytest.mark.parametrize(
    ("line", "direct"),
    [
        ("shoplib @ git+https://h.example/shoplib.git@v1", ("shoplib", "git", "https://h.example/shoplib.git", "v1")),
        ("git+ssh://git@h/a/b.git@feature/x#egg=Shop_Lib", ("shop-lib", "git", "ssh://git@h/a/b.git", "feature/x")),
        ("-e git+git@h.example:a/b.git#egg=b&subdirectory=sub", ("b", "git", "git@h.example:a/b.git", "")),
        ("git+file:///tmp/x.git@0a1b#egg=x", ("x", "git", "file:///tmp/x.git", "0a1b")),
        ("https://h.example/x-1.0-py3-none-any.whl", ("", "url", "https://h.example/x-1.0-py3-none-any.whl", "")),
        ("./lib/x-1.0-py3-none-any.whl", ("", "path", "{folder}/lib/x-1.0-py3-none-any.whl", "")),
        ("-e ./packages/six[extra]", ("", "path", "{folder}/packages/six", "")),
        ("six @ file:///srv/six", ("six", "path", "/srv/six", "")),
    ],
)  # fmt: skip
def test_what_comes_from_elsewhere(tmp_path: Path, line: str, direct: tuple[str, str, str, str]) -> None:
    (found,) = read(tmp_path, requirements__txt=f"{line}\n").wanted_direct
    expected = (direct[0], direct[1], direct[2].format(folder=tmp_path.resolve()), direct[3])
    assert (found.name, found.kind, found.value, found.revision) == expected
    assert found.subdirectory == ("sub" if "subdirectory" in line else "")
    assert found.extras == (("extra",) if "[extra]" in line else ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==1\na==2\n", "requirements.txt, line 2: a is pinned to 1 and to 2 for one platform"),
        ("a==1 ; moon == 'full'\n", "requirements.txt, line 1: \"a==1 ; moon == 'full'\" is not a requirement: "),
        ("flask=3\n", "requirements.txt, line 1: 'flask=3' is not a requirement: "),
        ("--no-binary :all:\n", "requirements.txt, line 1: --no-binary is not understood here: remove it, or "),
        ("flask\n--pre\n", "requirements.txt, line 2: --pre is not understood here: remove it, or "),
        (
            "flask==3.1.2 --global-option=x\n",
            "requirements.txt, line 1: --global-option of a requirement is not understood here: remove it, or ",
        ),
        ("-i https://${NO_SUCH_TOKEN}@h.example\n", "requirements.txt, line 1: the environment variable NO_SUCH_"),
        ("x @ git+https://me:pw@h.example/x.git\n", "requirements.txt, line 1: x has a user or a password in its URL"),
        ("x @ hg+https://h.example/x\n", "requirements.txt, line 1: x comes from hg: only git's repositories are read"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    said = refusal(tmp_path, requirements__txt=text)
    assert said.startswith(message)
    assert "me:pw" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"--require-hashes\nflask==3.0.3 --hash=sha256:{A}\nsix==1.17.0\n",
            "requirements.txt, line 3: six==1.17.0 has no hash, and requirements.txt, line 1 has --require-hashes: "
            "write its version with == and the sha256 of its files there",
        ),
        ("six>=1\n-r more.txt\n", "requirements.txt, line 1: six>=1 has no hash, and more.txt, line 1 has --require-"),
        (
            "--require-hashes\nx @ git+https://h.example/x.git@v1\n",
            "requirements.txt, line 2: x @ git+https://h.example/x.git@v1 has no hash, and requirements.txt, line 1 "
            "has --require-hashes: name a wheel or an archive by its URL with #sha256=",
        ),
        (f"six>=1 --hash=sha256:{A}\n", "requirements.txt, line 1: six>=1 has a hash and no version, so that it could"),
    ],
)
def test_a_hash_that_is_asked_for_and_not_there_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, requirements__txt=text, more__txt="--require-hashes\n").startswith(message)


def test_every_hash_that_is_asked_for_is_there(tmp_path: Path) -> None:
    limits = f"six==1.17.0 --hash=sha256:{B}\nnot-wanted==1\n"
    text = f"-e .\n--require-hashes\n-c limits.txt\nflask==3.0.3 --hash=sha256:{A}\nsix==1.17.0\n"
    text += f"https://h.example/x-1.0-py3-none-any.whl#sha256={C}\nunused; sys_platform == 'win32'\n"
    found = read(tmp_path, requirements__txt=text, limits__txt=limits)
    assert {pin.name: pin.hashes for pin in found.pins} == {"flask": (A,), "six": (B,), "not-wanted": ()}


def test_options_about_wheels_hold(tmp_path: Path) -> None:
    found = read(tmp_path, requirements__txt="--only-binary :all:\n--only-binary=:none:,six\n--prefer-binary\nsix\n")
    assert (found.only_binary, found.prefer_binary) == (("six",), True)
    assert read(tmp_path, requirements__txt="six\n").only_binary == ()


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://me:s3cret@h.example/simple",
        "--index-url=https://me:s3cret@h.example/simple",
        "-i https://s3cret@h.example/simple",
        "-ihttps://${INDEX_USER}:s3cret@h.example/simple",
        "-f https://me:s3cret@h.example/files",
        "--find-links https://h.example/files?access_token=s3cret",
        "flask --extra-index-url https://me:s3cret@h.example/simple",
    ],
)
def test_an_index_with_a_credential_is_refused(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_USER", "me")
    said = refusal(tmp_path, requirements__txt="flask\n-r more.txt\n", more__txt=f"click\n{line}\n")
    assert re.match(r"more\.txt, line 2: -[a-z-]+ https?://", said)
    assert "h.example" in said
    assert "~/.netrc or a variable of the controller (UV_INDEX, PIP_EXTRA_INDEX_URL)" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "files",
    [
        {"uv__toml": '[[index]]\nname = "inner"\nurl = "https://me:s3cret@h.example/simple"\n'},
        {"uv__toml": 'find-links = ["https://me:s3cret@h.example/files"]\n'},
        {"Pipfile__lock": '{"default": {}}', "Pipfile": '[[source]]\nurl = "https://me:s3cret@h.example/simple"\n'},
    ],
)
def test_an_index_with_a_credential_is_refused_in_every_file(tmp_path: Path, files: dict[str, str]) -> None:
    said = refusal(tmp_path, **files)
    assert "***@h.example" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("user", ["oauth2accesstoken", "VssSessionToken", "aws", "__token__"])
def test_an_index_may_name_the_user_whose_token_a_keyring_has(tmp_path: Path, user: str) -> None:
    found = read(tmp_path, requirements__txt=f"-i https://{user}@h.example/simple\n").indexes
    assert found.default is not None
    assert found.default.url == f"https://{user}@h.example/simple"


def test_an_index_may_have_its_credential_from_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_TOKEN", "s3cret")
    text = "-i https://__token__:${INDEX_TOKEN}@h.example/simple\n-f https://h.example/files?token=${INDEX_TOKEN}\n"
    found = read(tmp_path, requirements__txt=text).indexes
    assert found.default is not None
    assert found.default.url == "https://__token__:s3cret@h.example/simple"
    assert "s3cret" not in found.told()


@pytest.mark.parametrize(
    "line",
    [
        "x @ https://h.example/x-1-py3-none-any.whl?token=s3cret",
        "x @ git+https://h.example/x.git?access_token=s3cret",
        "-e git+https://h.example/x.git?a=1&private_token=s3cret#egg=x",
        "https://h.example/x-1.tar.gz?X-Amz-Signature=s3cret",
    ],
)
def test_a_token_in_the_query_is_refused(tmp_path: Path, line: str) -> None:
    said = refusal(tmp_path, requirements__txt=f"{line}\n")
    assert said.startswith("requirements.txt, line 1: ")
    assert " has a value of the parameter " in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    "line",
    [
        f"flask==3.0.0 --hash=sha512:{A}{B}",
        "flask==3.0.0 --hash=md5:00",
        "flask==3.0.0 --hash=sha256:zz",
        f"flask==3.0.0 --hash=sha256:{A} --hash=sha256:{B}0",
        f"flask==3.0.0 --hash=sha265:{A}",
        "flask==3.0.0 --hash sha256",
        "flask==3.0.0 --hash=",
        "x @ https://h.example/x-1-py3-none-any.whl#sha512=00",
        "x @ https://h.example/x-1-py3-none-any.whl#sha256=zz",
    ],
)
def test_a_hash_that_would_not_be_checked_is_refused(tmp_path: Path, line: str) -> None:
    said = refusal(tmp_path, requirements__txt=f"click\n{line}\n")
    assert said.startswith("requirements.txt, line 2: ")
    assert "allowed is sha256 with 64 hex digits" in said


# -- locks of other tools ---------------------------------------------------------------------------------------------

UV = f"""version = 1
requires-python = ">=3.9"
resolution-markers = ["python_full_version >= '3.10'", "python_full_version < '3.10'"]
[[package]]
name = "click"
version = "8.1.8"
source = {{ registry = "https://packages.example.org/simple" }}
resolution-markers = ["python_full_version < '3.10'"]
[[package]]
name = "click"
version = "8.5.1"
source = {{ registry = "https://packages.example.org/simple" }}
resolution-markers = ["python_full_version >= '3.10'"]
sdist = {{ url = "https://h/click.tar.gz", hash = "sha256:{A}" }}
wheels = [{{ url = "https://h/click.whl", hash = "sha256:{B}" }}]
[[package]]
name = "shop"
version = "1"
source = {{ editable = "." }}
[[package]]
name = "six"
version = "0.1"
source = {{ editable = "packages/six" }}
[[package]]
name = "zoo"
version = "2"
source = {{ git = "https://h.example/zoo.git?subdirectory=py&rev=v2#{"0a" * 20}" }}
"""
POETRY = f"""[[package]]
name = "flask"
version = "3.0.3"
optional = false
python-versions = ">=3.8"
files = [{{file = "flask.whl", hash = "sha256:{A}"}}, {{file = "flask.tar.gz", hash = "sha256:{B}"}}]
[[package]]
name = "importlib-metadata"
version = "8.0"
markers = "python_version < '3.10'"
python-versions = ">=3.8"
files = []
[[package]]
name = "zoo"
version = "2"
python-versions = "*"
[package.source]
type = "git"
url = "https://h.example/zoo.git"
reference = "v2"
resolved_reference = "{"0a" * 20}"
"""
PDM = f"""[metadata]
groups = ["default", "dev"]
lock_version = "4.5.0"
[[package]]
name = "flask"
version = "3.0.3"
requires_python = ">=3.8"
groups = ["default"]
files = [{{file = "flask.whl", hash = "sha256:{A}"}}, {{file = "flask.tar.gz", hash = "sha256:{B}"}}]
[[package]]
name = "flask"
version = "3.0.3"
extras = ["async"]
groups = ["default"]
dependencies = ["asgiref>=3.2", "flask==3.0.3"]
[[package]]
name = "importlib-metadata"
version = "8.0"
groups = ["default"]
marker = "python_version < '3.10'"
files = []
[[package]]
name = "tomli"
version = "2"
requires_python = "<3.11"
files = []
[[package]]
name = "shop"
version = "1"
path = "."
editable = true
[[package]]
name = "zoo"
version = "2"
git = "https://h.example/zoo.git"
ref = "v2"
revision = "{"0a" * 20}"
"""
PIPFILE = json.dumps(
    {
        "default": {
            "flask": {"version": "==3.0.3", "hashes": [f"sha256:{A}"]},
            "shop": {"path": ".", "editable": True},
            "zoo": {"git": "https://h.example/zoo.git", "ref": "0a" * 20},
            "colorama": {"version": "==0.4.6", "markers": "sys_platform == 'win32'"},
        },
        "develop": {"pytest": {"version": "==8"}},
    }
)
PYLOCK = f"""lock-version = "1.0"
[[packages]]
name = "flask"
version = "3.0.3"
wheels = [{{url = "https://h/flask.whl", hashes = {{sha256 = "{A}"}}}}]
[[packages]]
name = "zoo"
vcs = {{type = "git", url = "https://h.example/zoo.git", commit-id = "{"0a" * 20}", subdirectory = "py"}}
[[packages]]
name = "tomli"
version = "2"
marker = "python_version < '3.11'"
"""


@pytest.mark.parametrize(
    ("name", "text", "pin", "wanted"),
    [
        ("uv.lock", UV, Pinned("click", "8.5.1", (A, B)), False),
        ("poetry.lock", POETRY, Pinned("flask", "3.0.3", (A, B)), False),
        ("pdm.lock", PDM, Pinned("flask", "3.0.3", (A, B)), False),
        ("Pipfile.lock", PIPFILE, Pinned("flask", "3.0.3", (A,)), True),
        ("pylock.toml", PYLOCK, Pinned("flask", "3.0.3", (A,)), True),
    ],
)
def test_locks_of_other_tools(tmp_path: Path, name: str, text: str, pin: Pinned, wanted: bool) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = read(tmp_path)
    assert (found.label, found.pins, found.complete) == (name, (pin,), True)
    assert found.requirements == (((name, f"{pin.name}=={pin.version}"),) if wanted else ())
    zoo = found.direct["zoo"]
    assert (zoo.kind, zoo.value, zoo.revision) == ("git", "https://h.example/zoo.git", "0a" * 20)
    assert bool(found.wanted_direct) == wanted
    assert "shop" not in found.direct


def test_a_lock_that_is_no_lock(tmp_path: Path) -> None:
    assert "uv.lock cannot be read" in refusal(tmp_path, uv__lock="<<<<<<< HEAD\n")
    assert refusal(tmp_path, uv__lock='[[package]]\nname = "x"\n') == (
        "uv.lock is not understood (KeyError: 'source'): make it again with `uv lock`"
    )


@pytest.mark.parametrize(
    ("name", "text", "command"),
    [("uv.lock", '[[package]]\nname = "x', "uv lock"), ("poetry.lock", "[[pack", "poetry lock"),
     ("pdm.lock", "[", "pdm lock"), ("Pipfile.lock", '{"default": {', "pipenv lock")],
)  # fmt: skip
def test_a_lock_that_was_cut_is_refused_with_what_makes_it_again(
    tmp_path: Path, name: str, text: str, command: str
) -> None:
    said = refusal(tmp_path, **{name.replace(".", "__"): text})
    assert f"{name} cannot be read: " in said
    assert said.endswith(f": was it cut, or merged by hand? Make it again with `{command}`")


def test_two_locks_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, poetry__lock=POETRY, requirements__txt="flask==3.1.0\n") == (
        "poetry.lock has flask 3.0.3 and requirements.txt has flask 3.1.0: two files that contradict each other; make "
        "one of them again from the other, remove one, or say which one counts with source.requirements or source.lock"
    )
    said = refusal(tmp_path, requirements__txt="flask>=3.1\n")
    assert said.startswith("requirements.txt, line 1: flask>=3.1 contradicts poetry.lock, which has flask 3.0.3: ")
    said = refusal(tmp_path, requirements__txt="redis\n")
    assert said.startswith("requirements.txt, line 1: redis is not in poetry.lock, which is more exact: ")
    assert read(tmp_path, requirements__txt="flask==3.0.3\nzoo\n").label == "poetry.lock"
    chosen = declared.declared(tmp_path, tmp_path, environment(), tmp_path / "requirements.txt")
    assert chosen.label == "requirements.txt"


UV = """requires-python = ">=3.9"
[[package]]
name = "flask"
version = "3.0.3"
source = { registry = "https://pypi.org/simple" }
"""


@pytest.mark.parametrize("needs", ['"flask", "colorama>=0.4"', '"flask>=3.1"'])
@pytest.mark.parametrize("said", [{}, {"chosen": True}, {"named": ["uv.lock"]}])
def test_a_lock_that_is_not_what_the_metadata_asks_for_is_made_again_by_its_tool(
    tmp_path: Path, needs: str, said: dict[str, Any]
) -> None:
    project(tmp_path, needs)
    (tmp_path / "uv.lock").write_text(UV, encoding="utf-8")
    if "chosen" in said:
        said = {"chosen": tmp_path / "uv.lock"}
    with pytest.raises(BadLock) as caught:
        declared.declared(tmp_path, tmp_path, environment(), tree=True, **said)
    assert str(caught.value).endswith(": make it again with `uv lock`, or correct the line")  # nothing else helps


def test_a_lock_of_the_metadata_that_source_requirements_names_goes_with_the_metadata(tmp_path: Path) -> None:
    project(tmp_path, '"flask"')
    (tmp_path / "uv.lock").write_text(UV, encoding="utf-8")
    found = declared.declared(tmp_path, tmp_path, environment(), named=["uv.lock"], tree=True)
    assert [text for _, text in found.requirements] == ["flask"]
    assert [pin.requirement() for pin in found.pins] == ["flask==3.0.3"]


@pytest.mark.parametrize(
    ("text", "made"),
    [("flask==3.0.3\n", False), ("# This file is autogenerated by pip-compile\nflask==3.0.3\n", True),
     ("#    uv pip compile requirements.in\nflask==3.0.3\n", True), (f"flask==3.0.3 --hash=sha256:{A}\n", True),
     ("# versions of pip\nflask==3.0.3\n", False)],
)  # fmt: skip
def test_what_a_program_has_written_is_told_from_what_a_person_has(tmp_path: Path, text: str, made: bool) -> None:
    assert read(tmp_path, requirements__txt=text).made is made


# -- workspaces and sources -------------------------------------------------------------------------------------------


def workspace(root: Path) -> Path:
    root.mkdir()
    (root / "pyproject.toml").write_text(
        '[tool.uv.workspace]\nmembers = ["services/*", "packages/*"]\n', encoding="utf-8"
    )
    project(root / "packages/six", '"deep"', name="six")
    project(root / "packages/deep", name="Deep")
    project(root / "packages/other", name="other")
    return project(root / "services/shop", '"flask", "six"', "[tool.uv.sources]\nsix = {workspace = true}\n")


def test_a_member_of_the_workspace_is_never_looked_up_in_an_index(tmp_path: Path) -> None:
    shop = workspace(tmp_path / "mono")
    found = declared.declared(shop, tmp_path, environment())
    assert {name: item.value for name, item in found.direct.items()} == {
        "six": str(tmp_path / "mono/packages/six"),
        "deep": str(tmp_path / "mono/packages/deep"),
        "other": str(tmp_path / "mono/packages/other"),
        "shop": str(shop),
    }
    assert declared.local_folders(shop) == [tmp_path / "mono/packages/deep", tmp_path / "mono/packages/six"]


def test_a_changed_member_is_another_source(tmp_path: Path) -> None:
    shop = workspace(tmp_path / "mono")

    def identity() -> str:
        return sources.source_identity({"kind": "path", "value": str(shop)}, "/")

    first = identity()
    (tmp_path / "mono/packages/other/x.py").write_text("", encoding="utf-8")
    assert identity() == first
    (tmp_path / "mono/packages/deep/x.py").write_text("", encoding="utf-8")
    second = identity()
    assert second != first
    (tmp_path / "mono/uv.lock").write_text("version = 1\n", encoding="utf-8")
    assert identity() != second


def test_what_lies_above_a_project_may_be_anything(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    assert declared.declared(project(tmp_path / "app"), tmp_path, environment()) == declared.Declared()
    (tmp_path / "app/pyproject.toml").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    with pytest.raises(BadSource, match=r"app/pyproject\.toml cannot be read"):
        declared.declared(tmp_path / "app", tmp_path, environment())


def test_a_member_that_is_not_there_is_named(tmp_path: Path) -> None:
    shop = workspace(tmp_path / "mono")
    project(shop, '"seven"', "[tool.uv.sources]\nseven = {workspace = true}\n")
    with pytest.raises(BadSource, match="seven is to come from the workspace, and no member of it has that name"):
        declared.declared(shop, tmp_path, environment())


def test_a_project_outside_of_a_workspace_is_one_of_its_own(tmp_path: Path) -> None:
    kit = project(tmp_path / "kit", more="[tool.uv.sources]\nkit = {workspace = true}\n", name="Kit")
    example = project(kit / "examples/shop", '"kit"', '[tool.uv.sources]\nkit = {path = "../../"}\n')
    assert declared.project_sources(kit, tmp_path, environment())["kit"].value == str(kit)
    assert declared.project_sources(example, tmp_path, environment())["kit"].value == str(kit)
    assert declared.local_folders(example) == [kit]
    project(kit, more="[tool.uv.sources]\nother = {workspace = true}\n", name="kit")
    with pytest.raises(BadSource) as caught:
        declared.project_sources(kit, Path(kit.anchor), environment())
    assert str(caught.value).startswith(f"[tool.uv.sources] of {kit}/pyproject.toml: other is to come from")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ('{git = "https://h/zoo.git", tag = "v2", subdirectory = "py"}', ("git", "https://h/zoo.git", "v2", "py")),
        ('{path = "../zoo", editable = true}', ("path", "{above}/zoo", "", "")),
        ('{url = "https://h.example/zoo-2.tar.gz"}', ("url", "https://h.example/zoo-2.tar.gz", "", "")),
        ('[{url = "https://h/w", marker = "os_name == \'nt\'"}, {path = "../zoo"}]', ("path", "{above}/zoo", "", "")),
    ],
)  # fmt: skip
def test_sources_of_uv(tmp_path: Path, entry: str, expected: tuple[str, str, str, str]) -> None:
    folder = project(tmp_path / "app", '"zoo"', f"[tool.uv.sources]\nZoo = {entry}\n")
    zoo = declared.declared(folder, tmp_path, environment()).direct["zoo"]
    wanted = (expected[0], expected[1].format(above=tmp_path), *expected[2:])
    assert (zoo.kind, zoo.value, zoo.revision, zoo.subdirectory) == wanted


def test_sources_and_indexes_of_poetry(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.poetry]\nname = "shop"\nversion = "1"\n[tool.poetry.dependencies]\nflask = "^3"\n'
        'lib = {path = "../lib", develop = true}\nown = {version = "*", source = "inner"}\n'
        '[[tool.poetry.source]]\nname = "inner"\nurl = "https://inner.example/simple"\npriority = "explicit"\n',
        encoding="utf-8",
    )
    found = declared.declared(tmp_path, tmp_path, environment())
    assert found.direct["lib"] == Direct("lib", "path", str(tmp_path.parent / "lib"), "[tool.poetry.dependencies]")
    assert [(index.name, index.url, index.explicit) for index in found.indexes.extra] == [
        ("inner", "https://inner.example/simple", True)
    ]
    assert found.indexes.bound == {"own": "inner"}


def test_limits_and_indexes_of_uv(tmp_path: Path) -> None:
    more = (
        '[tool.uv]\nconstraint-dependencies = ["werkzeug<3.1"]\noverride-dependencies = ["blinker==1.8"]\n'
        '[tool.uv.sources]\nown = {index = "inner"}\n'
        '[[tool.uv.index]]\nname = "inner"\nurl = "https://inner.example/simple"\nexplicit = true\n'
        '[[tool.uv.index]]\nname = "flat"\nurl = "wheels"\nformat = "flat"\n'
        '[[tool.uv.index]]\nname = "mirror"\nurl = "https://mirror.example/simple"\ndefault = true\n'
    )
    found = declared.declared(project(tmp_path, '"own"', more), tmp_path, environment())
    assert (found.constraints, found.overrides) == (("werkzeug<3.1",), ("blinker==1.8",))
    known = found.indexes
    assert known.default is not None
    assert known.default.url == "https://mirror.example/simple"
    assert (known.bound, known.find_links) == ({"own": "inner"}, (str(tmp_path / "wheels"),))
    text = known.project() or ""
    assert '"own" = {index = "inner"}' in text
    assert 'url = "https://inner.example/simple"\nexplicit = true' in text


def test_a_credential_in_a_url_is_refused_without_being_shown(tmp_path: Path) -> None:
    for url in ("git+https://token@h.example/x.git", "https://me:pw@h.example/x-1.whl"):
        with pytest.raises(BadSource) as caught:
            direct_of("x", url, tmp_path, "here")
        assert "credential helper or ~/.netrc" in str(caught.value)
        assert "token" not in str(caught.value)
    assert direct_of("x", "git+ssh://git@h.example/x.git", tmp_path, "here").value == "ssh://git@h.example/x.git"


def test_a_project_that_declares_nothing_beside_its_metadata(tmp_path: Path) -> None:
    nothing = declared.declared(project(tmp_path), tmp_path, environment())
    assert nothing == declared.Declared()


def test_a_requirements_file_may_have_what_the_lock_has_for_development(tmp_path: Path) -> None:
    lock = json.dumps({"default": {"flask": {"version": "==3.0.3"}}, "develop": {"Faker": {"version": "==4.0.2"}}})
    found = read(tmp_path, Pipfile__lock=lock, requirements__txt="flask==3.0.3\nfaker==4.0.2\n")
    assert [pin.name for pin in found.pins] == ["flask"]
    assert "six==1 is not in Pipfile.lock" in refusal(tmp_path, requirements__txt="flask==3.0.3\nsix==1\n")


@pytest.mark.parametrize(
    "data",
    [
        "flask==3.1.2\n".encode("utf-16"),
        "flask==3.1.2\n".encode("utf-8-sig"),
        "# -*- coding: latin-1 -*-\n# f\u00fcr die Werkstatt\nflask==3.1.2\n".encode("latin-1"),
        b"# -*- coding: nobody-knows -*-\nflask==3.1.2\n",
    ],
)
def test_a_requirements_file_is_read_in_the_encoding_that_it_is_in(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "requirements.txt").write_bytes(data)
    found = declared.requirements_file(tmp_path / "requirements.txt", tmp_path, {})
    assert [(pin.name, pin.version) for pin in found.pins] == [("flask", "3.1.2")]


def test_a_requirements_file_in_an_unknown_encoding_is_refused_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes("# f\u00fcr\nflask\n".encode("latin-1"))
    with pytest.raises(BadLock, match=r"requirements.txt cannot be read: .* fix: save it as UTF-8, or"):
        declared.requirements_file(tmp_path / "requirements.txt", tmp_path, {})


def test_a_lock_that_lacks_something_names_the_python_that_needs_it() -> None:
    assert str(lacks("Pipfile.lock", "async-timeout", "redis", "3.11.2")) == (
        "Pipfile.lock: async-timeout is needed by redis with Python 3.11.2 and is not in the lock; make the lock again "
        "with that Python, or say which one counts with source.requirements or source.lock"
    )


@pytest.mark.parametrize("wanted", [">=3.9", "", "3 or so"])
def test_a_lock_for_the_python_that_it_is_to_run_with_is_taken(tmp_path: Path, wanted: str) -> None:
    check_python(tmp_path, declared.Declared("uv.lock", complete=True, python=wanted), "3.11.2")


def test_a_project_without_a_lock_is_held_to_its_python_too_but_not_where_a_person_says_what_it_needs(
    tmp_path: Path,
) -> None:
    """What breaks otherwise, a module that is imported in a view, no trial sees."""
    text = '[project]\nname = "shop"\nversion = "1"\nrequires-python = ">=3.13"\ndependencies = ["flask"]\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadLock, match=r"pyproject.toml:4: the project is for Python >=3\.13, and Python 3\.11\.2 is"):
        check_python(tmp_path, declared.declared(tmp_path, tmp_path, environment()), "3.11.2")
    said = declared.declared(tmp_path, tmp_path, environment(), None, ["flask"], True)
    check_python(tmp_path, said, "3.11.2")


@pytest.mark.parametrize(
    ("text", "wanted", "line"),
    [
        ('[project]\nname = "shop"\nrequires-python = ">=3.13"\n', ">=3.13", 3),
        ('[tool.poetry]\nname = "shop"\n[tool.poetry.dependencies]\npython = "^3.13"\n', ">=3.13,<4", 4),
        ('[tool.poetry.dependencies]\npython = {version = "~3.13"}\n', ">=3.13,<3.14", 2),
    ],
)
def test_a_lock_for_other_pythons_is_refused_with_where_the_project_says_so(
    tmp_path: Path, text: str, wanted: str, line: int
) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    known = replace(declared.declared(tmp_path, tmp_path, environment()), label="uv.lock", complete=True)
    with pytest.raises(BadLock) as caught:
        check_python(tmp_path, known, "3.11.2")
    assert str(caught.value) == (
        f"pyproject.toml:{line}: the project is for Python {wanted}, and so is uv.lock, and Python 3.11.2 is what it "
        f"is to run with; have headcount_python name a Python {wanted} of the host (--python of new-app: one of this "
        "machine). Where it runs with others all the same, source.requirements says what it needs there"
    )


def test_the_pythons_of_a_project_are_known(tmp_path: Path) -> None:
    project(tmp_path)
    text = (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(f'{text}requires-python = ">=3.13"\n', encoding="utf-8")
    assert read(tmp_path).python == ">=3.13"
