# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Reading locks: a project's own, and what uv writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import locks
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadLock

A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_a_pin_as_a_line() -> None:
    assert locks.Pinned("click", "8.1.8", (A, B)).line() == f"click==8.1.8 --hash=sha256:{A} --hash=sha256:{B}"


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
    pins, via, direct = locks.read_compiled(COMPILED)
    assert direct == {}
    assert pins["flask"] == locks.Pinned("flask", "3.1.3", (A, B))
    assert pins["gunicorn"] == locks.Pinned("gunicorn", "27.0.1", (C,))
    assert via == {
        "flask": {"-r inputs-0.in", "shop"},
        "gunicorn": {"-r inputs-0.in"},
        "packaging": {"gunicorn"},
        "werkzeug": {"flask"},
    }


def test_what_a_lock_lacks() -> None:
    _, via, _ = locks.read_compiled(COMPILED)
    flask, werkzeug = locks.Pinned("flask", "3.1.3", (A,)), locks.Pinned("werkzeug", "3.1.9", (A,))
    assert locks.outside([flask, werkzeug], via, "shop", ["gunicorn"]) == {}
    assert locks.outside([flask], via, "shop", ["gunicorn"]) == {"werkzeug": "flask"}


def test_what_comes_from_elsewhere_is_not_passed_over() -> None:
    pins, via, direct = locks.read_compiled(
        f"flask==3.1.3 \\\n    --hash=sha256:{A}\n    # via shop\n"
        f"shop-lib[x] @ https://h.example/shop_lib-1.tar.gz \\\n    --hash=sha256:{B}\n    # via shop\n"
        "zoo @ git+https://h.example/zoo.git@0a\n    # via\n    #   shop-lib\n"
    )
    assert list(pins) == ["flask"]
    assert direct == {"shop-lib": "https://h.example/shop_lib-1.tar.gz", "zoo": "git+https://h.example/zoo.git@0a"}
    assert via == {"flask": {"shop"}, "shop-lib": {"shop"}, "zoo": {"shop-lib"}}
    with pytest.raises(BadLock, match=r"uv resolved to '\./x', which is neither"):
        locks.read_compiled("./x\n")
