# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The console is a whole template of a whole page, and needs nothing of others."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._monitoring.console import console
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._monitoring.panels import COLUMNS, ROWS

PAGE = console()
ACTIONS = re.findall(r"\{\{(.*?)\}\}", re.sub(r"`[^`]*`", lambda raw: raw[0].replace("}}", ""), PAGE))
QUERIES = [query for row in ROWS for panel in row.panels for query in panel.queries]


def test_what_is_opened_is_closed() -> None:
    open_ = 0
    for action in ACTIONS:
        word = action.split()[0]
        open_ += word in ("if", "range", "with")
        open_ -= word == "end"
        assert open_ >= 0
    assert open_ == 0
    assert PAGE.count("{{") >= len(ACTIONS)


def test_elements_nest() -> None:
    class Nesting(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.stack: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag != "meta":
                self.stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.stack.pop() == tag

    nesting = Nesting()
    nesting.feed(re.sub(r"\{\{.*?\}\}", "", PAGE))
    assert nesting.stack == []


def test_every_query_is_asked_for_what_was_chosen() -> None:
    filled = re.findall(r"printf `([^`]*)` \$selected \$hosts", PAGE)
    assert len(filled) == len(QUERIES) + len(COLUMNS)
    for expr in filled:
        assert re.search(r"%\[[12]\]s", expr)
        assert re.sub(r"%\[[12]\]s|%%", "", expr).count("%") == 0
        assert not re.search("SELECTED|HOSTS|WINDOW", expr)


def test_it_needs_nothing_of_others() -> None:
    assert "<script" not in PAGE
    assert "{{ template" not in PAGE
    assert not re.search(r'(src|href)="(https?:)?//', PAGE)


def test_what_was_asked_for_is_quoted() -> None:
    assert re.findall(r'printf "instance=(\S+?), app=(\S+?)"', PAGE) == [("%q", "%q"), ("%q", "%q")]
