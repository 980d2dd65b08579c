# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The report of scripts/bench plan, from its results: pure, but for the drawing."""

from __future__ import annotations

import fnmatch
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from . import _plan_grid as grid
from ._common import Cell, Report, Result, markdown_table

STATED_CORES: Final = 2
"""The stated figures are for hosts with so many cores; other hosts are shown."""

REMARKS: Final[Mapping[str, str]] = {
    "2c*/cpu5/*": (
        "Why: one worker for each core and 2n+1 of them serve what only computes alike, within what identical servers "
        "differ by (the same again). Tried on 8 GiB, in eight interleaved runs on a quiet machine: 2, 3, 4 and 5 "
        "workers had 370, 369, 368 and 362/s."
    ),
    "2c*/io50/128": (
        "Why: the best keeps its connections, the plan has a new one for each request, which costs 0.1 ms of CPU and a "
        "turn of the event loop; with 2,400 requests a second that shows in p95 (1.05 of the best's in an earlier run "
        "of the same cell). Kept connections stick to one worker, which costs more wherever requests compute "
        "(docs/planner.md). Tried: three and four workers without keep-alive, p95 57 and 58 ms."
    ),
    "2c*/memory/8": (
        "Why: the plan keeps a second worker on two cores, so that one that dies does not stop the app; eight requests "
        "that wait nine tenths of their time do not need it. Tried: as many slots as the cores can get to instead of "
        "64, which took the goodput from 0.947 to 0.951; and keeping the memory of ended requests "
        "(malloc_trim_threshold_mib), which took it to 0.97 and p95 from 1.14 to 1.08."
    ),
}
"""Why a cell falls short and what was tried, by a glob of its name."""


def _columns(row: Mapping[str, Any]) -> str:
    return f"{row['goodput_ratio']:.2f}" + (" (memory)" if row["over_memory"] else "")


def report(cells: Sequence[Cell], results: Mapping[str, Result]) -> Report:
    """The whole report of what is measured."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        if cell.name in results:
            value = results[cell.name].value
            summary = grid.summarise(value["final"], value["budget_mib"])
            found[cell.name] = {
                "host": grid.Host(**cell.inputs["host"]),
                "value": value,
                "summary": summary,
                "noise": grid.noise(summary),
                "foreign": grid.foreign(value["final"]),
                "short": grid.shortfalls(summary, float(value["weigh"]["seconds"])),
            }
    calm = [name for name, entry in found.items() if entry["foreign"] <= grid.DISTURBED]
    stated = [name for name in calm if found[name]["host"].cores == STATED_CORES]
    return Report(
        title="The plan against the best that can be found",
        markdown=_markdown(found, stated, len(cells)),
        data=_data(found, stated),
        plot=lambda figure: _draw(figure, found),
        plot_size=(11.0, 2.5 + 0.28 * len(found)),
        missed=[f"{name}: {sentence}" for name in stated for sentence in found[name]["short"]],
    )


def _data(found: Mapping[str, Mapping[str, Any]], stated: Sequence[str]) -> dict[str, Any]:
    return {
        "stated": vars(grid.STATED),
        "stated_cells": {"measured": len(stated), "reached": sum(not found[name]["short"] for name in stated)},
        "noise": _noise(found),
        "cells": {
            name: {
                "limit_ms": entry["value"]["limit_ms"],
                "budget_mib": entry["value"]["budget_mib"],
                "weigh": entry["value"]["weigh"],
                "searched": entry["value"]["searched"],
                "not_tried": entry["value"]["pruned"],
                "seconds": entry["value"]["seconds"],
                "best": entry["summary"]["best"],
                "rows": entry["summary"]["rows"],
                "coarse": entry["value"]["coarse"],
                "second": entry["value"]["second"],
                "same_again": {"goodput": entry["noise"][0], "p95": entry["noise"][1]},
                "foreign": entry["foreign"],
                "short": entry["short"],
            }
            for name, entry in found.items()
        },
    }


def _noise(found: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Of the same configuration on two servers: the middle and the largest difference over all cells."""
    result: dict[str, float] = {}
    for index, key in enumerate(("goodput", "p95")):
        away = [abs(entry["noise"][index] - 1) for entry in found.values()] or [0.0]
        result[f"{key}_median"] = round(statistics.median(away), 4)
        result[f"{key}_most"] = round(max(away), 4)
    return result


def _markdown(found: Mapping[str, Mapping[str, Any]], stated: Sequence[str], of: int) -> str:
    noise = _noise(found)
    weighs = [float(entry["value"]["weigh"]["seconds"]) for entry in found.values()]
    whole = [float(entry["value"]["weigh"]["all_seconds"]) for entry in found.values()]
    reached = sum(not found[name]["short"] for name in stated)
    disturbed = sum(entry["foreign"] > grid.DISTURBED for entry in found.values())
    parts = [
        f"{len(found)} of {of} cells are measured. In {disturbed} of them other work of the machine took more than "
        f"{100 * grid.DISTURBED:.0f} % of the server's CPUs: these prove nothing, and are marked with their share "
        "(`scripts/bench plan --disturbed` measures them anew).",
        f"On {STATED_CORES} cores, {reached} of {len(stated)} undisturbed cells reach every stated figure: after "
        f"weighing at least {grid.STATED.weighed} of the best goodput, with a p95 of at most {grid.STATED.p95} of that "
        f"configuration's; at least {grid.STATED.declared} from the declaration, with or without a word on the mix; "
        "never less than 2n+1 sync, never more memory than the budget. "
        f"A weigh took {min(weighs):.1f} to {max(weighs):.1f} s, {max(whole):.1f} s at most with the start and the "
        f"stop of its worker (stated: at most {grid.STATED.weigh_seconds:g} s).",
        "Noise: the weighed plan runs twice in each final, on two servers. Their goodput differed by "
        f"{100 * noise['goodput_median']:.1f} % (middle of all cells) and at most {100 * noise['goodput_most']:.1f} %, "
        f"their p95 by {100 * noise['p95_median']:.1f} % and at most {100 * noise['p95_most']:.1f} %. "
        "The best found is the highest of many medians, so equals of it come out a little below 1.",
        _short_list(found, stated),
    ]
    for host in dict.fromkeys(entry["host"] for entry in found.values()):
        mine = {name: entry for name, entry in found.items() if entry["host"] == host}
        parts += [f"## {host.words}", _table(mine)]
    parts.append(HOW)
    return "\n\n".join(part for part in parts if part)


HOW: Final = """\
## How to read it

- Goodput: answers a second within the cell's latency limit, which is twice what a request takes on average when the
  cores, or the connections, are fully used. Ratios are to the best found in the same final; p95 as a ratio to that
  configuration's p95 (above 1: slower).
- The sample app: cpu5 and cpu20 compute 5 and 20 ms; io50 and io200 wait; mixed20, mixed50 and mixed80 wait that part
  of a request in per cent (8 + 2, 10 + 10, 5 + 20 ms); memory holds 8 MiB for 30 ms.
- Searched: sync, gthread and gevent; workers; threads; with keep-alive of 2 s and without; gevent with many
  connections and with as many as the load has. Not tried: what its slots, its processes' CPU or its memory keep below
  0.6 of the best. eventlet is not searched: Gunicorn 27 has no such worker.
- Names: `gthread 2x16 ka0` is 2 workers of 16 threads without keep-alive, `c1000` its worker_connections, `m64` 64 MiB
  of freed memory that a worker keeps (malloc_trim_threshold_mib, which the search leaves to glibc).
- Declared: profile, concurrency and `mix: uniform`, and of the memory workload what a request holds. Mix not said: the
  same without `mix`, so that requests are taken to differ. Weighed: as declared, finished with what the weigh measured
  (a single path does not tell that all are alike). Where a request holds memory, a plan that was told the worker's
  memory too runs beside them; it is in the JSON.
- 2n+1: sync, Gunicorn's documentation. heroku: min(2n+1, RAM / 256 MiB) sync. debops: n+1 sync. cloud run: gthread
  1 x 8. All with Gunicorn's defaults for the rest.
- wrk (one thread, closed loop) runs on other CPUs than the server, which is pinned. All servers of a final run at the
  same time and are loaded in turn, each round in the opposite order; a figure is the median of the rounds. What is
  below 0.6 of the best after two rounds is not run again.
- Memory: anonymous PSS of all processes and the pages of files once, under load. The memory of a host is not enforced
  here: what takes more than the budget (half of what the host has for apps, for two generations) is marked.
- Same again: the weighed plan on a second server. Others: the share of the server's CPUs that went to other work during
  the final, of the contender with the most.
- Latencies are wrk's, which counts beside a slow answer the requests that a steady client would have sent meanwhile."""


def _short_list(found: Mapping[str, Mapping[str, Any]], stated: Sequence[str]) -> str:
    lines = []
    calm = [name for name in found if name not in stated and found[name]["foreign"] <= grid.DISTURBED]
    for name in [*stated, *calm]:
        for sentence in found[name]["short"]:
            lines.append(f"- `{name}`: {sentence}.")
        remarks = [text for pattern, text in REMARKS.items() if fnmatch.fnmatch(name, pattern)]
        if remarks and any(not sentence.startswith(grid.UNSAID_WORDS) for sentence in found[name]["short"]):
            lines += [f"  {text}" for text in remarks]
    return "\n".join(["## What falls short", "", *lines]) if lines else ""


def _table(entries: Mapping[str, Mapping[str, Any]]) -> str:
    header = (
        *("workload, connections", "limit ms", "best found", "goodput/s", "p95 ms", "MiB"),
        *("declared", "ratio", "mix not said", "ratio", "weighed", "ratio", "p95", "MiB"),
        *(f"{rule} (MiB)" if rule == "2n+1" else rule for rule in grid.RULES),
        *("same again", "others"),
    )
    rows = []
    for name, entry in entries.items():
        _, workload, connections = name.split("/")
        summary, value = entry["summary"], entry["value"]
        best, roles = summary["best"], summary["by_role"]
        declared, unsaid, weighed = roles[grid.DECLARED], roles[grid.UNSAID], roles[grid.WEIGHED]
        rows.append(
            (
                *(f"{workload}, {connections}", f"{value['limit_ms']:.0f}", best["config"], f"{best['goodput']:.0f}"),
                *(f"{best['p95_ms']:.0f}", f"{best['memory_mib']:.0f}", declared["config"], _columns(declared)),
                *(unsaid["config"], _columns(unsaid)),
                *(weighed["config"], _columns(weighed), f"{weighed['p95_ratio']:.2f}", f"{weighed['memory_mib']:.0f}"),
                *(
                    _columns(roles[rule]) + (f" ({roles[rule]['memory_mib']:.0f})" if rule == "2n+1" else "")
                    for rule in grid.RULES
                ),
                f"{entry['noise'][0]:.2f}",
                f"{100 * entry['foreign']:.0f} %" + (" (disturbed)" if entry["foreign"] > grid.DISTURBED else ""),
            )
        )
    return markdown_table(header, rows, right=(1, 3, 4, 5, 7, 9, *range(11, 20)))


def _draw(figure: Any, found: Mapping[str, Mapping[str, Any]]) -> None:
    goodput, latency = figure.subplots(1, 2, sharey=True)
    names = list(found)[::-1]
    for role, colour in grid.COLOURS.items():
        good = [found[name]["summary"]["by_role"][role]["goodput_ratio"] for name in names]
        slow = [max(0.01, found[name]["summary"]["by_role"][role]["p95_ratio"]) for name in names]
        mark = "o" if role.startswith("headcount") else "x"
        size = 30 if role == grid.WEIGHED else 18
        goodput.scatter(good, names, c=colour, marker=mark, s=size, label=role, zorder=3)
        latency.scatter(slow, names, c=colour, marker=mark, s=size, zorder=3)
    goodput.axvline(grid.STATED.weighed, color="#888", lw=0.8)
    goodput.axvline(1.0, color="black", lw=0.8)
    latency.axvline(grid.STATED.p95, color="#888", lw=0.8)
    goodput.set_xlim(0, 1.1)
    latency.set_xscale("log")
    goodput.set_xlabel("goodput / best found")
    latency.set_xlabel("p95 / best found's p95")
    for axes in (goodput, latency):
        axes.grid(axis="both", color="#eee")
        axes.set_axisbelow(True)
    for label, name in zip(goodput.get_yticklabels(), names, strict=True):
        label.set_color("#aaa" if found[name]["foreign"] > grid.DISTURBED else "black")
    figure.legend(loc="outside upper center", ncols=6, fontsize=8)
