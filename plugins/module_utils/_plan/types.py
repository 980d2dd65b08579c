# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The words of a plan: numbers with their origin, limits, settings, measurements, and the error of a plan that cannot
be.

Everything here is plain data that goes to JSON and back. Memory is in MiB, latency in milliseconds, durations in
seconds, rates per second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final, Mapping, Union

from .._facts.neighbours import growing, words

Facts = Mapping[str, Any]
Value = Union[int, float, str, bool]

ORIGINS: Final = ("measured", "declared", "derived", "assumed", "override")
"""Where a number comes from: weighed on the host; said in the inventory or read from the host; computed; guessed;
forced."""

MEASURED_REQUESTS_MIN: Final = 20
"""Fewer requests than this say nothing: with 20, one slow first request moves the mean of the CPU time by a few per
cent only."""


SYSTEMD_WITHOUT_VERSION_1: Final = 258
"""From this one on, systemd uses control groups of version 2 alone."""

COUNTLESS: Final = 10**9
"""A count that limits nothing: more than any host has."""


def number(value: float) -> str:
    """A number for people: no trailing zeros, three significant digits below 10."""
    if value >= COUNTLESS:
        return "unlimited"
    if float(value).is_integer():
        return str(int(value))
    return f"{value:.1f}".rstrip("0").rstrip(".") if abs(value) >= 10 else f"{value:.3g}"


def share(part: float) -> str:
    """A share 0..1 as a whole percentage; of what is nearly none or nearly all with the tenth that tells it apart."""
    near = 0.0 < part < 0.005 or 0.995 < part < 1.0
    return f"{min(99.9, max(0.1, part * 100)):.1f} %" if near else f"{part * 100:.0f} %"


def down(value: float) -> int:
    """The whole number below, give or take rounding; at most COUNTLESS."""
    return COUNTLESS if value >= COUNTLESS else math.floor(value + 1e-9)


def up(value: float) -> int:
    """The whole number above, give or take rounding; at most COUNTLESS."""
    return COUNTLESS if value >= COUNTLESS else math.ceil(value - 1e-9)


def fitting(room: float, each: float) -> int:
    """How many of a size fit in a room: COUNTLESS of no size, and a negative number when there is no room at all."""
    if room < 0:
        return -1
    return down(room / each) if each > 0 else COUNTLESS


class PlanError(Exception):
    """No plan is possible, or what was asked for contradicts a limit.

    `variable` and `value` name what was said or found, `allowed` what would do, `fix` what a person does about
    it.
    """

    def __init__(self, app: str, variable: str, value: object, problem: str, allowed: str, fix: str) -> None:
        self.app = app
        self.variable = variable
        self.value = value
        self.problem = problem
        self.allowed = allowed
        self.fix = fix
        super().__init__(f"{app}: {variable} is {value}: {problem}. Allowed: {allowed}. Fix: {fix}.")

    def to_dict(self) -> dict[str, object]:
        """The parts and the whole message, for JSON."""
        return {
            "app": self.app,
            "variable": self.variable,
            "value": self.value,
            "problem": self.problem,
            "allowed": self.allowed,
            "fix": self.fix,
            "message": str(self),
        }


@dataclass(frozen=True)
class Number:
    """A number that a formula uses, where it comes from (one of `ORIGINS`) and in which words."""

    value: float
    origin: str
    source: str

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {"value": self.value, "origin": self.origin, "source": self.source}


@dataclass(frozen=True)
class Limit:
    """One limit that was considered for a setting: its name, its value in the setting's unit, and why it is that."""

    name: str
    value: Value
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {"name": self.name, "value": self.value, "reason": self.reason}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Limit:
        """The inverse of `to_dict`."""
        return cls(name=data["name"], value=data["value"], reason=data["reason"])


@dataclass(frozen=True)
class Setting:
    """One setting of a plan: the value, which limit won, and why. `origin` is the weakest origin that went into
    it."""

    name: str
    value: Any
    unit: str
    winner: str
    reason: str
    origin: str
    limits: tuple[Limit, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain data, without the name, which is the key in the plan."""
        return {
            "value": self.value,
            "unit": self.unit,
            "winner": self.winner,
            "reason": self.reason,
            "origin": self.origin,
            "limits": [limit.to_dict() for limit in self.limits],
        }

    @classmethod
    def from_dict(cls, name: str, data: Mapping[str, Any]) -> Setting:
        """The inverse of `to_dict`."""
        return cls(
            name=name,
            value=data["value"],
            unit=data["unit"],
            winner=data["winner"],
            reason=data["reason"],
            origin=data["origin"],
            limits=tuple(Limit.from_dict(limit) for limit in data["limits"]),
        )


@dataclass(frozen=True)
class Plan:
    """Every derived setting of one app on one host.

    `slots`: requests in flight that all workers together can hold. `budget_mib`: what one generation may use.
    `inputs`: the numbers that went in, each with its origin. `expected`: what the plan should show when it is
    tried.
    """

    app: str
    settings: Mapping[str, Setting]
    warnings: tuple[str, ...]
    inputs: Mapping[str, object]
    slots: int
    budget_mib: int
    expected: Mapping[str, object]
    kept: tuple[str, ...] = field(default=())

    def value(self, name: str) -> Any:
        """The bare value of one setting. KeyError for a name that is no setting."""
        return self.settings[name].value

    def values(self) -> dict[str, object]:
        """All bare values by name: the shape that `previous` takes."""
        return {name: setting.value for name, setting in self.settings.items()}

    def to_dict(self) -> dict[str, object]:
        """Plain data. `kept` names the settings that the dead band kept."""
        return {
            "app": self.app,
            "settings": {name: setting.to_dict() for name, setting in self.settings.items()},
            "warnings": list(self.warnings),
            "inputs": dict(self.inputs),
            "slots": self.slots,
            "budget_mib": self.budget_mib,
            "expected": dict(self.expected),
            "kept": list(self.kept),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        return cls(
            app=data["app"],
            settings={name: Setting.from_dict(name, item) for name, item in data["settings"].items()},
            warnings=tuple(data["warnings"]),
            inputs=dict(data["inputs"]),
            slots=data["slots"],
            budget_mib=data["budget_mib"],
            expected=dict(data["expected"]),
            kept=tuple(data.get("kept", ())),
        )


def bare_values(settings: Mapping[str, object] | None) -> dict[str, object]:
    """Bare values of settings by name, which come bare, as settings with their reasons, or as a whole plan's dict."""
    if not settings:
        return {}
    inner = settings.get("settings")
    source: Mapping[str, object] = inner if isinstance(inner, Mapping) else settings
    return {
        name: item["value"] if isinstance(item, Mapping) and "value" in item else item for name, item in source.items()
    }


def plan_changes(before: Mapping[str, object] | None, after: Mapping[str, object]) -> dict[str, list[object]]:
    """{setting: [old value, new value]} for the settings that differ, of two plans in any shape of bare_values()."""
    old, new = bare_values(before), bare_values(after)
    return {name: [old.get(name), value] for name, value in new.items() if old.get(name) != value}


@dataclass(frozen=True)
class PathTimes:
    """What one path of the load took while it was weighed, alone: means and standard deviations of its CPU time and of
    its waiting over `requests` answers. `weight`: its part of the load, in the declaration's unit. `refused`: all
    were refusals that its `status` lets in beside a page."""

    path: str
    weight: float
    requests: int
    cpu_ms: float
    cpu_sd_ms: float
    wait_ms: float
    wait_sd_ms: float
    refused: bool = False

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> PathTimes | None:
        """The inverse of `to_dict`; None where a number is missing, negative or not finite."""
        found = {name: _positive(data, name) for name in _PATH_NUMBERS}
        if any(value is None for value in found.values()) or not found["weight"]:
            return None
        numbers = {name: float(value or 0.0) for name, value in found.items()}
        requests, refused = int(numbers.pop("requests")), data.get("refused") is True
        return cls(str(data.get("path", "")), requests=requests, refused=refused, **numbers)

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return dict(vars(self))


_PATH_NUMBERS: Final = ("weight", "requests", "cpu_ms", "cpu_sd_ms", "wait_ms", "wait_sd_ms")


def _positive(data: Mapping[str, object], key: str) -> float | None:
    raw = data.get(key)
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw) or raw < 0:
        return None
    return float(raw)


@dataclass(frozen=True)
class Measured:
    """What weighing one worker of the candidate gave. None is: not measured.

    `worker_pss_mib`: the worker warm and idle, with its part of shared pages. `worker_loaded_mib`: USS under load
    of `crowd` requests in flight. `master_mib`: PSS of the master. `slot_mib`: growth per request in flight.
    `cpu_ms` and `wall_ms`: of one request. `wait_ratio`: (wall - CPU) / CPU. `requests` and `seconds`: how
    much was measured. `paths`: the same for each path of the load, where it was told apart. `earlier`: it was another
    generation than the one that is planned. `uncounted`: a sentence for each path whose answers were not, or not all,
    good.
    """

    worker_pss_mib: float | None = None
    worker_loaded_mib: float | None = None
    master_mib: float | None = None
    slot_mib: float | None = None
    crowd: int = 1
    cpu_ms: float | None = None
    wall_ms: float | None = None
    wait_ratio: float | None = None
    requests: int = 0
    seconds: float = 0.0
    paths: tuple[PathTimes, ...] = ()
    earlier: bool = False
    uncounted: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measured:
        """Reads the contract's keys and ignores others; a number that is missing, negative or not finite was not
        measured."""

        def positive(key: str) -> float | None:
            return _positive(data, key)

        paths = [PathTimes.from_dict(item) for item in data.get("paths") or [] if isinstance(item, Mapping)]
        cpu_ms, wall_ms, ratio = positive("cpu_ms"), positive("wall_ms"), positive("wait_ratio")
        if ratio is None and cpu_ms and wall_ms is not None:
            ratio = max(0.0, wall_ms - cpu_ms) / cpu_ms
        return cls(
            worker_pss_mib=positive("worker_pss_mib"),
            worker_loaded_mib=positive("worker_loaded_mib"),
            master_mib=positive("master_mib"),
            slot_mib=positive("slot_mib"),
            crowd=max(1, int(positive("crowd") or 1)),
            cpu_ms=cpu_ms,
            wall_ms=wall_ms,
            wait_ratio=ratio,
            requests=int(positive("requests") or 0),
            seconds=positive("seconds") or 0.0,
            paths=tuple(path for path in paths if path is not None) if None not in paths else (),
            earlier=data.get("earlier") is True,
            uncounted=tuple(str(said) for said in data.get("uncounted") or []),
        )

    def to_dict(self) -> dict[str, object]:
        """Plain data."""
        return {
            "worker_pss_mib": self.worker_pss_mib,
            "worker_loaded_mib": self.worker_loaded_mib,
            "master_mib": self.master_mib,
            "slot_mib": self.slot_mib,
            "crowd": self.crowd,
            "cpu_ms": self.cpu_ms,
            "wall_ms": self.wall_ms,
            "wait_ratio": self.wait_ratio,
            "requests": self.requests,
            "seconds": self.seconds,
            "paths": [path.to_dict() for path in self.paths],
            **({"earlier": True} if self.earlier else {}),
            **({"uncounted": list(self.uncounted)} if self.uncounted else {}),
        }

    @property
    def times_count(self) -> bool:
        """Whether the times come from enough requests to be used."""
        return self.wait_ratio is not None and self.requests >= MEASURED_REQUESTS_MIN

    def without_times(self) -> Measured:
        """The same with its memory alone: what is left of a weigh of other paths."""
        return replace(self, cpu_ms=None, wall_ms=None, wait_ratio=None, requests=0, seconds=0.0, paths=())

    def scaled(self, memory: float, waiting: float, computing: float = 1.0, apart: float = 1.0) -> Measured:
        """The same measurement with its memory, its waiting and its CPU time multiplied: what noise could have made of
        it. The wait ratio follows the waiting alone. `apart`: so many times as far from their mean the CPU times are.
        """
        whole = sum(path.weight for path in self.paths if path.requests)
        mean = sum(path.weight * path.cpu_ms for path in self.paths if path.requests) / whole if whole else 0.0

        def times(value: float | None, factor: float) -> float | None:
            return None if value is None else value * factor

        wall = self.wall_ms
        if self.cpu_ms is not None and wall is not None:
            wall = self.cpu_ms * computing + max(0.0, wall - self.cpu_ms) * waiting
        return Measured(
            worker_pss_mib=times(self.worker_pss_mib, memory),
            worker_loaded_mib=times(self.worker_loaded_mib, memory),
            master_mib=times(self.master_mib, memory),
            slot_mib=times(self.slot_mib, memory),
            crowd=self.crowd,
            cpu_ms=times(self.cpu_ms, computing),
            wall_ms=wall,
            wait_ratio=times(self.wait_ratio, waiting),
            requests=self.requests,
            seconds=self.seconds,
            paths=tuple(
                replace(
                    path,
                    cpu_ms=max(0.0, mean + (path.cpu_ms - mean) * apart) * computing,
                    cpu_sd_ms=path.cpu_sd_ms * apart * computing,
                    wait_ms=path.wait_ms * waiting,
                    wait_sd_ms=path.wait_sd_ms * waiting,
                )
                for path in self.paths
            ),
            earlier=self.earlier,
            uncounted=self.uncounted,
        )


@dataclass(frozen=True)
class Policy:
    """What the operator chooses for all apps of a host."""

    rollout_headroom: bool = True
    reserve_memory_mib: float | None = None


@dataclass(frozen=True)
class Host:
    """The host facts that planning needs. `cores` may be a fraction. `others_mib`: MiB that are taken by what is not
    planned for, `others` in words by whom; `growth_mib`: what their limits let them take more, `growing` in words who.
    `limits_hold`: whether systemd can limit the memory of a unit here.
    """

    cores: float
    cores_limited_by: str
    physical: int
    logical: int
    memory_mib: int
    memory_limited_by: str
    nofile_max: int
    somaxconn: int
    python: tuple[int, int]
    free_threaded: bool
    others_mib: float = 0.0
    others: str = ""
    growing: str = ""
    growth_mib: float = 0.0
    limits_hold: bool = True

    @classmethod
    def from_facts(cls, facts: Facts) -> Host:
        """Reads the shape of the probe's host facts. Raises PlanError where they cannot be planned for."""
        cores, memory, python = facts["cores"], facts["memory"], facts["python"]
        effective = float(cores["effective"])
        if not math.isfinite(effective) or effective <= 0:
            raise PlanError(
                "host", "cores.effective", effective, "no processor time", "more than 0", "probe the host again"
            )
        memory_mib = int(memory["effective_mib"])
        if memory_mib < 1:
            raise PlanError(
                "host", "memory.effective_mib", memory_mib, "no memory", "1 MiB or more", "probe the host again"
            )
        parts = str(python["version"]).rstrip("t").split(".")
        return cls(
            cores=effective,
            cores_limited_by=str(cores.get("limited_by") or "host"),
            physical=int(cores.get("physical") or 0),
            logical=int(cores.get("logical") or 0),
            memory_mib=memory_mib,
            memory_limited_by=str(memory.get("limited_by") or "host"),
            nofile_max=int(facts.get("nofile_max") or 524288),
            somaxconn=int(facts.get("somaxconn") or 4096),
            python=(int(parts[0]), int(parts[1])),
            free_threaded=bool(python.get("free_threaded")) or str(python["version"]).endswith("t"),
            others_mib=float(memory.get("others_mib") or 0),
            others=words(memory.get("neighbours") or ()),
            growing=growing(memory.get("neighbours") or ())[1],
            growth_mib=growing(memory.get("neighbours") or ())[0],
            limits_hold=_limits_hold(facts),
        )


def _limits_hold(facts: Facts) -> bool:
    """Whether systemd has control groups of memory that it uses; True where nothing is known."""
    systemd, version = facts.get("systemd"), (facts.get("cgroup") or {}).get("memory")
    return not systemd or version not in (0, 1) or (version == 1 and systemd < SYSTEMD_WITHOUT_VERSION_1)
