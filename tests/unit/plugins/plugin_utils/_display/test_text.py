# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Tables and words."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display import text


def test_a_table_is_aligned_and_leaves_empty_columns_out() -> None:
    found = text.table(("host", "note", "cores"), [("web1", "", 2), ("größer", None, 16)], right=(2,))
    assert found.splitlines() == ["host    cores", "------  -----", "web1        2", "größer     16"]


@pytest.mark.parametrize(("word", "columns"), [("web", 3), ("größe", 5), ("日本", 4), ("e\u0301", 1)])
def test_columns_of_a_terminal(word: str, columns: int) -> None:
    assert text.width(word) == columns


@pytest.mark.parametrize(("count", "words"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts")])
def test_plural(count: int, words: str) -> None:
    assert text.plural(count, "host") == words


def test_many_names() -> None:
    assert text.listed(["a", "b"]) == "a, b"
    assert text.listed(list("abcdefg")) == "a, b, c, d, e and 2 more"


def test_text_of_others_is_one_line_that_no_terminal_obeys() -> None:
    assert text.visible("a\n  b\x1b[31m\tc\u2028d\x00\u202ee é") == "a b[31m c de é"
