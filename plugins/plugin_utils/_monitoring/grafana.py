# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The panels as a dashboard of Grafana 11: plain JSON, imported by hand or provisioned from a folder."""

from __future__ import annotations

import json
from typing import Final

from .._edge import Json
from .panels import ROWS, Panel, Row
from .rules import JOB

UID: Final = "headcount"
SCHEMA: Final = 41
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_HOSTS: Final = 'job=~"$job", instance=~"$instance"'
_SELECTED: Final = f'{_HOSTS}, app=~"$app"'
_WINDOW: Final = "$__rate_interval"
_HEIGHT: Final = {"timeseries": 8, "stat": 8, "table": 8}
_COLUMNS: Final = 24


def dashboard(job: str = JOB) -> str:
    """The dashboard. `job`: what the scrape job of the exporters is called, the choice that it opens with."""
    found = {
        "uid": UID,
        "title": "Headcount",
        "description": "How the apps of the fleet serve their users, against the limits that they declare.",
        "tags": ["headcount", "gunicorn"],
        "timezone": "browser",
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "schemaVersion": SCHEMA,
        "templating": {"list": _variables(job)},
        "annotations": {"list": []},
        "links": [],
        "panels": _placed(),
    }
    return json.dumps(found, indent=2) + "\n"


def _variables(job: str) -> list[Json]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    names = (
        ("job", "Job", "label_values(headcount_app_deployed, job)"),
        ("instance", "Host", 'label_values(headcount_app_deployed{job=~"$job"}, instance)'),
        ("app", "App", f"label_values(headcount_app_deployed{{{_HOSTS}}}, app)"),
    )
    chosen = {"text": job, "value": job}
    everything = {"text": "All", "value": "$__all"}
    return [
        source,
        *(
            {
                "name": name,
                "label": label,
                "type": "query",
                "datasource": _SOURCE,
                "query": query,
                "refresh": 2,
                "sort": 1,
                "multi": True,
                "includeAll": True,
                "allValue": ".+",
                "current": chosen if name == "job" else everything,
            }
            for name, label, query in names
        ),
    ]


def _placed() -> list[Json]:
    """All rows and panels with their place on the grid, from top to bottom."""
    placed: list[Json] = []
    y = 0
    for row in ROWS:
        placed.append(_heading(row, len(placed) + 1, y))
        y, x = y + 1, 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT[panel.kind]
            placed.append(_panel(panel, len(placed) + 1, x, y))
            x += panel.width
        y += _HEIGHT[row.panels[-1].kind]
    return placed


def _heading(row: Row, number: int, y: int) -> Json:
    return {
        "type": "row",
        "id": number,
        "title": row.title,
        "collapsed": False,
        "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
        "panels": [],
    }


def _panel(panel: Panel, number: int, x: int, y: int) -> Json:
    return {
        "type": panel.kind,
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT[panel.kind], "w": panel.width, "x": x, "y": y},
        "targets": [_target(panel, place) for place in range(len(panel.queries))],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
        **({"transformations": [_LABELS_AS_COLUMNS]} if panel.kind == "table" else {}),
    }


def _target(panel: Panel, place: int) -> Json:
    query = panel.queries[place]
    now = panel.kind == "table"
    return {
        "refId": "ABCDEFGH"[place],
        "datasource": _SOURCE,
        "expr": query.filled(_SELECTED, _HOSTS, _WINDOW),
        "legendFormat": query.legend,
        "range": not now,
        "instant": now,
        "format": "table" if now else "time_series",
    }


def _defaults(panel: Panel) -> Json:
    lines = {"min": 0, "custom": {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}}
    return {"unit": panel.unit, **(lines if panel.kind == "timeseries" else {})}


def _options(panel: Panel) -> Json:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area"}
    return {"showHeader": True}


_LABELS_AS_COLUMNS: Final = {
    "id": "organize",
    "options": {"excludeByName": {"Time": True, "Value": True, "__name__": True, "job": True}},
}
