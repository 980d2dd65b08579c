# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A removal of what no host has ever had is told, with the apps that there are."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.removed import nowhere


def said(known: bool, *installed: str) -> dict[str, Any]:
    return {"known": known, "installed": list(installed), "removed": known}


@pytest.mark.parametrize(
    "results",
    [
        {"a": said(True, "guest"), "b": said(False, "shop")},
        {"a": said(True), "b": said(True)},
        {"a": said(False, "guest"), "b": None},
        {"a": said(False, "guest"), "b": {"failed": True, "cause": "the connection to the host was lost"}},
    ],
)
def test_where_a_host_has_it_or_had_it_or_cannot_tell_nothing_is_wrong(results: dict[str, Any]) -> None:
    assert nowhere("guest", results) == ""


def test_a_name_that_no_host_has_is_told_with_those_that_there_are() -> None:
    assert nowhere("guets", {"a": said(False, "guest", "shop"), "b": said(False, "guest")}) == (
        "headcount_app is 'guets', and no host of the play has such an app, or had one: allowed is one of the apps that"
        " there are, guest, shop; fix: name the one that is to go, which is not guessed here"
    )
    assert nowhere("guets", {"a": said(False)}) == (
        "headcount_app is 'guets', and no host of the play has such an app, or had one: there are no apps on them; fix:"
        " let headcount_hosts or --limit name the app's hosts"
    )
