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
