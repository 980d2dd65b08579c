# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What was served, in words."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.instance import OUTCOMES
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.text import served


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (0, "5 requests served, 1 answered 5xx"),
        (1, "6 requests served, 1 answered 5xx, 1 whose client went away before the answer's end"),
        (2, "7 requests served, 1 answered 5xx, 2 whose clients went away before the answer's end"),
    ],
)
def test_who_gave_a_request_up_is_said(gone: int, words: str) -> None:
    """A client that goes away is nothing that a promote or a rollback did."""
    assert served(Tally(outcomes={**dict.fromkeys(OUTCOMES, 0), "2xx": 4, "5xx": 1, "cut": gone})) == words
