# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the exporter tells of an app that has everything: names of metrics, and their labels."""

from __future__ import annotations

import re
from dataclasses import replace

from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.unitusage import UnitMemory
from ansible_collections.headcount.gunicorn.plugins.module_utils._recorder.counts import Counts, Tally
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.metrics import Past, page
from ansible_collections.headcount.gunicorn.plugins.module_utils._watch.view import (
    AppView,
    InstanceView,
    ProcessView,
    WorkerView,
)

_COUNTS = Counts(Tally(), (), 1.8e9, 7, {"p50": 100.0, "p95": 250.0, "p99": 500.0}, 1, 0, 0, 0.0, 0.0)
_INSTANCE = InstanceView(
    generation=3,
    release="abc",
    live=True,
    unit="shop@3.service",
    state="active",
    counts=_COUNTS,
    uncounted="",
    workers=(WorkerView(10, 1, 5.0, 3, 2, 0.5, 20.0),),
    slots=8,
    planned_workers=2,
    memory_max_mib=200.0,
    limits=Limits(p50_ms=100, p95_ms=250, p99_ms=500),
    memory=UnitMemory("/x", 2, 90.0, 120.5, "", None, 200.0, 80.0, None, 0, None),
    cpu_s=12.25,
    at=100.0,
)
_VIEW = AppView(
    "shop",
    3,
    "0.0.0.0:8000",
    True,
    4,
    (_INSTANCE,),
    100.0,
    processes=(ProcessView("mail", False, True, True, 0, 20.0),),
    connections=5,
)
PAGE = page([_VIEW, replace(_VIEW, app="blog")], {"shop": Past("promoted", "pass", 1.7e9, True)}, {}, 0.01)
_SAMPLES = re.findall(r"^(headcount_\w+?)(?:\{(.*)\})? \S+$", PAGE, re.MULTILINE)

METRICS = frozenset(name for name, _ in _SAMPLES)
"""Names as PromQL has them: those of a histogram with their endings."""


def labels_of(name: str) -> set[str]:
    """The labels that a metric has somewhere on the page."""
    return {label for metric, inside in _SAMPLES if metric == name for label in re.findall(r'(\w+)="', inside)}


def names_in(expr: str) -> set[str]:
    """The metrics, and the recorded series, that an expression asks for."""
    bare = re.sub(r'"[^"]*"', "", expr)
    series = re.findall(r"\b(?:instance_\w+:[\w:]+|headcount_\w+|up|node_\w+)\b", bare)
    return set(series)
