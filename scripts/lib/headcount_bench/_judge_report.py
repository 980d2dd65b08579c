# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of scripts/bench judge: every recorded run judged again, counted, and told."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from headcount_scripts import paths

from . import _judge_early as early
from . import _judge_rules as rules
from ._common import Bench, Cell, Report, markdown_table, percent

OURS = "ours"
#: When the generator's own clock drifted by more than this in the first run (milliseconds), the whole machine stopped:
#: without a neighbour of ours, that run was not calm.
DISTURBED_MS = 500.0
WINDOWS = (10, 20, 30)
LENGTHS = (15, 30)
#: In the place of the seconds, of a trial that ended as soon as it had failed.
ENDED = 0
UP = ("all+20%", "all+30%", "all+50%", "all+100%", "all+300%", "tail+30%", "tail+50%")
ERRORS = ("errors 0.5%", "errors 1%", "errors 2%", "errors 5%", "errors 20%")
SOON = ("all+50%", "all+100%", "all+300%", "errors 20%", "hang", "kill")
#: A median of fewer is none.
LEAST_SOON = 5
BROKEN = ("kill", "hang", "refused")
CONDITIONS = ("calm, io", "calm, cpu", "calm", "noisy, io", "noisy, cpu", "noisy", "disturbed")


@dataclass(frozen=True)
class Judged:
    """One pair, judged: by its whole run or by a part of it, of so many seconds (ENDED: as its trial ended)."""

    cell: str
    variant: str
    profile: str
    noise: int
    rate: int
    seconds: int
    others: float
    drift_ms: float
    first: str
    final: str | None
    check: str
    cause: str
    p95_ratio: float
    p95_live: float
    core_share: float
    pss_ratio: float | None = None
    growth_said: bool = False
    growth_fails: bool = False
    peers: Mapping[str, bool] = field(default_factory=dict)
    soon: tuple[float | None, bool] | None = None
    wall_s: float | None = None

    @property
    def whole(self) -> bool:
        """Whether it is no part of a longer run."""
        return self.seconds in (ENDED, *LENGTHS)

    @property
    def caught(self) -> bool | None:
        """Whether it was kept from being promoted; None when the retry that it needed was not recorded."""
        return None if self.final is None else self.final != "pass"


def k6_limits(raw: Callable[[str], Any], cells: Sequence[Cell]) -> dict[str, float]:
    """For each profile, 1.2 times the live p95 of its first calm run: a threshold as one would write it down before."""
    limits: dict[str, float] = {}
    for cell in cells:
        profile = cell.inputs["profile"]
        if profile in limits or not cell.name.startswith("same/calm/"):
            continue
        data = raw(cell.name)
        if data:
            take = rules.Take.from_dict(data["pairs"][0]["takes"][0])
            limits[profile] = 1.2 * rules.quantile(take.live.latency_ms, 0.95)
    return limits


def judge_cell(name: str, inputs: Mapping[str, Any], data: Mapping[str, Any], k6_limit: float) -> list[Judged]:
    """All verdicts that a group's runs give: the whole run, and the parts of it that stand for shorter ones."""
    found = []
    for pair in data["pairs"]:
        takes = [rules.Take.from_dict(take) for take in pair["takes"]]
        first, retry = takes[0], takes[1] if len(takes) > 1 else None
        for seconds, one, two in _spans(inputs, bool(pair["disturb"]), first, retry):
            outcome = rules.outcome_of(one, two)
            verdict = rules.verdict_of(one)
            old = first.live_memory.pss_mib
            strict = rules.verdict_of(one, rules.STRICT_MEMORY)
            found.append(
                Judged(
                    cell=name, variant=pair["variant"], profile=inputs["profile"], noise=inputs["noise"],
                    rate=inputs["rate"], seconds=seconds, others=data["cpu"]["others"],
                    drift_ms=max(first.candidate.drift_ms, first.live.drift_ms), first=outcome.first,
                    final=outcome.final, check=outcome.check, cause=outcome.cause,
                    p95_ratio=_ratio(one), p95_live=rules.quantile(one.live.latency_ms, 0.95),
                    core_share=first.core_share,
                    pss_ratio=first.memory.pss_mib / old if first.memory.pss_mib and old else None,
                    growth_said=any(text.startswith("memory grew") for text in verdict.warnings),
                    growth_fails=any(
                        check.name == "memory_growth" and check.outcome == "fail" for check in strict.checks
                    ),
                    peers=rules.peers_of(one, k6_limit),
                    soon=_soon(first, retry, inputs["seconds"]) if seconds in (ENDED, inputs["seconds"]) else None,
                    wall_s=_wall(pair["takes"]) if seconds == ENDED else None,
                )
            )  # fmt: skip
    return found


def _spans(
    inputs: Mapping[str, Any], once: bool, first: rules.Take, retry: rules.Take | None
) -> list[tuple[int, rules.Take, rules.Take | None]]:
    """The whole run and the parts of it that stand for shorter ones: seconds, first run, retry. `once`: something
    happens once, in the first ten seconds."""
    whole = ENDED if inputs["retry"] == "trial" else inputs["seconds"]
    spans: list[tuple[int, rules.Take, rules.Take | None]] = [(whole, first, retry)]
    if inputs["retry"] == "sooner" and retry is not None:
        spans.append((20, first.cut(0, 20), retry.cut(0, 40)))
        parts = [part for part in ((0,) if once else (0, 1, 2)) if retry.has(20 * part)]
        spans += [(10, first.cut(10 * part, 10), retry.cut(20 * part, 20)) for part in parts]
    return spans


def _soon(first: rules.Take, retry: rules.Take | None, seconds: float) -> tuple[float | None, bool] | None:
    found = early.soon(first, retry, seconds)
    return None if found is None else (found.seconds, found.looked)


def _wall(takes: Sequence[Mapping[str, Any]]) -> float:
    """Seconds by the clock from the first measured request of a trial to its verdict."""
    first, last = takes[0], takes[-1]
    warmup = float((first["load"].get("warmup") or {}).get("seconds", 0.0))
    return float(last["at"]) + float(last["seconds"]) - float(first["at"]) - warmup


def _ratio(take: rules.Take) -> float:
    usual = rules.quantile(take.live.latency_ms, 0.95)
    return min(1000.0, rules.quantile(take.candidate.latency_ms, 0.95) / usual) if usual < 1e9 else 1.0


def _sources() -> str:
    """A digest of the code that decides, so that what was judged by another is judged again."""
    digest = hashlib.sha256()
    sources = paths.ROOT / "plugins" / "module_utils"
    for file in (sources / "_declaration" / "shortfall.py", *sorted((sources / "_verdict").glob("*.py"))):
        digest.update(file.read_bytes())
    for file in (sources / "_load" / "early.py", Path(rules.__file__), Path(early.__file__), Path(__file__)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _work(arguments: tuple[str, Mapping[str, Any], str, float]) -> list[dict[str, Any]]:
    name, inputs, path, limit = arguments
    with gzip.open(path, "rt", encoding="utf-8") as file:
        data = json.load(file)
    return [asdict(judged) for judged in judge_cell(name, inputs, data, limit)]


def judge_all(bench: Bench) -> list[Judged]:
    """Every recorded group, judged by the present code; remembered by that code's digest."""
    measured = bench.results()
    cells = [cell for cell in bench.cells if cell.name in measured]
    by_name = {cell.name: cell for cell in cells}
    limits = k6_limits(lambda name: bench.load_raw(by_name[name]), cells)
    memo = bench.folder / f"judged-{_sources()}.json"
    known: dict[str, list[dict[str, Any]]] = {}
    if memo.exists():
        known = json.loads(memo.read_text(encoding="utf-8"))
    todo = [cell for cell in cells if f"{cell.key} {limits.get(cell.inputs['profile'], 0.0):.3f}" not in known]
    jobs = [
        (cell.name, dict(cell.inputs), str(bench.folder / "raw" / f"{cell.key}.json.gz"),
         limits.get(cell.inputs["profile"], 0.0))
        for cell in todo
    ]  # fmt: skip
    with ProcessPoolExecutor(max_workers=min(2, len(os.sched_getaffinity(0)))) as pool:
        for cell, judged in zip(todo, pool.map(_work, jobs), strict=True):
            known[f"{cell.key} {limits.get(cell.inputs['profile'], 0.0):.3f}"] = judged
    for old in bench.folder.glob("judged-*.json"):
        old.unlink()
    memo.write_text(json.dumps(known), encoding="utf-8")
    return [
        Judged(**entry)
        for cell in cells
        for entry in known[f"{cell.key} {limits.get(cell.inputs['profile'], 0.0):.3f}"]
    ]


# --- counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """How many of how many, with 95 % Clopper-Pearson bounds."""

    count: int
    total: int

    @property
    def share(self) -> float:
        """0..1; 0 of nothing is 0."""
        return self.count / self.total if self.total else 0.0

    def told(self) -> str:
        """As a table has it: "3 of 120 (2.5 %; 0.5 to 7.1 %)"."""
        if not self.total:
            return "not measured"
        low, high = rules.share_bounds(self.count, self.total)
        return f"{self.count} of {self.total} ({percent(self.share)}; {percent(low)} to {percent(high)})"

    def short(self) -> str:
        """ "2.5 %", or a dash for nothing."""
        return percent(self.share) if self.total else "–"


@dataclass(frozen=True)
class Caught(Tally):
    """The same, with what the judge said of each that it did not catch."""

    missed: Sequence[str] = ()


def tally(entries: Iterable[Judged], rule: str = OURS) -> Tally:
    """How many a rule stopped. Ours counts the verdict after the retry; the others know no retry."""
    if rule == OURS:
        decided = [entry.caught for entry in entries if entry.caught is not None]
        return Tally(sum(decided), len(decided))
    seen = [bool(entry.peers[rule]) for entry in entries if rule in entry.peers]
    return Tally(sum(seen), len(seen))


def first_tally(entries: Iterable[Judged]) -> Tally:
    """How many the first run alone would have stopped."""
    seen = [entry.first != "pass" for entry in entries]
    return Tally(sum(seen), len(seen))


def false_alarm_groups(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """The runs of a release against itself, by condition."""
    same = [entry for entry in judged if entry.variant == "same"]
    calm, noisy = _parted(same, lambda entry: not entry.noise)
    undisturbed, disturbed = _parted(calm, lambda entry: entry.drift_ms <= DISTURBED_MS)
    groups = {"calm": undisturbed, "disturbed": disturbed, "calm or disturbed": calm, "noisy": noisy, "all": same}
    return {
        **{
            f"{name}, {profile}": [entry for entry in found if entry.profile == profile]
            for name, found in groups.items()
            for profile in ("io", "cpu")
        },
        **groups,
        **{f"all, {seconds} s": [entry for entry in same if entry.seconds == seconds] for seconds in LENGTHS},
    }


def _parted(entries: Sequence[Judged], wanted: Callable[[Judged], bool]) -> tuple[list[Judged], list[Judged]]:
    """Those that are wanted, and the others."""
    return [entry for entry in entries if wanted(entry)], [entry for entry in entries if not wanted(entry)]


LARGEST: Final = "+50%"


def semi_synthetic(bench: Bench, factors: Sequence[float], seconds: int = 30) -> dict[str, dict[str, Caught]]:
    """Latencies of recorded calm runs of so many seconds of a release against itself, multiplied: what the judge makes
    of them.

    The retry is made of two further recordings one after the other. "all": every latency; "tail": those above the live
    arm's 90th percentile.
    """
    takes: list[rules.Take] = []
    for cell in bench.cells:
        wanted = cell.name.startswith("same/calm/io") and cell.inputs["seconds"] == seconds
        data = bench.load_raw(cell) if wanted else None
        takes += [rules.Take.from_dict(pair["takes"][0]) for pair in data["pairs"]] if data else []
    takes = [take for take in takes if max(take.candidate.drift_ms, take.live.drift_ms) <= DISTURBED_MS]
    found: dict[str, dict[str, Caught]] = {}
    if len(takes) < 6:
        return found
    for kind in ("all", "tail"):
        found[kind] = {}
        for factor in factors:
            missed = []
            for place, take in enumerate(takes):
                retry = _made_of(takes[(place + 3) % len(takes)], takes[(place + 6) % len(takes)])
                outcome = rules.outcome_of(_slow(take, factor, kind), _slow(retry, factor, kind))
                if not outcome.caught:
                    missed.append(f"run {place + 1}, first {outcome.first}: {outcome.cause}")
            up = f"+{round(100 * (factor - 1))}%"
            found[kind][up] = Caught(len(takes) - len(missed), len(takes), tuple(missed))
    return found


def _made_of(one: rules.Take, two: rules.Take) -> rules.Take:
    """Two runs one after the other, as the retry of a third."""
    return rules.Take(
        rules.joined(one.candidate, two.candidate), rules.joined(one.live, two.live), one.memory, one.live_memory,
        one.core_share, one.rate,
    )  # fmt: skip


def _slow(take: rules.Take, factor: float, kind: str) -> rules.Take:
    above = 0.0 if kind == "all" else rules.quantile(take.live.latency_ms, 0.9)
    return rules.Take(
        rules.slowed(take.candidate, factor, above), take.live, take.memory, take.live_memory, take.core_share,
        take.rate,
    )  # fmt: skip


# --- telling ----------------------------------------------------------------------------------------------------------


def _rules_header() -> list[str]:
    return ["ours", *rules.PEERS.values()]


def _false_alarms(groups: Mapping[str, Sequence[Judged]]) -> str:
    rows = []
    for name in (*CONDITIONS, "calm or disturbed", *(f"all, {seconds} s" for seconds in LENGTHS), "all"):
        entries = groups[name]
        cells = [name if name in CONDITIONS and "," in name else f"**{name}**", str(len(entries))]
        cells += [tally(entries).told(), first_tally(entries).short()]
        rows.append([*cells, *(tally(entries, rule).short() for rule in rules.PEERS)])
    header = ["host, profile", "verdicts", "false alarms after the retry (95 % bounds)", "first run alone"]
    return markdown_table(header + list(rules.PEERS.values()), rows, right=range(1, 8))


def _alarms(groups: Mapping[str, Sequence[Judged]]) -> str:
    lines = []
    for name in ("calm", "noisy", "disturbed"):
        for entry in groups[name]:
            if entry.caught:
                lines.append(f"- {name}, {entry.profile} ({entry.cell}): {entry.final}: {entry.cause}")
    unknown = [entry for name in ("calm", "noisy", "disturbed") for entry in groups[name] if entry.caught is None]
    if unknown:
        lines.append(f"- {len(unknown)} first runs ask for a retry that was not recorded; they are not counted above.")
    return "\n".join(lines) or "There were none."


def _of(judged: Sequence[Judged], variant: str, rate: int, seconds: int) -> list[Judged]:
    wanted = (variant, rate, seconds)
    return [entry for entry in judged if (entry.variant, entry.rate, entry.seconds) == wanted]


def _power(judged: Sequence[Judged], variants: Sequence[str]) -> str:
    rows = []
    for variant in variants:
        for rate in (50, 100):
            whole = _of(judged, variant, rate, 30)
            if not whole:
                continue
            row = [variant, str(rate), f"{100 * (statistics.median(entry.p95_ratio for entry in whole) - 1):+.0f} %"]
            for seconds in WINDOWS:
                found = tally(_of(judged, variant, rate, seconds))
                row.append(f"{found.count} of {found.total}")
            row.append(first_tally(whole).short())
            rows.append([*row, *(tally(whole, rule).short() for rule in rules.PEERS)])
    header = [
        "release",
        "rate",
        "p95, median",
        *(f"caught, {seconds} s" for seconds in WINDOWS),
        "first run alone, 30 s",
    ]
    return markdown_table(header + [f"{name}, 30 s" for name in rules.PEERS.values()], rows, right=range(1, 11))


def _memory(judged: Sequence[Judged]) -> str:
    rows = []
    for variant in ("same", "memory+20%", "memory+50%"):
        found = [entry for entry in judged if entry.variant == variant and entry.whole and entry.pss_ratio]
        if found:
            ratio = statistics.median(entry.pss_ratio or 0.0 for entry in found)
            said = Tally(sum(entry.growth_said for entry in found), len(found))
            fails = Tally(sum(entry.growth_fails for entry in found), len(found))
            rows.append([variant, f"{100 * (ratio - 1):+.1f} %", said.told(), fails.told(), tally(found).told()])
    header = ["release", "PSS, median", "said as a warning", "fails with memory_margin 1.15", "stopped by default"]
    return markdown_table(header, rows, right=range(1, 5))


def _targets(
    judged: Sequence[Judged],
    groups: Mapping[str, Sequence[Judged]],
    cost: float,
    synthetic: Mapping[str, Mapping[str, Tally]] | None = None,
) -> list[tuple[str, str, str, bool | None]]:
    """(what is asked for, figure, what was measured, reached; None when it was not measured)."""
    found: list[tuple[str, str, str, bool | None]] = []

    def add(name: str, figure: str, measured: Tally, reached: bool) -> None:
        found.append((name, figure, measured.told(), reached if measured.total else None))

    for name, most in (("all", 0.01), ("calm", 0.01), ("noisy", 0.03)):
        alarms = tally(groups[name])
        add(f"false alarms, {name}", f"at most {percent(most)}", alarms, alarms.share <= most)
    for variant, least in (("all+30%", 0.9), ("tail+30%", 0.9), ("all+50%", 0.98), ("tail+50%", 0.98)):
        caught = tally(_of(judged, variant, 50, 30))
        add(f"{variant} caught, 50/s, 30 s", f"at least {percent(least)}", caught, caught.share >= least)
    pairs = itertools.product((synthetic or {}).items(), (("+30%", 0.9), ("+50%", 0.98)))
    for (kind, row), (up, least) in pairs:
        add(f"{kind}{up} caught, semi-synthetic", f"at least {percent(least)}", row[up], row[up].share >= least)
    errors = tally(entry for entry in judged if entry.variant == "errors 5%" and entry.seconds == 30)
    add("errors 5 %, limit 1 %, caught", "always", errors, errors.count == errors.total)
    stalls = tally(entry for entry in judged if entry.variant == "stall" and entry.seconds == 30)
    add("a stall of 1 s seen", "always", stalls, stalls.count == stalls.total)
    broken = tally(entry for entry in judged if entry.variant in BROKEN and entry.whole)
    add("a hang, a refused port, a killed worker stopped", "always", broken, broken.count == broken.total)
    found += [_soon_enough(judged, variant) for variant in SOON]
    found.append(("the generator, 100 requests a second", "at most 3 % of one core", percent(cost, 2), cost <= 0.03))
    return found


def _soon_enough(judged: Sequence[Judged], variant: str) -> tuple[str, str, str, bool | None]:
    """How soon the fail of a release came, as a row of _targets()."""
    took = [entry.soon[0] for entry in _of(judged, variant, 50, ENDED) if entry.soon and entry.soon[0] is not None]
    middle = statistics.median(took) if took else 0.0
    told = f"{middle:.1f} s, median of {len(took)}" if took else "not measured"
    return (
        f"{variant}: the fail, retry included",
        "at most 15 s",
        told,
        middle <= 15 if len(took) >= LEAST_SOON else None,
    )


def _proven(figure: str, told: str) -> bool:
    """Whether the 95 % bounds of a share, as `Tally.told` writes them, lie within what is asked for."""
    bounds = re.search(r"; ([\d.]+) % to ([\d.]+) %\)", told)
    asked = re.search(r"at (most|least) ([\d.]+) %", figure)
    if not bounds:
        return asked is not None  # a cost is measured, not counted
    if not asked:
        return False
    if asked[1] == "most":
        return float(bounds[2]) <= float(asked[2])
    return float(bounds[1]) >= float(asked[2])


def cost_per_100(judged: Sequence[Judged]) -> dict[str, float]:
    """The generator's share of one core at 100 requests a second in all (50 to each arm), median by profile."""
    shares: dict[str, list[float]] = {}
    for entry in judged:
        if entry.seconds in LENGTHS and entry.rate == 50:
            shares.setdefault(entry.profile, []).append(entry.core_share)
    return {profile: statistics.median(values) for profile, values in shares.items()}


def make(bench: Bench) -> Report:
    """The report of what is measured."""
    judged = judge_all(bench)
    groups = false_alarm_groups(judged)
    cost = cost_per_100(judged)
    synthetic = {seconds: semi_synthetic(bench, (1.2, 1.3, 1.5), seconds) for seconds in reversed(LENGTHS)}
    targets = _targets(judged, groups, max(cost.values(), default=0.0), synthetic[30])
    missed = [f"{name}: {told}, asked for {figure}" for name, figure, told, reached in targets if reached is False]
    return Report(
        "How often the verdict is wrong",
        "\n\n".join(
            [
                *_summary(targets),
                *_false_alarm_text(judged, groups),
                *_caught_text(judged, synthetic),
                *_soon_text(judged, groups),
                *_cost_text(cost),
                _not_measured(bench, judged),
            ]
        ),
        {
            "targets": [
                {"name": name, "asked": figure, "measured": told, "reached": reached}
                for name, figure, told, reached in targets
            ],
            "false_alarms": {name: {"verdicts": len(entries), **_tallies(entries)} for name, entries in groups.items()},
            "power": _power_data(judged),
            "semi_synthetic": {
                f"{kind}, {seconds} s": {up: asdict(found) for up, found in row.items()}
                for seconds, rows in synthetic.items()
                for kind, row in rows.items()
            },
            "generator_core_share_at_100_per_second": cost,
            "verdicts": [_verdict_data(entry) for entry in judged],
        },
        plot=lambda figure: _draw(figure, groups, judged),
        plot_size=(10.0, 4.2),
        missed=missed,
    )


def _summary(targets: Sequence[tuple[str, str, str, bool | None]]) -> list[str]:
    words = {True: "yes", False: "**no**", None: "not measured"}
    proven = {name for name, figure, told, reached in targets if reached and _proven(figure, told)}
    return [
        "How often the verdict of [docs/verdict.md](../verdict.md) is wrong, on hosts of one core (systemd in "
        "containers, each pinned to a CPU). Each verdict is a real run: two instances as units of systemd, warmed up "
        "and loaded at once by the collection's own code, for 30 s, as is usual, or for 15, which is harder for the "
        "judge, as half the requests tell it less; where the verdict asks for its retry, arms swapped and twice as "
        "long (of worse releases less, where it ends as a trial's does: as soon as it has failed). All samples were "
        "judged again by the present code.",
        markdown_table(
            ["figure", "asked for", "measured (95 % bounds)", "reached"],
            [
                [name, figure, told, words[reached] if name in proven or not reached else "yes, not proven"]
                for name, figure, told, reached in targets
            ],
        ),
        "*Not proven*: the measured share is within the figure, but with so few runs its 95 % bounds are not.",
    ]


def _false_alarm_text(judged: Sequence[Judged], groups: Mapping[str, Sequence[Judged]]) -> list[str]:
    others = [entry.others for entry in judged if entry.whole]
    verdicts = len(groups["all"])
    return [
        "## False alarms: a release against itself",
        f"{verdicts} verdicts, 50 requests a second to each arm. "
        "`io`: gthread 2x8, `/wait` of a lognormal time (median 40 ms, sigma 0.4). "
        "`cpu`: sync, 2 workers, `/cpu` of 1 and 4 ms (3:1). Each verdict has a candidate of its own, which starts "
        "while the one before it is loaded (at the lowest priority where there are no neighbours); three to five of "
        "them have the same live instance beside them. Two to four pairs run on a host at once. Noisy: two processes "
        "on the same core burn it in bursts "
        "of 0.2 to 2 s with pauses of 0.2 to 1.5 s. The "
        "machine was shared with other work, "
        f"which took {percent(statistics.median(others))} (median) of the hosts' CPUs, at most {percent(max(others))}; "
        "the hosts have 128 times the CPU weight of one of its processes, so that calm is what they leave over. "
        "*Disturbed* is a run without a neighbour of ours in which the whole machine stopped: the generator's own "
        f"clock fell more than {DISTURBED_MS:.0f} ms behind.",
        _false_alarms(groups),
        "The other rules judge the same first runs: they know no retry.\n\n" + _alarms(groups),
    ]


def _caught_text(judged: Sequence[Judged], synthetic: Mapping[int, Mapping[str, Mapping[str, Caught]]]) -> list[str]:
    parts = [
        "## What is caught",
        "Profile `io`, no neighbour of ours. `all`: every wait is longer; `tail`: only the longest tenth. `caught`: "
        "not promoted after the retry. 10 and 20 s are parts of the same runs (up to three of 10 s in each), with the "
        "retry twice as long; 10 s at 50 a second are too few requests for the limit of 1 % on errors, so that there "
        "every first run is inconclusive.",
        _power(judged, [*UP, *ERRORS, "stall", "stall-one"]),
        "Errors are at random, limit 1 %: 0.5 % is below the limit, 1 % is at it. `stall`: the whole instance is "
        "stopped for 1 s once, in the first run only; `stall-one`: one of its two workers.",
    ]
    rows = [
        [f"{kind}, {seconds} s", *(found.told() for found in row.values())]
        for seconds, kinds in synthetic.items()
        for kind, row in kinds.items()
    ]
    if rows:
        header = next(list(row) for kinds in synthetic.values() for row in kinds.values())
        parts += [
            "**Semi-synthetic**: the latencies of calm runs of `io` against itself, multiplied afterwards (`tail`: "
            "those above the live p90), the retry made of two other runs. No release was that slow; it only adds "
            "numbers to the table above.",
            markdown_table(["", *header], rows),
        ]
    # What is half as slow again must be caught: what the judge said of one that was not leads to the reason.
    parts += [
        f"Not caught: {kind}{header}, {seconds} s: {'; '.join(row[header].missed)}."
        for seconds, kinds in synthetic.items()
        for kind, row in kinds.items()
        for header in row
        if header == LARGEST and row[header].missed
    ]
    whole = [entry for entry in judged if entry.whole]
    return [*parts, "### Memory", _memory(judged), "### Broken releases", _broken(whole)]


def _soon_text(judged: Sequence[Judged], groups: Mapping[str, Sequence[Judged]]) -> list[str]:
    """How soon worse releases fail, and whether a look ever ends an equal one."""

    def of(entries: Iterable[Judged]) -> list[early.Soon]:
        return [early.Soon(*entry.soon) for entry in entries if entry.whole and entry.soon is not None]

    names = (*UP, *ERRORS, "stall", *BROKEN)
    tried = {name: of(_of(judged, name, 50, ENDED)) for name in names}
    replayed = {name: of(_of(judged, name, 50, 30)) for name in names}
    same = {f"same, {name}": of(groups[name]) for name in ("calm", "noisy", "disturbed")}
    beside = [
        entry.wall_s - entry.soon[0]
        for entry in judged
        if entry.wall_s is not None and entry.soon is not None and entry.soon[0] is not None
    ]
    more = statistics.median(beside) if beside else 0.0
    told = f" By the clock, until the verdict is there, it is {more:.1f} s more (median)."
    return [
        "## How soon",
        "Trials as they are, whose loads end as soon as they have failed. Seconds of load from the first measured "
        "request, those of the retry included; a worker is killed in second 3 to 7 of it, a hang begins in second 1."
        + told
        * bool(beside),
        early.table({name: found for name, found in tried.items() if found}),
        "Runs that were recorded whole, looked at as a trial looks at its load while it is under way "
        "([docs/verdict.md](../verdict.md#sooner)). A release that is as good as the live one must never be ended by a "
        "look.",
        early.table({name: found for name, found in {**same, **replayed}.items() if found}),
    ]


def _cost_text(cost: Mapping[str, float]) -> list[str]:
    return [
        "## What it costs",
        "The generator's CPU time (both arms, 100 requests a second in all), median share of one core: "
        + ", ".join(f"`{profile}` {percent(share, 2)}" for profile, share in sorted(cost.items()))
        + ". Not in it: the sampler of memory, which reads /proc twice a second.",
        "## The other rules",
        "- *p95 ratio*: candidate's over live's, point estimates, above 1.2.\n"
        "- *Mann-Whitney*: one-sided, candidate slower, p < 0.01.\n"
        "- *Kayenta*: lower 98 % bound of the Hodges-Lehmann shift above 0.25 of its estimate (the classifier and "
        "settings of its Netflix judge), on single latencies. Kayenta itself compares series of a metric.\n"
        "- *k6-style*: p95 below 1.2 times the live p95 of the profile's first calm run, and fewer than 1 % failed.",
    ]


def _tallies(entries: Sequence[Judged]) -> dict[str, Any]:
    """What our rule, its first run alone, and the other rules made of the same runs."""
    return {
        "ours": asdict(tally(entries)),
        "first_run": asdict(first_tally(entries)),
        **{rule: asdict(tally(entries, rule)) for rule in rules.PEERS},
    }


def _power_data(judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        f"{variant}, {rate}/s, {seconds} s": _tallies(found)
        for variant in dict.fromkeys(entry.variant for entry in judged if entry.variant != "same")
        for rate in (50, 100)
        for seconds in WINDOWS
        if (found := _of(judged, variant, rate, seconds))
    }


def _verdict_data(entry: Judged) -> dict[str, Any]:
    return {
        "cell": entry.cell, "variant": entry.variant, "rate": entry.rate, "seconds": entry.seconds,
        "first": entry.first, "final": entry.final, "check": entry.check, "others": entry.others,
        "p95_ratio": round(entry.p95_ratio, 4), "peers": [rule for rule, hit in entry.peers.items() if hit],
    }  # fmt: skip


def _broken(whole: Sequence[Judged]) -> str:
    rows = []
    for variant in BROKEN:
        found = [entry for entry in whole if entry.variant == variant]
        if found:
            rows.append([variant, tally(found).told(), found[0].cause])
    return markdown_table(["what happens", "stopped", "for example"], rows, right=[1])


def _not_measured(bench: Bench, judged: Sequence[Judged]) -> str:
    left = len(bench.cells) - len(bench.results())
    lines = ["## What this does not show", ""]
    if left:
        lines.append(f"- {left} of {len(bench.cells)} planned groups of runs were not measured.")
    fewest = min((len(_of(judged, variant, 50, 30)) for variant in UP), default=0)
    lines += [
        f"- Some releases were tried only {fewest} times at 50 a second: the bounds of such a figure are wide."
        if fewest
        else "- Not every release was tried.",
        "- One machine, one kernel, hosts of one core that are containers; real networks, proxies and databases are "
        "not in it.",
        "- Parts of one run (10 and 20 s) are not independent of each other; nor quite are verdicts beside the same "
        "live instance, or at the same time on one host.",
        "- Hosts without a rest of CPU: where three pairs of `cpu` filled a core, queues grew without end, and half of "
        "the verdicts on identical code were no pass. A trial looks after that (the live generation is asked alone "
        "first, and the load ends when it suffers); these runs do not.",
        "- The sample app's waits are independent of each other; an app whose slow requests come in bunches is harder.",
    ]
    return "\n".join(lines)


_COLOURS = ("#1b6ca8", "#c9963f", "#7a9e5c", "#a85a5a", "#8a7aa8")


def _draw(figure: Any, groups: Mapping[str, Sequence[Judged]], judged: Sequence[Judged]) -> None:
    left, right = figure.subplots(1, 2)
    names = [OURS, *rules.PEERS]
    labels = _rules_header()
    conditions = [name for name in ("calm", "noisy", "disturbed") if groups[name]]
    height = 0.8 / max(1, len(conditions))
    for row, condition in enumerate(conditions):
        shares = [100 * tally(groups[condition], name).share for name in names]
        places = [len(names) - 1 - place + 0.4 - height * (row + 0.5) for place in range(len(names))]
        label = f"{condition} ({len(groups[condition])} verdicts)"
        bars = left.barh(places, shares, height=height, color=_COLOURS[row], label=label)
        left.bar_label(bars, fmt="%.1f", padding=2, fontsize=7)
    left.set_yticks(range(len(names) - 1, -1, -1), labels)
    left.set_xlabel("false alarms, % of verdicts")
    left.set_title("A release against itself")
    left.legend(loc="upper right", fontsize=7)
    right.set_title("Slower releases caught, 50/s and 30 s")
    right.set_xlabel("all requests slower by, %")
    right.set_ylabel("caught, %")
    for place, (name, label) in enumerate(zip(names, labels, strict=True)):
        steps = [0, 20, 30, 50, 100]
        shares = [100 * tally(groups["calm"], name).share]
        shares += [100 * tally(_of(judged, f"all+{step}%", 50, 30), name).share for step in steps[1:]]
        style = {"linewidth": 2.5} if name == OURS else {"linewidth": 1.2, "linestyle": "--"}
        right.plot(steps, shares, marker="o", markersize=3, color=_COLOURS[place], label=label, **style)
    right.set_ylim(-3, 103)
    right.legend(fontsize=7)
