# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of scripts/bench mixtures, from its results: pure, but for the drawing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from . import _mix_duel as duels
from . import _mix_grid as mix
from . import _mix_simulated as sim
from . import _plan_grid as grid
from ._common import Cell, Report, Result, markdown_table
from ._mix_run import Run, pooled


@dataclass(frozen=True)
class Stated:
    """The stated figures: the largest p95 slowdown as a multiple of the least found, goodput as a share of the most."""

    weighed: float = 1.25
    declared: float = 1.5
    weighed_goodput: float = 0.95
    declared_goodput: float = 0.90


STATED: Final = Stated()
BOUNDS: Final = {
    grid.WEIGHED: mix.Bound(STATED.weighed, STATED.weighed_goodput),
    grid.DECLARED: mix.Bound(STATED.declared, STATED.declared_goodput),
    mix.TIMED: mix.Bound(STATED.declared, STATED.declared_goodput),
}
"""Of the roles that have one."""


@dataclass(frozen=True)
class Row:
    """A contender of a cell's final: the figures of all of its runs together, and against the best.

    `slowdown`: the largest p95 slowdown of a kind; `ratio`: to the least found, over the rounds that both ran in;
    `goodput`: answers within the limit of their kind, a second. `ahead`: the weighed plan's slowdown to this one's,
    over the rounds that both ran in; above 1 this one is ahead of the plan. `duel`: with a rule of thumb that is
    close to it, or ahead.
    """

    config: str
    roles: tuple[str, ...]
    kinds: tuple[mix.Told, ...]
    slowdown: float
    ratio: float
    goodput: float
    goodput_ratio: float
    memory_mib: float
    over_memory: bool
    rounds: int
    ahead: float
    duel: duels.Duel | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data; what is infinite is null."""
        figures = ("slowdown", "ratio", "goodput", "goodput_ratio", "memory_mib", "ahead")
        return {
            **{key: getattr(self, key) for key in ("config", "over_memory", "rounds")},
            **{key: mix.plain_number(getattr(self, key)) for key in figures},
            "roles": list(self.roles),
            "kinds": [kind.to_dict() for kind in self.kinds],
            "duel": self.duel.to_dict() if self.duel else None,
        }


@dataclass(frozen=True)
class Found:
    """One measured cell."""

    host: grid.Host
    traffic: mix.Traffic
    value: Mapping[str, Any]
    rows: tuple[Row, ...]
    best: Row
    noise: float
    foreign: float
    simulated: Mapping[str, sim.Simulated]

    @property
    def agrees(self) -> bool | None:
        """Whether the simulation agrees with the best found and with the weighed plan; None where neither could be
        compared."""
        rows = [row for row in (self.best, self.role(grid.WEIGHED)) if row.config in self.simulated]
        return all(sim.agrees(self.simulated[row.config].slowdown, row.slowdown) for row in rows) if rows else None

    def role(self, name: str) -> Row:
        """The row of a role."""
        return next(row for row in self.rows if name in row.roles)

    @property
    def short(self) -> list[str]:
        """What the cell falls short of, a sentence each."""
        return shortfalls(self)


@dataclass(frozen=True)
class _Compared:
    """The final runs of a cell: of each contender, by its place in the field, what it was and its figures.

    `worst`: the slowdown of the kind that is served worst; `good`: requests a second within the limit.
    """

    walls: Sequence[float]
    budget_mib: float
    entries: Sequence[Mapping[str, Any]]
    runs: Sequence[list[Run]]

    @classmethod
    def of(cls, final: Sequence[Mapping[str, Any]], alone_ms: Sequence[float], budget_mib: float) -> _Compared:
        runs = [[Run.from_dict(run) for run in entry["runs"]] for entry in final]
        return cls(alone_ms, budget_mib, final, runs)

    def weighed(self) -> int:
        return next(place for place, entry in enumerate(self.entries) if grid.WEIGHED in entry["roles"])

    def ahead(self, place: int) -> float:
        """The weighed plan's slowdown to that of another, over the rounds that both ran in."""
        both = min(len(self.runs[place]), len(self.runs[self.weighed()]))
        own = self.worst(place, both)
        return self.worst(self.weighed(), both) / own if math.isfinite(own) else 0.0

    def memory(self, place: int) -> float:
        return max(run.memory_mib for run in self.runs[place])

    def worst(self, place: int, rounds: int | None = None) -> float:
        return mix.worst(mix.told(pooled(self.runs[place][:rounds]), self.walls))

    def good(self, place: int, rounds: int | None = None) -> float:
        return _goodput(self.runs[place][:rounds], self.walls)

    def best(self) -> int:
        """The place of the best of those that ran in every round, inside the memory where one is."""
        most = max(len(mine) for mine in self.runs)
        candidates = [
            place
            for place, entry in enumerate(self.entries)
            if grid.TWIN not in entry["roles"] and len(self.runs[place]) == most
        ]
        inside = [place for place in candidates if self.memory(place) <= self.budget_mib]
        return min(inside or candidates, key=lambda place: (self.worst(place), -self.good(place), self.memory(place)))

    def row(self, place: int, best: int) -> Row:
        """A contender beside the best in the same rounds."""
        entry, rounds = self.entries[place], len(self.runs[place])
        base = self.worst(best, rounds)
        return Row(
            config=entry["config"],
            roles=tuple(entry["roles"]),
            kinds=tuple(mix.told(pooled(self.runs[place]), self.walls)),
            slowdown=self.worst(place),
            ratio=self.worst(place) / base if math.isfinite(base) else math.nan,
            goodput=self.good(place),
            goodput_ratio=self.good(place) / self.good(best, rounds),
            memory_mib=self.memory(place),
            over_memory=self.memory(place) > self.budget_mib,
            rounds=rounds,
            ahead=self.ahead(place),
        )


def runs_of(value: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The runs that a cell's figures rest on: those of each contender of the final, and of both in each duel."""
    return [*value["final"], *({"runs": runs} for duel in value["duels"].values() for runs in duel.values())]


def rivals(
    final: Sequence[Mapping[str, Any]], alone_ms: Sequence[float], budget_mib: float
) -> dict[str, Mapping[str, Any]]:
    """The rules of thumb within the memory that are close to the weighed plan in a final, or ahead of it: settings by
    configuration. One with the plan's own configuration is none."""
    compared = _Compared.of(final, alone_ms, budget_mib)
    return {
        entry["config"]: entry["settings"]
        for place, entry in enumerate(final)
        if set(entry["roles"]) & set(grid.RULES)
        and compared.memory(place) <= budget_mib
        and grid.WEIGHED not in entry["roles"]
        and compared.ahead(place) >= 1.0 / mix.CLOSE
    }


def _duel(plain: Mapping[str, Any], alone_ms: Sequence[float]) -> duels.Duel:
    """A duel by its runs."""
    plan, rule = ([Run.from_dict(run) for run in plain[name]] for name in ("plan", "rule"))

    def worst(runs: Sequence[Run]) -> float:
        return mix.worst(mix.told(pooled(runs), alone_ms))

    return duels.duel_of(
        worst(plan), worst(rule), [(worst([mine]), worst([its])) for mine, its in zip(plan, rule, strict=True)]
    )


def found_of(cell: Cell, value: Mapping[str, Any]) -> Found:
    """A cell's result, compared."""
    compared = _Compared.of(value["final"], value["alone_ms"], value["budget_mib"])
    best = compared.best()
    fought = {config: _duel(runs, value["alone_ms"]) for config, runs in value["duels"].items()}
    rows = [compared.row(place, best) for place in range(len(compared.entries))]
    rows = [replace(row, duel=None if _is_twin(row) else fought.get(row.config)) for row in rows]
    host, traffic = grid.Host(**cell.inputs["host"]), mix.traffic_of(cell.inputs["traffic"])
    return Found(
        host=host,
        traffic=traffic,
        value=value,
        rows=tuple(rows),
        best=rows[best],
        noise=_noise(rows),
        foreign=mix.foreign(runs_of(value)),
        simulated=sim.beside(host, traffic, value, str(cell.inputs["arrivals"])),
    )


def _is_twin(row: Row) -> bool:
    return grid.TWIN in row.roles


def _noise(rows: Sequence[Row]) -> float:
    """How much the weighed plan's twin, which is the same, differs from it; nan where it cannot be told."""
    twin = next(filter(_is_twin, rows), None)
    weighed = next(row for row in rows if grid.WEIGHED in row.roles)
    return twin.slowdown / weighed.slowdown if twin is not None and math.isfinite(weighed.slowdown) else math.nan


def _goodput(runs: Sequence[Run], walls: Sequence[float]) -> float:
    return mix.within(pooled(runs), walls) / sum(run.seconds for run in runs)


def shortfalls(found: Found, stated: Stated = STATED) -> list[str]:
    """What a cell falls short of, a sentence each; [] when it reaches every stated figure."""
    weighed, declared, best = found.role(grid.WEIGHED), found.role(grid.DECLARED), found.best
    timed = found.role(mix.TIMED)
    short = []
    for name, row, ratio, goodput in (
        ("after weighing", weighed, stated.weighed, stated.weighed_goodput),
        ("declared", declared, stated.declared, stated.declared_goodput),
        ("declared with times", timed, stated.declared, stated.declared_goodput),
        (grid.UNSAID_WORDS, found.role(grid.UNSAID), stated.declared, stated.declared_goodput),
    ):
        if not row.ratio <= ratio:
            short.append(
                f"{name} {row.ratio:.2f} times the least slowdown ({row.config} {row.slowdown:.1f}, {best.config}"
                f" {best.slowdown:.1f})"
            )
        if row.goodput_ratio < goodput:
            short.append(f"{name} {row.goodput_ratio:.2f} of the best's goodput ({row.config}, {best.config})")
        if row.over_memory:
            short.append(f"{name} {row.memory_mib:.0f} MiB, more than the budget of {found.value['budget_mib']:.0f}")
    for rule in grid.RULES:
        row = found.role(rule)
        if row.duel is not None and row.duel.worse:
            short.append(f"after weighing worse than {rule} ({row.duel.plan:.1f}, {row.config} {row.duel.rule:.1f})")
    return short


def report(cells: Sequence[Cell], results: Mapping[str, Result]) -> Report:
    """The whole report of what is measured."""
    found = {cell.name: found_of(cell, results[cell.name].value) for cell in cells if cell.name in results}
    calm = [name for name, entry in found.items() if entry.foreign <= grid.DISTURBED]
    return Report(
        title="The plan on requests that are not alike",
        markdown=_markdown(found, calm, len(cells)),
        data=_data(found, calm),
        plot=lambda figure: _draw(figure, found),
        plot_size=(11.0, 2.5 + 0.28 * len(found)),
        missed=[f"{name}: {sentence}" for name in calm for sentence in found[name].short],
    )


def _data(found: Mapping[str, Found], calm: Sequence[str]) -> dict[str, Any]:
    return {
        "stated": vars(STATED),
        "stated_cells": {"measured": len(calm), "reached": sum(not found[name].short for name in calm)},
        "cells": {
            name: {
                **{key: entry.value[key] for key in ("rate", "budget_mib", "alone_ms", "cpu_ms", "weigh", "search")},
                "traffic": mix.plain(entry.traffic),
                "cpu_c2": round(entry.traffic.variation(entry.value["cpu_ms"]), 2),
                "wall_c2": round(entry.traffic.variation(entry.value["alone_ms"]), 2),
                "best": entry.best.to_dict(),
                "rows": [row.to_dict() for row in entry.rows],
                "same_again": mix.plain_number(entry.noise),
                "foreign": round(entry.foreign, 3),
                "generator": _generator(entry),
                "simulated": {config: vars(one) for config, one in entry.simulated.items()},
                "simulation_agrees": entry.agrees,
                "short": entry.short,
            }
            for name, entry in found.items()
        },
    }


def _generator(entry: Found) -> dict[str, float]:
    """How late the generator was (99th percentile, the worst run), and the most that it took of one core."""
    runs = [run for one in runs_of(entry.value) for run in one["runs"]]
    return {
        "lag_ms": max(float(run["lag_ms"]) for run in runs),
        "core_share": max(float(run["load_share"]) for run in runs),
    }


def _markdown(found: Mapping[str, Found], calm: Sequence[str], of: int) -> str:
    reached = sum(not found[name].short for name in calm)
    generators = [_generator(entry) for entry in found.values()]
    noise = [abs(math.log(entry.noise)) for entry in found.values() if math.isfinite(entry.noise) and entry.noise > 0]
    same = math.exp(statistics.median(noise)) - 1 if noise else math.nan
    parts = [
        f"{len(found)} of {of} cells are measured, {len(found) - len(calm)} of them disturbed by other work (more than "
        f"{100 * grid.DISTURBED:.0f} % of the server's CPUs): these prove nothing (`scripts/bench mixtures --disturbed`"
        f" measures them anew). {reached} of {len(calm)} others "
        f"reach every stated figure: after weighing at most {STATED.weighed} times the least slowdown that was found "
        f"and at least {STATED.weighed_goodput} of its goodput; from the declaration {STATED.declared} and "
        f"{STATED.declared_goodput}, with the times of its paths, with its mix, and with nothing of these; in no cell"
        " worse than a rule of thumb"
        " that fits in the memory (by a duel where one is close to it in the final, or ahead); within the memory.",
        f"The generator sent 99 % of the requests within {max(one['lag_ms'] for one in generators):.2f} ms of their "
        f"time and took at most {100 * max(one['core_share'] for one in generators):.1f} % of one core. In every "
        f"third cell the weighed plan runs twice, on two servers: their slowdowns differed by {100 * same:.0f} % (in"
        " the middle).",
        _short_list(found, calm),
        _duels(found, calm),
        _unsaid(found, calm),
        _simulation(found, calm),
    ]
    for host in dict.fromkeys(entry.host for entry in found.values()):
        mine = {name: entry for name, entry in found.items() if entry.host == host}
        parts += [f"## {host.words}", _table(mine), _kinds_table(mine)]
    parts.append(HOW)
    return "\n\n".join(part for part in parts if part)


HOW: Final = """\
## How to read it

- Slowdown: the largest, over the kinds of request, of p95 latency divided by what that kind takes alone (one request
  after the other on one worker). It lets neither a long request starve the short ones nor the reverse. Ratios are to
  the least found in the same final, over the same arrivals; goodput: answers within ten times what their kind takes
  alone, a second, as a share of the best's.
- Load: the share of the cores' CPU that the requests take, Gunicorn and Flask included. C2: the variance of the CPU
  time (and of the time alone) of a request over the square of its mean.
- Arrivals: Poisson given their number, or bursts of four on average (geometric, gaps of 10 ms) at random times; every
  kind has its exact share, in random order. The schedule of a run is fixed before it and the same for every
  configuration; a latency counts from when the request was due; each has a connection of its own. What is not
  answered within 8 s has no latency and counts as infinite.
- Searched: sync from 1 to 16 for each core, gthread of n to 8n processes with 4n to 64n threads in all (`si0.5`: with a
  switch interval of 0.5 ms instead of Python's 5), gevent from 1 to 2n+1. All of them are simulated; the eight most
  promising ones run for real, among them the best two of each class, unless the simulation gives it twice the least
  slowdown; the best two of these are in the final. Not tried: what Little's law or its processes keep from serving the
  rate at all, and what cannot fit in the memory.
- The final runs in two rounds, there and back again, each with its own arrivals; a figure is that of both together.
  After the first, a plan with three times the best's slowdown is not run again, nor another contender with 1.6 times,
  of which it is enough to know that it is worse: it is compared over the round that it ran. As long as a plan's
  slowdown is within 1.15 times of its bound, below or above, or its goodput within 0.03, the plans and what is within
  1.25 times of the best run in two rounds more, on servers that are started anew, up to eight rounds in all, which all
  count (that which says nothing of the mix has no further rounds of its own).
- Declared: the profile, the peak rate, the paths with their weights, whether requests take about the same CPU time
  (`mix`), and that a proxy buffers, as in production: the generator is as well-behaved as one, and sends whole requests
  at once; no times. With times: instead of the mix, what each path computes and waits. Weighed: from the profile, the
  rate and the paths with their weights alone, finished with what the weigh measured. Without a proxy gthread
  would be planned wherever requests are not alike. 2n+1: sync, Gunicorn's documentation. heroku: min(2n+1, RAM / 256
  MiB) sync. debops: n+1 sync. cloud run: gthread 1 x 8.
- Memory: anonymous PSS of all processes and the pages of files once, after a run; not enforced, but what takes more
  than its trial would let it (`limits.memory_percent`, 80 % of the generation's MemoryMax) is marked, and is no best.
- Same again: the slowdown of the weighed plan on a second server, to that on the first. Others: the share of the
  server's CPUs that went to other work."""


def _simulation(found: Mapping[str, Found], calm: Sequence[str]) -> str:
    compared = [name for name in calm if found[name].agrees is not None]
    agreeing = sum(bool(found[name].agrees) for name in compared)
    rows = []
    for name in compared:
        entry = found[name]
        for row in dict.fromkeys((entry.best, entry.role(grid.WEIGHED), entry.role("2n+1"))):
            if row.config in entry.simulated:
                told = entry.simulated[row.config]
                kinds = (f"{kind.p95_ms:.0f}/{p95:.0f}" for kind, p95 in zip(row.kinds, told.p95_ms, strict=True))
                ratio = told.slowdown / row.slowdown
                cells = (name, row.config, f"{row.slowdown:.1f}", f"{told.slowdown:.1f}", f"{ratio:.2f}")
                rows.append((*cells, ", ".join(kinds)))
    return "\n\n".join(
        [
            "## The simulation beside the real runs",
            "The simulation of the queue gets the same arrivals and the CPU time that was measured of each kind alone. "
            f"In {agreeing} of {len(compared)} cells its largest p95 slowdown is within {100 * sim.AGREES:.0f} % of "
            "the measured one, both of the best found and of the weighed plan.",
            markdown_table(
                ("cell", "configuration", "measured", "simulated", "ratio", "p95 ms of each kind, measured/simulated"),
                rows,
                right=(2, 3, 4),
            ),
        ]
    )


def _duels(found: Mapping[str, Found], calm: Sequence[str]) -> str:
    """The rules of thumb that were close to the weighed plan in a final, or ahead, and what came of it."""
    rows = []
    for name in calm:
        entry = found[name]
        for row in entry.rows:
            if row.duel is not None:
                plan, told = entry.role(grid.WEIGHED), row.duel
                final = f"{row.slowdown * row.ahead:.1f}, {row.slowdown:.1f}"
                again = f"{told.plan:.1f}, {told.rule:.1f}"
                rules = ", ".join(role for role in row.roles if role in grid.RULES)
                cells = (name, plan.config, f"{row.config} ({rules})", final, again, f"{told.ratio:.2f}")
                rows.append((*cells, duels.words(told), f"{told.chance:.2f}", "yes" if told.worse else "no"))
    if not rows:
        return ""
    text = (
        "A final has few of the rare requests, so the order of two that are alike is chance in it. A rule of thumb that"
        f" has at most {mix.CLOSE:g} times the weighed plan's slowdown meets it again, the two of them alone, in"
        f" {duels.ROUNDS} rounds with other arrivals, which alone decide; every two rounds, there and back, have"
        " servers that are started anew. Chance: that rounds of two equals are as much in the rule's favour (Fisher's"
        " randomisation test on the ratios by rounds): with a large one the two are not told apart. The plan counts as"
        " worse where its slowdown over all rounds is more than the rule's, whatever the chance."
    )
    header = (
        *("cell", "plan", "rule", "final: plan, rule", "duel: plan, rule", "ratio", "by rounds", "chance", "worse"),
    )
    return "\n\n".join(["## Beside a rule of thumb that is close", text, markdown_table(header, rows, right=(5, 7))])


def _unsaid(found: Mapping[str, Found], calm: Sequence[str]) -> str:
    """What it costs not to say whether requests are alike."""
    rows = []
    within = sum(found[name].role(grid.UNSAID).ratio <= STATED.declared for name in calm)
    for name in calm:
        declared, unsaid = found[name].role(grid.DECLARED), found[name].role(grid.UNSAID)
        if unsaid.config != declared.config:
            said = found[name].traffic.mix
            rows.append((name, said, declared.config, _multiple(declared), unsaid.config, _multiple(unsaid)))
    if not rows:
        return ""
    text = (
        "A declaration may say the profile, the rate and the weights of its paths, and not whether requests are alike"
        " (`mix`): they are taken not to be, as those of web applications are. The same is stated of it. It has at"
        f" most {STATED.declared:g} times the least slowdown in {within} of {len(calm)} cells. Where it plans something"
        " else:"
    )
    header = ("cell", "mix", "declared with it", "times", "without it", "times")
    return "\n\n".join(["## Without a word on the mix", text, markdown_table(header, rows, right=(3, 5))])


def _short_list(found: Mapping[str, Found], calm: Sequence[str]) -> str:
    lines = [f"- `{name}`: {sentence}." for name in calm for sentence in found[name].short]
    return "\n".join(["## What falls short", "", *lines]) if lines else ""


def _multiple(row: Row) -> str:
    text = f"{row.ratio:.2f}" if math.isfinite(row.ratio) else "lost"
    return text + (" (memory)" if row.over_memory else "")


def _table(entries: Mapping[str, Found]) -> str:
    header = (
        *("mixture, load, arrivals", "C2 CPU, alone", "a second", "best found", "slowdown", "goodput/s", "MiB"),
        *("declared", "times", "with times", "times", "weighed", "times", "goodput", "MiB"),
        *(*grid.RULES, "same again", "others"),
    )
    rows = []
    for name, entry in entries.items():
        _, traffic, load, arrivals = name.split("/")
        best, weighed = entry.best, entry.role(grid.WEIGHED)
        declared, timed = entry.role(grid.DECLARED), entry.role(mix.TIMED)
        c2 = [entry.traffic.variation(entry.value[key]) for key in ("cpu_ms", "alone_ms")]
        rows.append(
            (
                *(f"{traffic}, {load}, {arrivals}", f"{c2[0]:.1f}, {c2[1]:.1f}", f"{entry.value['rate']:g}"),
                *(best.config, f"{best.slowdown:.1f}", f"{best.goodput:.0f}", f"{best.memory_mib:.0f}"),
                *(declared.config, _multiple(declared), timed.config, _multiple(timed)),
                *(weighed.config, _multiple(weighed)),
                *(f"{weighed.goodput_ratio:.2f}", f"{weighed.memory_mib:.0f}"),
                *(_multiple(entry.role(rule)) for rule in grid.RULES),
                *(f"{entry.noise:.2f}" if math.isfinite(entry.noise) else "", f"{100 * entry.foreign:.0f} %"),
            )
        )
    return markdown_table(header, rows, right=(2, 4, 5, 6, 8, 10, *range(12, 21)))


def _kinds_table(entries: Mapping[str, Found]) -> str:
    """The latencies of each kind, of the best and of the weighed plan."""
    header = ("mixture, load, arrivals", "kind", "alone ms", "best: p50, p95", "weighed: p50, p95", "2n+1: p50, p95")
    rows = []
    for name, entry in entries.items():
        for index, kind in enumerate(entry.traffic.kinds):
            shown = [row.kinds[index] for row in (entry.best, entry.role(grid.WEIGHED), entry.role("2n+1"))]
            rows.append(
                (
                    ", ".join(name.split("/")[1:]) if index == 0 else "",
                    f"{kind.name} ({100 * kind.share:g} %)",
                    f"{entry.value['alone_ms'][index]:.0f}",
                    *(f"{one.p50_ms:.0f}, {one.p95_ms:.0f}" for one in shown),
                )
            )
    return markdown_table(header, rows, right=(2, 3, 4, 5))


def _draw(figure: Any, found: Mapping[str, Found]) -> None:
    slow, good = figure.subplots(1, 2, sharey=True)
    names = list(found)[::-1]
    for role, colour in {**grid.COLOURS, mix.TIMED: "#3aa6a6"}.items():
        mark, size = ("o" if role.startswith("headcount") else "x"), (30 if role == grid.WEIGHED else 18)
        ratios = [found[name].role(role).ratio for name in names]
        slow.scatter(
            [ratio if math.isfinite(ratio) else 100.0 for ratio in ratios],
            *(names,), c=colour, marker=mark, s=size, label=role, zorder=3,
        )  # fmt: skip
        shares = [found[name].role(role).goodput_ratio for name in names]
        good.scatter(shares, names, c=colour, marker=mark, s=size, zorder=3)
    slow.axvline(1.0, color="black", lw=0.8)
    slow.axvline(STATED.weighed, color="#888", lw=0.8)
    good.axvline(STATED.weighed_goodput, color="#888", lw=0.8)
    slow.set_xscale("log")
    slow.set_xlabel("largest p95 slowdown / least found")
    good.set_xlabel("goodput / the best's")
    for axes in (slow, good):
        axes.grid(axis="both", color="#eee")
        axes.set_axisbelow(True)
    for label, name in zip(slow.get_yticklabels(), names, strict=True):
        label.set_color("#aaa" if found[name].foreign > grid.DISTURBED else "black")
    figure.legend(loc="outside upper center", ncols=6, fontsize=8)
