# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The shape of what the probe brings from a host (plugins/modules/host_info.py), as far as the controller reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from .._edge import Json

Facts = Json
"""The host facts, as module_utils' `HostFacts.to_dict` gives them."""


class Live(TypedDict, total=False):
    """The live generation of an app: what its record holds, and what its own trial measured."""

    generation: int
    release: str | None
    digest: str | None
    source_id: str | None
    created: str | None
    facts: Facts | None
    plan: Json | None
    listen: str | None
    trial: Json | None


class ShownLive(Live, total=False):
    """The live generation as plans and reports show it."""

    healthy: bool
    health_detail: str | None
    intact: bool
    last_failure: Json | None


class State(TypedDict, total=False):
    """The state of an app on a host. `port_taken` and `trial_port_taken` say in words who listens there."""

    live: Live | None
    intact: bool
    problems: list[str]
    healthy: bool
    health_detail: str | None
    leftovers: list[str]
    open: list[str]
    lease: Json | None
    measured: Json | None
    port_taken: str | None
    trial_port_taken: str | None
    last_failure: Json | None
    clashes: list[str]
    retune_at_boot: bool
    prepared: list[str]
    preparing: Mapping[str, Json]
    taken_back: list[Json]
    former: Json | None
    load_tests: list[Json]
    history: list[Json]
    left: list[Json]
    losing: str
    closed: bool
    retired: list[str]


class Probe(TypedDict, total=False):
    """The answer of a host: `apps` by name, `installed` names of all apps that are there, `wheels` digests of files,
    `exporter` where that listens ("": nowhere; "changed", "stopped" and "masked": not as it was set up)."""

    facts: Facts
    apps: Mapping[str, State]
    installed: list[str]
    wheels: list[str]
    compiler: str | None
    exporter: str
    failed: bool
    unreachable: bool
    msg: str
    module_stderr: str
    module_stdout: str
