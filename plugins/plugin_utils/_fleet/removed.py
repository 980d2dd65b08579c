# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An app that was to be removed, and that no host has ever had: a name that was mistyped. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from .._edge import Json


def nowhere(name: str, results: Mapping[str, Json | None]) -> str:
    """That no host has the app `name`, nor had it, in a sentence; empty where one does, or cannot be asked.

    `results`: what the module remove said on each host of the play; None of one that was not asked.
    """
    found = list(results.values())
    if any(result is None or "known" not in result or result["known"] for result in found):
        return ""
    there = sorted({str(app) for result in found for app in (result or {}).get("installed") or []})
    what = f"headcount_app is {name!r}, and no host of the play has such an app, or had one"
    if not there:
        return f"{what}: there are no apps on them; fix: let headcount_hosts or --limit name the app's hosts"
    fix = "name the one that is to go, which is not guessed here"
    return f"{what}: allowed is one of the apps that there are, {', '.join(there)}; fix: {fix}"
