# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The dashboard keeps to Grafana's own schema, and to the rules of Grafana's dashboard-linter."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._monitoring.grafana import dashboard
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._monitoring.panels import ROWS
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

BOARD: dict[str, Any] = json.loads(dashboard("watch"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}


def lost(given: Any, back: Any, where: str = "") -> list[str]:
    """What is in `given` and is another or none in `back`."""
    if isinstance(given, dict) and isinstance(back, dict):
        return [words for key in given for words in lost(given[key], back.get(key), f"{where}.{key}")]
    if isinstance(given, list) and isinstance(back, list) and len(given) == len(back):
        return [words for place, pair in enumerate(zip(given, back)) for words in lost(*pair, f"{where}[{place}]")]
    return [] if given == back else [f"{where}: {given!r} became {back!r}"]


def test_grafanas_own_types_take_all_of_it() -> None:
    register_default_plugins()
    assert lost(BOARD, json.loads(json.dumps(Dashboard.from_json(BOARD), cls=JSONEncoder))) == []


def test_each_panel_of_the_source_is_there_once() -> None:
    assert [panel["title"] for panel in PANELS] == [panel.title for row in ROWS for panel in row.panels]
    numbers = [panel["id"] for panel in BOARD["panels"]]
    assert sorted(set(numbers)) == numbers


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_says_what_it_is_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in {value for name, value in vars(units).items() if name[0] != "_"}


@pytest.mark.parametrize(("title", "target"), TARGETS)
def test_a_query_asks_for_what_was_chosen(title: str, target: dict[str, Any]) -> None:
    expr = target["expr"]
    selectors = re.findall(r"\{([^{}]*)\}", expr)
    assert selectors, title
    for selector in selectors:
        assert 'job=~"$job"' in selector
        assert 'instance=~"$instance"' in selector
        assert 'app=~"$app"' in selector or "headcount_exporter_collect_seconds" in expr
    for counter, after in re.findall(r"(headcount_\w+_total)\{[^{}]*\}(\S?)", expr):
        assert after == "[", f"{counter} is a counter: its rate is asked for"
    assert set(re.findall(r"\[([^]]*)\]", expr)) <= {"$__rate_interval"}
    assert "SELECTED" not in expr
    assert "HOSTS" not in expr
    assert "WINDOW" not in expr


def test_what_can_be_chosen() -> None:
    assert list(VARIABLES) == ["datasource", "job", "instance", "app"]
    assert VARIABLES["datasource"]["query"] == "prometheus"
    assert VARIABLES["job"]["current"]["value"] == "watch"
    for name in ("job", "instance", "app"):
        assert VARIABLES[name]["query"].startswith("label_values(headcount_app_deployed")
        assert VARIABLES[name]["refresh"] == 2, "anew when the time range changes"
        assert VARIABLES[name]["allValue"] == ".+"
    assert BOARD["editable"] is False
