# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of a run as one HTML file, for a browser or a mail: it needs nothing else and asks no network. Pure.

The fleet's table is readable without a script. All else is data, compressed in the file in parts: what the table is
made of, the steps, and the rows in full, some of them in each part. A part is unpacked when a person opens what is in
it. So a run over hundreds of hosts stays a few megabytes, and opens at once.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from .._edge import Json
from . import report

ASSETS: Final = Path(__file__).with_name("assets")
GOOD: Final = ("promoted", "healed", "unchanged")
BAD: Final = ("failed", "lost", "taken_back", "revert_failed", "reverted", "cut short", "unreachable")
POINTS: Final = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""The quantiles that a distribution is drawn by."""
PART: Final = 40
"""So many rows are unpacked together when one of them is opened."""


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
{_kept("data", _first(data))}
<script>{script}</script>
{_parts(data)}
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
    if status in BAD or row.get("phase"):
        return "bad"
    return "good" if status in GOOD else "other"


def _kept(name: str, told: object) -> str:
    """A part of the data: JSON, compressed, in base64. The same data give the same text."""
    plain = json.dumps(told, separators=(",", ":"), default=str).encode()
    packed = base64.b64encode(gzip.compress(plain, 9, mtime=0)).decode()
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>'


def _first(data: Json) -> dict[str, object]:
    """What the table and its filter need. `timed`: whether any step says when it ended."""
    return {
        "header": list(report.HEADER),
        "right": list(report.RIGHT),
        "points": list(POINTS),
        "batches": batches(data),
        "part": PART,
        "timed": any(step.get("at") for row in data["rows"] for step in row.get("steps") or ()),
        "rows": [_line(row) for row in data["rows"]],
    }


def _parts(data: Json) -> str:
    """All else, in the order in which it stands in the file: the steps of each row, and the rows in full."""
    rows = data["rows"]
    found = [_kept("steps", [row.get("steps") or [] for row in rows])]
    found += [_kept(f"rows-{begin // PART}", _whole(rows[begin : begin + PART])) for begin in range(0, len(rows), PART)]
    return "\n".join(found)


def batches(data: Json) -> list[list[str]]:
    """The hosts of each batch, in the order of the rollout."""
    order, found, begin = list(data.get("order") or []), [], 0
    for size in data.get("batches") or []:
        found.append(order[begin : begin + size])
        begin += size
    return found


def _line(row: report.Row) -> Json:
    """A row of the table, with its cells as they are shown."""
    shown = {key: row.get(key) for key in _LINE if row.get(key)}
    return {**shown, "cells": report.cells(row), "tone": _tone(row)}


def _whole(rows: Sequence[report.Row]) -> Json:
    """Rows in full; `plan` of each is the place of its plan among the `plans`, of which hosts alike have the same."""
    places: dict[str, int] = {}
    told = []
    for row in rows:
        place = places.setdefault(json.dumps(_plan(row), separators=(",", ":"), default=str), len(places))
        shown = {key: value for key, value in row.items() if key not in _FOLDED and value not in (None, [], {}, "")}
        curves = {"candidate": curve(row.get("histogram")), "live": curve(row.get("live_histogram"))}
        told.append({**shown, "curves": curves, "plan": place})
    return {"plans": [json.loads(plan) for plan in places], "rows": told}


def _plan(row: report.Row) -> Json:
    """The plan of a row without what it repeats."""
    plan = row.get("plan") or {}
    return {
        "plan": [{"name": name, **setting} for name, setting in (plan.get("settings") or {}).items()],
        "inputs": [{"name": name, **found} for name, found in (plan.get("inputs") or {}).items() if _told(found)],
        "warnings": plan.get("warnings") or [],
    }


_LINE: Final = ("host", "app", "status", "cause")
_FOLDED: Final = ("plan", "settings", "histogram", "live_histogram", "hardware", "profile", "steps")


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
