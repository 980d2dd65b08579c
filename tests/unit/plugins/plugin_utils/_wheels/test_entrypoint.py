# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An entry point that leads nowhere is told by what was gathered; one that may lead somewhere is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.archives import pack_tree
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.entrypoint import problem
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import (
    HostBuild,
    Platform,
    Wheel,
    WheelSet,
)
from made_wheels import wheel

PLATFORM = Platform("3.11", "x86_64", "glibc 2.36")
FILES = {
    "wsgi.py": "from shop import create_app\napp = create_app()\n",
    "shop/__init__.py": "def create_app():\n    pass\nif 1:\n    from .views import index as page\n",
    "shop/views.py": "try:\n    index = 1\nfinally:\n    pass\n",
    "shop/all.py": "from .views import *\n",
    "shop/odd.py": "globals()['app'] = 1\n",
    "shop/late.py": "def make():\n    global app\n    app = 1\nmake()\n",
    "src/till/wsgi.py": "with open('x') as app:\n    pass\n",
    "spare/plain.py": "app = 1\n",
}


@pytest.fixture
def found(tmp_path: Path) -> WheelSet:
    project = tmp_path / "project"
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    tree = pack_tree(project, sorted(FILES), tmp_path)
    others = (
        wheel(tmp_path, "lib", {"lib/__init__.py": "app = 1\n"}),
        wheel(
            tmp_path,
            "native",
            {"native.cpython-311-x86_64-linux-gnu.so": "", "native-1.data/purelib/deep.py": "app = 1"},
        ),
    )
    packed = Wheel("tree", "0", tree.name, "t" * 64, 1, str(tree))
    return WheelSet("id", "path:1", "", "", PLATFORM, "", others, packed, tree=packed)


@pytest.mark.parametrize(
    "entry_point",
    [
        "wsgi:app", "wsgi:create_app", "shop:create_app()", "shop:page", "shop.views:index", "shop.all:anything",
        "shop.odd:app", "shop.late:app", "shop:views", "spare.plain:app", "lib:app", "native:app", "deep:app",
        "wsgiref.simple_server:demo_app", "spare:app",
    ],
)  # fmt: skip
def test_what_is_there_or_may_be_is_no_problem(found: WheelSet, entry_point: str) -> None:
    assert problem(entry_point, found) == ""


@pytest.mark.parametrize(
    ("entry_point", "words"),
    [
        ("wsgii:app", "there is no module wsgii in the project, or in what it depends on: allowed is "
                      "module:callable, as it can be imported there; fix: wsgi:app"),
        ("till.wsgi:app", "; fix: environment: {PYTHONPATH: src}"),
        ("myshop.views:index", "; fix: shop.views:index"),
        ("zzz:app", "as it can be imported there"),
        ("wsgi:application", "and wsgi.py gives nothing the name application: allowed is a callable "
                             "of that module, or a factory with its arguments; fix: wsgi:app"),
        ("shop:make_app()", "and shop/__init__.py gives nothing the name make_app"),
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_named_with_the_fix(found: WheelSet, entry_point: str, words: str) -> None:
    assert problem(entry_point, found).endswith(words) or words in problem(entry_point, found)


def test_folders_of_the_path_count_and_those_outside_cannot_be_known(found: WheelSet) -> None:
    assert problem("till.wsgi:app", found, "src") == ""
    assert problem("till.wsgi:nothing", found, "lib:src") != ""
    assert problem("zzz:app", found, "/srv/lib") == ""


def test_a_package_is_looked_for_in_its_wheel(tmp_path: Path) -> None:
    own = wheel(tmp_path, "shop", {"shop/__init__.py": "app = 1\n", "shop/wsgi.py": "app = 1\n"})
    found = WheelSet("id", "path:1", "shop", "1", PLATFORM, "", (own,), own)
    assert problem("shop.wsgi:app", found) == ""
    assert problem("wsgi:app", found).endswith(
        "there is no module wsgi in what is installed of it: allowed is module:callable, as it can be imported there; "
        "fix: shop.wsgi:app"
    )


def test_what_a_host_has_yet_to_build_may_hold_it(tmp_path: Path) -> None:
    sdist = Wheel("native", "1", "native-1.tar.gz", "n" * 64, 1, str(tmp_path / "native-1.tar.gz"))
    found = WheelSet("", "path:1", "", "", PLATFORM, "", (), sdist, (HostBuild(sdist, ()),))
    assert problem("native:app", found) == ""


def test_what_is_in_a_folder_that_is_a_link_cannot_be_known(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "real").mkdir(parents=True)
    (project / "real/app.py").write_text("app = 1\n")
    (project / "shop").symlink_to("real")
    tree = pack_tree(project, ["real/app.py", "shop"], tmp_path)
    packed = Wheel("tree", "0", tree.name, "t" * 64, 1, str(tree))
    found = WheelSet("id", "path:1", "", "", PLATFORM, "", (), packed, tree=packed)
    assert problem("shop.app:app", found) == ""
    assert problem("till.app:app", found) != ""
