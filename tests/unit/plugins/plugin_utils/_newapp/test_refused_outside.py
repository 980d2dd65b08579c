# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app was refused to write outside of its release."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import outside
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.draft import Subject
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import propose
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import Found
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Candidate, Hints, Imported, Page

REFUSED = "OSError: [Errno 30] Read-only file system: '/var/lib/radicale'"


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        (REFUSED, "/var/lib/radicale"),
        ("PermissionError: [Errno 13] Permission denied: '/srv/wiki/pages/a.txt'", "/srv/wiki/pages"),
        ("OSError: [Errno 30] Read-only file system: '/etc/till'", ""),
        ("OSError: [Errno 30] Read-only file system: 'logs'", ""),
        ("FileNotFoundError: [Errno 2] No such file or directory: '/srv/wiki'", ""),
    ],
)
def test_which_folder_it_was(words: str, folder: str) -> None:
    assert outside.refused(words) == folder


def test_where_its_data_goes_is_asked_and_not_which_page_is_its_health() -> None:
    pages = tuple(Page(path, 500, error=REFUSED) for path in ("/", "/ping"))
    app = Imported("cal", "app", "wsgi", stage="done", pages=pages, candidate=Candidate("cal", "app"))
    (question,) = propose(Subject({"path": "../cal"}, "cal", ""), Hints(), Found(app)).questions
    assert question.must
    assert question.text.startswith("where does its data go? It writes to /var/lib/radicale, and may not on a host; 2")
    assert "data: {outside: [/var/lib/radicale]} lets it write there" in question.text
