# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of a run as one HTML file, for a browser or a mail: it needs nothing else and asks no network. Pure.

The fleet's table is readable without a script. All else is data, compressed in the file; what a person opens is made
then. So a run over hundreds of hosts stays a few megabytes, and opens at once.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Final

from .._edge import Json
from . import report

ASSETS: Final = Path(__file__).with_name("assets")
GOOD: Final = ("promoted", "healed", "unchanged")
BAD: Final = ("failed", "lost", "revert_failed", "reverted", "cut short", "unreachable")
POINTS: Final = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""The quantiles that a distribution is drawn by."""


def page(data: Json) -> str:
    """The page of what report.json holds."""
    style, script = ((ASSETS / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    run = data["run"]
    title = f"Headcount: run {run['id']}"
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    mode = f"{data['mode']}{', check mode' if data.get('check_mode') else ''}"
    cause = f'<p class="bad">{escape(str(data["first_cause"]))}</p>' if data.get("first_cause") else ""
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
<p>{escape(str(data["summary"]))}</p>
{cause}
<p class="aside">{escape(mode)} by {escape(str(run["user"]))} on {escape(str(run["controller"]))},
{escape(str(run["started"]))} to {escape(str(data["ended"]))}</p>
</header>
<main id="report">
<noscript>
{_table(data)}
</noscript>
</main>
<script type="application/octet-stream" id="data">{_packed(data)}</script>
<script>{script}</script>
</body>
</html>
"""


def _table(data: Json) -> str:
    """The fleet's table, as the terminal shows it."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in report.HEADER)
    rows = "\n".join(
        f'<tr class="{_tone(row)}">' + "".join(f"<td>{escape(cell)}</td>" for cell in report.cells(row)) + "</tr>"
        for row in data["rows"]
    )
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def _tone(row: Json) -> str:
    status = str(row["status"])
    return "good" if status in GOOD else "bad" if status in BAD else "other"


def _packed(data: Json) -> str:
    """What the script needs: JSON, compressed, in base64. The same data give the same text."""
    told = {
        "header": list(report.HEADER),
        "right": list(report.RIGHT),
        "points": list(POINTS),
        "batches": batches(data),
        "rows": [_row(row) for row in data["rows"]],
    }
    plain = json.dumps(told, separators=(",", ":"), default=str).encode()
    return base64.b64encode(gzip.compress(plain, 9, mtime=0)).decode()


def batches(data: Json) -> list[list[str]]:
    """The hosts of each batch, in the order of the rollout."""
    order, found, begin = list(data.get("order") or []), [], 0
    for size in data.get("batches") or []:
        found.append(order[begin : begin + size])
        begin += size
    return found


def _row(row: report.Row) -> Json:
    """A row with its cells as they are shown, its histograms as curves, and its plan without what it repeats."""
    plan = row.get("plan") or {}
    shown = {key: value for key, value in row.items() if key not in _FOLDED and value not in (None, [], {}, "")}
    return {
        **shown,
        "cells": report.cells(row),
        "tone": _tone(row),
        "curves": {
            "candidate": curve(row.get("histogram")),
            "live": curve(row.get("live_histogram")),
        },
        "plan": [{"name": name, **setting} for name, setting in (plan.get("settings") or {}).items()],
        "inputs": [{"name": name, **found} for name, found in (plan.get("inputs") or {}).items() if _told(found)],
        "warnings": plan.get("warnings") or [],
    }


_FOLDED: Final = ("plan", "settings", "histogram", "live_histogram", "hardware", "profile")


def _told(found: object) -> bool:
    return isinstance(found, dict) and "value" in found


def curve(histogram: str | None) -> list[float]:
    """Milliseconds at each of POINTS; empty where there is no histogram, or none that this version reads."""
    if not histogram:
        return []
    from ...module_utils._verdict.histogram import Histogram  # a run that tried nothing has none

    try:
        decoded = Histogram.decode(histogram)
    except ValueError:
        return []
    values = [decoded.value_at(point) for point in POINTS]
    return [round(value / 1000, 2) for value in values if value is not None]
