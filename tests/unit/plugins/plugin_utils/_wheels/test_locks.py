# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Reading locks: a project's own, and what uv writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import locks
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadLock
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import Platform

A, B, C = "a" * 64, "b" * 64, "c" * 64
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


def environment(python: str) -> dict[str, str]:
    return Platform(python, "x86_64", "glibc 2.36").markers()


def test_only_what_the_platform_needs() -> None:
    assert locks.parse(LOCK, "l", environment("3.9")) == (
        locks.Pinned("click", "8.1.8", (A, B)),
        locks.Pinned("zope-event", "6.2", (A,)),
    )
    assert [pin.version for pin in locks.parse(LOCK, "l", environment("3.13"))] == ["8.5.1", "6.2"]


def test_a_pin_as_a_line() -> None:
    assert locks.Pinned("click", "8.1.8", (A, B)).line() == f"click==8.1.8 --hash=sha256:{A} --hash=sha256:{B}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "flask==3\n",
            "l, line 1: 'flask==3' has no sha256 hash: make the lock with `uv pip compile --generate-hashes`",
        ),
        (
            f"\nflask>=3 --hash=sha256:{A}\n",
            "l, line 2: 'flask>=3' is not pinned: write name==version with hashes "
            "(`uv pip compile --generate-hashes` makes such a file)",
        ),
        ("-e .\n", "l, line 1: -e is not allowed in a lock: it holds only name==version with hashes"),
        ("-r other.txt\n", "l, line 1: -r is not allowed in a lock: it holds only name==version with hashes"),
        (
            f"a==1 --hash=sha256:{A}\na==2 --hash=sha256:{B}\n",
            "l, line 2: a is pinned to 1 and to 2 for one platform",
        ),
        (
            f"a==1 ; moon == 'full' --hash=sha256:{A}\n",
            "l, line 1: the marker \"moon == 'full'\" cannot be read: Expected a marker variable or quoted string",
        ),
    ],
)
def test_refusals(text: str, message: str) -> None:
    with pytest.raises(BadLock) as caught:
        locks.parse(text, "l", environment("3.11"))
    assert str(caught.value) == message


def test_the_lock_that_a_project_carries(tmp_path: Path) -> None:
    assert locks.automatic(tmp_path) is None
    (tmp_path / "requirements.txt").write_text("flask==3\n", encoding="utf-8")
    assert locks.automatic(tmp_path) is None
    (tmp_path / "requirements.txt").write_text(f"flask==3 \\\n  --hash=sha256:{A}\n", encoding="utf-8")
    assert locks.automatic(tmp_path) == tmp_path / "requirements.txt"
    (tmp_path / "requirements.lock").write_text(f"-i x\nflask==3 --hash=sha256:{A}\n", encoding="utf-8")
    assert locks.automatic(tmp_path) == tmp_path / "requirements.lock"


# uv 0.13.9, `uv pip compile --generate-hashes --annotation-style split --no-emit-package shop`
COMPILED = f"""flask==3.1.3 \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via
    #   -r inputs-0.in
    #   shop
gunicorn[gevent]==27.0.1 \\
    --hash=sha256:{C}
    # via -r inputs-0.in
packaging==26.3 \\
    --hash=sha256:{A}
    # via gunicorn
werkzeug==3.1.9 \\
    --hash=sha256:{C}
    # via flask

# The following packages were excluded from the output:
# shop
"""


def test_what_uv_compiled() -> None:
    pins, via = locks.read_compiled(COMPILED)
    assert pins["flask"] == locks.Pinned("flask", "3.1.3", (A, B))
    assert pins["gunicorn"] == locks.Pinned("gunicorn", "27.0.1", (C,))
    assert via == {
        "flask": {"-r inputs-0.in", "shop"},
        "gunicorn": {"-r inputs-0.in"},
        "packaging": {"gunicorn"},
        "werkzeug": {"flask"},
    }


def test_what_a_lock_lacks() -> None:
    _, via = locks.read_compiled(COMPILED)
    flask, werkzeug = locks.Pinned("flask", "3.1.3", (A,)), locks.Pinned("werkzeug", "3.1.9", (A,))
    assert locks.outside([flask, werkzeug], via, "shop", ["gunicorn"]) == {}
    assert locks.outside([flask], via, "shop", ["gunicorn"]) == {"werkzeug": "flask"}
