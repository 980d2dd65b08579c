# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A gunicorn.conf.py is read, and never run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.conffile import ConfFile, read


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("bind = '0.0.0.0:8000'\nworkers: int = 3\n", {"bind": "0.0.0.0:8000", "workers": 3}),
        ("import multiprocessing\nworkers = multiprocessing.cpu_count() * 2 + 1", {"workers": 9}),
        ("from os import cpu_count\nworkers = max(2, int(cpu_count() / 2))", {"workers": 2}),
        ("import os\nworkers = len(os.sched_getaffinity(0)) + 1", {"workers": 5}),
        ("import os\nworkers = int(os.environ.get('WEB_CONCURRENCY', 2))", {"workers": 7}),
        ("import os\nworkers = int(os.getenv('NOT_SET') or 4)", {"workers": 4}),
        ("import os\nbind = f\"0.0.0.0:{os.environ['PORT']}\"", {"bind": "0.0.0.0:8080"}),
        ("port = 80\nbind = ['a:' + '1', f'b:{port}']", {"port": 80, "bind": ["a:1", "b:80"]}),
        ("a = b = 2", {"a": 2, "b": 2}),
        ("logconfig_dict = {'version': 1}\n_own = 3", {"logconfig_dict": {"version": 1}}),
    ],
)
def test_what_it_gives(text: str, settings: dict[str, Any]) -> None:
    assert read(text, 4, {"WEB_CONCURRENCY": "7", "PORT": "8080"}) == ConfFile(settings)


@pytest.mark.parametrize(
    ("text", "unread"),
    [
        ("workers = compute()", ("workers",)),
        ("workers = 2\nworkers = compute()", ("workers",)),
        ("if True:\n    workers = 2", ("workers",)),
        ("try:\n    import x\n    timeout = 5\nexcept ImportError:\n    threads = 2", ("timeout", "threads")),
        ("workers = int('many')", ("workers",)),
        ("workers = 1 / 0", ("workers",)),
        ("bind = 'x' * 10 ** 9", ("bind",)),
        ("bind = __import__('os').system('true')", ("bind",)),
        ("def (", ("the whole file, which is no Python",)),
        ("workers = os.environ['NOT_SET']", ("workers",)),
    ],
)
def test_what_only_running_it_would_tell(text: str, unread: tuple[str, ...]) -> None:
    assert read(text, 4, {}) == ConfFile({}, unread)


def test_its_hooks() -> None:
    assert read("def post_fork(server, worker):\n    pass\n", 1, {}).hooks == ("post_fork",)


@pytest.mark.parametrize(
    "text",
    [
        "a = 10\n" + "a = a * a\n" * 500,
        "a = [1]\n" + "a = [a, a]\n" * 200,
        "a = {'k': 1}\n" + "a = {'a': a, 'b': a}\n" * 200,
        "a = 'x'\n" + "a = f'{a}{a}'\n" * 100,
        "a = 'x'\n" + "a = a + a\n" * 500,
        "a = '" + "x" * 9000 + "'\na = f'" + "{a}" * 5000 + "'",
        "a = [['x'] * 9] * 9",
        "a = 9 ** 9 ** 9",
        "a = 0x" + "f" * 20_000,
        "a = (" + "1," * 12_000 + ")",
        "a = b'x'",
        "a = 1j",
        "a = ...",
        "a = float('nan')",
        "a = 1e999",
        "a = '\\ud800'",
        "import os\na = os.environ['LARGE']",
    ],
)
def test_what_no_person_writes_is_not_read(text: str) -> None:
    found = read(text, 1, {"LARGE": "x" * 20_000})
    assert found.settings == {}
    assert "a" in found.unread


@pytest.mark.parametrize("text", ["a = " + "-" * 30_000 + "1", "a = " + "1+" * 15_000 + "1", "a = " + "(" * 30_000])
def test_what_is_nested_beyond_reason(text: str) -> None:
    assert read(text, 1, {}).settings == {}
    assert read(text, 1, {}).unread


def test_a_long_file_is_not_parsed() -> None:
    assert read("a = 1\n" * 10_000, 1, {}).unread == ("the whole file, which is longer than 32 KiB",)


def test_many_settings_that_are_long_together() -> None:
    found = read("b = '" + "x" * 9000 + "'\n" + "".join(f"a{one} = b\n" for one in range(1500)), 1, {})
    assert sum(len(str(value)) for value in found.settings.values()) <= 100_000
    assert len(found.unread) > 1000
