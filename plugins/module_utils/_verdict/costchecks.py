# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a verdict asks of the CPU that a candidate takes, and of what it piles up: descriptors, threads, memory, bytes
written. Held against the live generation in the same run, from what both used second by second (`use`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from . import statistics as st
from .run import Answer, Run
from .types import FAIL, INCONCLUSIVE, PASS, Check, MemoryEvidence, Samples, short
from .use import Use, parts_after, per_request, share
from .usercpu import Apart, apart, counted

BLOCKS: Final = 24
"""In so many parts a load is cut to tell whether it was more than chance that one arm took more CPU."""
LEAST_BLOCKS: Final = 12

CPU_MARGIN, CPU_FLOOR_MS = 1.3, 1.0
"""CPU of a request counts as more above both: so many times the live generation's, and milliseconds more."""

IDLE_CORES = 0.1
IDLE_TIMES = 3.0
"""What is used while nobody asks counts as more above both: cores more, and so many times the live generation's."""
IDLE_ALONE = 0.25
"""Without a live generation beside it, so many cores are told as a warning."""

BEGINNING_SECONDS = 5.0
"""So long a process may be at its beginning."""

LATE_SECONDS = 5.0
"""What was used at last is that of so many seconds."""

PARTS: Final = 8
_RISING = 24
"""Of the 28 pairs of eight parts of the load: about one in a thousand by chance."""


@dataclass(frozen=True)
class Pile:
    """Something that a generation may pile up. `least` and `each`: growth counts above both, the second for each
    request; `words` name it. `fills`: whether a good release may have more and more of it for a while, when it is new.
    """

    column: str
    words: str
    unit: str
    least: float
    each: float
    fills: bool = False


PILES: Final = (
    Pile("descriptors", "open descriptors", "", 16.0, 0.02),
    Pile("threads", "threads", "", 16.0, 0.02),
    Pile("pss_mib", "memory (PSS)", " MiB", 16.0, 0.005, fills=True),
)

WRITES_FAIL_MIB, WRITES_RATE_MIB = 0.25, 1.0
WRITES_TIMES, WRITES_TOLD_MIB = 4.0, 1.0 / 64.0
"""Written bytes: MiB a request and MiB a second from which on more than so many times the live generation's is a fail;
from where on, in MiB a request, it is told."""
WRITES_IDLE_MIB = 0.25
"""MiB a second that a candidate must not write by itself, if it is also so many times the live generation's."""
_LOOK = "see what it logs, and at which level"


def cpu_per_request(run: Run) -> Answer:
    """Whether a request takes more CPU than one of the live generation's, beyond chance.

    What the candidate uses by itself (idle_cpu) is left out of its requests'.
    """
    limit = run.limits.cpu_ms
    new = _milliseconds(run.candidate, _use(run.memory), _idle(run.candidate, _use(run.memory)) or 0.0)
    if limit is not None:
        return _within(new, limit, run.candidate.whole)
    if run.baseline is None or run.yardstick.outcome != PASS or not run.candidate.loaded:
        return Answer()
    old = _milliseconds(run.baseline, _use(run.baseline_memory))
    why = _why_not(new, old)
    if why:
        return Answer(uncompared=[f"CPU a request ({why})"])
    check = _compared(new, old, run)
    # What users take of the live generation can only excuse the candidate.
    return _without_users(check, new, run.baseline, run) if check.outcome == PASS else Answer([check])


def _without_users(check: Check, new: Sequence[float], live: Samples, run: Run) -> Answer:
    """The check of a candidate that takes no more than the live generation with its users, held against a request of
    the load alone."""
    use = _use(run.baseline_memory)
    if not counted(live, use):
        idle = _idle(live, use) or 0.0
        alone = _milliseconds(live, use, idle)
        if min(alone) > 0 and _compared(new, alone, run).outcome == PASS:
            return Answer([_compared(new, alone, run)])
        return Answer(uncompared=[
            f"CPU a request (users, or the live generation itself, took {idle:.2g} of a core beside the trial's "
            "requests, and nobody counted theirs)"
        ])  # fmt: skip
    found = apart(live, use)
    if found is None or not found.seen:
        return Answer([check])
    other = _against(found, new, run)
    if other.outcome == FAIL or found.known_within(CPU_MARGIN - 1):
        return Answer([other])
    return Answer(uncompared=[
        f"CPU a request (users made {found.others:.0f} requests of the live generation beside the trial's "
        f"{found.load:.0f}, and what each took cannot be told well enough: {short(found.each_ms)} ms, give or take "
        f"{short(found.unsure_ms)}, against {short(sum(new) / len(new))} of the candidate)"
    ])  # fmt: skip


def _against(found: Apart, new: Sequence[float], run: Run) -> Check:
    """The CPU of a request against that of the live generation, whose users' is left out. A fail is sure of both: that
    most parts of the candidate's load took more, and more than the live generation's request may have taken."""
    value, usual = sum(new) / len(new), found.each_ms
    ratio = value / usual if usual > 0 else 1.0

    def more(than: float, level: float) -> bool:
        above = sum(part > CPU_MARGIN * than for part in new)
        grew = value > CPU_MARGIN * than and value - than > CPU_FLOOR_MS
        return grew and st.binomial_sf(above, len(new), 0.5) < level

    outcome = FAIL if more(found.most_ms, run.policy.fail_level) else PASS
    outcome = INCONCLUSIVE if outcome == PASS and more(usual, run.policy.suspicion) else outcome
    said = (
        f"a request took {short(value)} ms of CPU against {short(usual)} (at most {short(found.most_ms)}) of the live "
        f"generation ({100 * (ratio - 1):+.0f} %), whose users made {found.others:.0f} requests meanwhile, of "
        f"{short(found.others_ms)} ms each"
    )
    if outcome != PASS:
        said += "; declare limits.cpu_ms where the release is meant to take more"
    return Check("cpu_relative", outcome, ratio, CPU_MARGIN, (None, None), said)


def _use(memory: MemoryEvidence | None) -> Use:
    return Use(memory.use if memory is not None else {})


def _milliseconds(samples: Samples, use: Use, idle: float = 0.0) -> list[float]:
    """CPU of a request, block by block, without `idle` cores."""
    return [1000.0 * value for value in per_request(samples, use, "cpu_seconds", BLOCKS, idle)]


def _idle(samples: Samples, use: Use) -> float | None:
    """Cores that are used while nobody asks; None where that was not seen."""
    return share(use, "cpu_seconds", *samples.quiet) if len(samples.quiet) == 2 else None


def _within(new: Sequence[float], limit: float, whole: bool) -> Answer:
    """CPU of a request against the declared limit. `whole`: whether the load ran to its end."""
    none = (None, None)
    if len(new) < LEAST_BLOCKS:
        sentence = "CPU a request was not measured although it has a limit (limits.cpu_ms)"
        sentence += "" if whole else ": the load was ended too soon"
        return Answer([Check("cpu_ms", INCONCLUSIVE, None, limit, none, sentence)])
    value = sum(new) / len(new)
    outcome = FAIL if value > limit else PASS
    return Answer(
        [Check("cpu_ms", outcome, value, limit, none, f"a request took {short(value)} ms of CPU, limit {limit:g}")]
    )


def _why_not(new: Sequence[float], old: Sequence[float]) -> str:
    """Why the CPU of both cannot be compared; empty where it can."""
    for whose, found in (("the candidate", new), ("the live generation", old)):
        if len(found) < LEAST_BLOCKS:
            return f"that of {whose} was not counted throughout"
    return ""


def _compared(new: Sequence[float], old: Sequence[float], run: Run) -> Check:
    ordered = sorted(old)
    rank = st.quantile_rank(len(ordered), 0.5)
    value, usual = sum(new) / len(new), sum(old) / len(old)
    above = sum(part > CPU_MARGIN * ordered[rank - 1] for part in new)
    chance = st.exceedance_sf(above, len(ordered), rank, len(new))
    ratio = value / usual if usual > 0 else 1.0
    said = f"a request took {short(value)} ms of CPU against {short(usual)} of the live generation"
    said += f" ({100 * (ratio - 1):+.0f} %)"
    grew = value - usual > CPU_FLOOR_MS and ratio > CPU_MARGIN
    outcome = PASS
    if grew:
        outcome = FAIL if chance < run.policy.fail_level else INCONCLUSIVE if chance < run.policy.suspicion else PASS
    if outcome != PASS:
        said += (
            f", in {above} of {len(new)} parts of the load more than {CPU_MARGIN:g} times its usual "
            f"(p = {chance:.2g}); declare limits.cpu_ms where the release is meant to take more"
        )
    return Check("cpu_relative", outcome, ratio, CPU_MARGIN, (None, None), said)


def idle_cpu(run: Run) -> Answer:
    """Whether the candidate uses CPU while nobody asks it, more than the live generation does."""
    if len(run.candidate.quiet) != 2:
        return Answer()
    begun = _begun(run.candidate, run.memory)
    if begun:
        return Answer(uncompared=[f"idle CPU ({begun})"])
    mine = _idle(run.candidate, _use(run.memory))
    if mine is None:
        told = "idle CPU (that of the candidate was not counted)" if run.memory is not None else ""
        return Answer(uncompared=[told] if told else [])
    said = f"while nobody asked it, the candidate took {mine:.2g} of a core"
    live = _idle(run.baseline, _use(run.baseline_memory)) if run.baseline is not None else None
    declared = run.limits.idle_cores
    if declared is not None:
        outcome = FAIL if mine > declared else PASS
        return Answer([Check("idle_cpu", outcome, mine, declared, (None, None), f"{said}, limit {declared:g}")])
    if live is None:
        warnings = [f"{said}: something in it runs by itself"] if mine >= IDLE_ALONE else []
        return Answer([Check("idle_cpu", PASS, mine, None, (None, None), said)], warnings)
    return _idle_beside(mine, live, said, run)


def _idle_beside(mine: float, live: float, said: str, run: Run) -> Answer:
    """The cores that the candidate takes while nobody asks it, against the live generation's."""
    limit = max(live + IDLE_CORES, IDLE_TIMES * live)
    if live + IDLE_CORES < mine <= limit and _asked_at_rest(run):
        why = f"the candidate took {mine:.2g} of a core, the live generation {live:.2g}, with users who asked it"
        return Answer(
            warnings=[f"{said}: something in it runs by itself"] if mine >= IDLE_ALONE else [],
            uncompared=[f"idle CPU ({why})"],
        )
    said += f", the live generation {live:.2g}"
    outcome = FAIL if mine > limit else PASS
    if outcome == FAIL:
        said += ": something in it runs by itself; declare limits.idle_cores where it is meant to"
    return Answer([Check("idle_cpu", outcome, mine, limit, (None, None), said)])


def _asked_at_rest(run: Run) -> bool:
    """Whether users asked the live generation while the load did not."""
    live = run.baseline
    grown = _use(run.baseline_memory).grown("requests", *live.quiet) if live is not None else None
    return bool((grown or 0.0) >= 1.0)


def _begun(samples: Samples, memory: MemoryEvidence | None) -> str:
    """What began while nobody asked, or just before, in words: a worker that is replaced imports the app. Or empty."""
    begin, end = samples.quiet
    if memory is None or not _use(memory).grown("begun", begin - BEGINNING_SECONDS, end):
        return ""
    if memory.recycled:
        return "workers of the candidate were replaced meanwhile, as max_requests says"
    return "a process of the candidate began at that time"


def cores_of(memory: MemoryEvidence | None) -> float | None:
    """Cores that an arm used in the last seconds in which it was looked at; None where nobody counted them."""
    points = _use(memory).points("cpu_seconds")
    late = [point for point in points if point[0] >= points[-1][0] - LATE_SECONDS] if points else []
    if len(late) < 2 or late[-1][0] <= late[0][0] or late[-1][1] < late[0][1]:
        return None
    return (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])


def told_cores(memory: MemoryEvidence | None, other: MemoryEvidence | None) -> str:
    """What CPU both arms used at last, in a sentence; empty where that of the candidate was not counted."""
    mine, live = cores_of(memory), cores_of(other)
    if mine is None:
        return ""
    beside = "" if live is None else f", the live generation {live:.2g}"
    return f"the candidate took {mine:.2g} of a core meanwhile{beside}"


def piles_up(run: Run) -> Answer:
    """Whether descriptors, threads or memory grow with every request, as they do not in the live generation, and beyond
    what that one holds: a cache or a pool that fills up holds no more than one that is full."""
    found = [pile_check(run, pile) for pile in PILES]
    told = [one for one in found if one is not None]
    unseen = [pile.words for pile, one in zip(PILES, found) if one is None and _seen(run, pile)]
    why = f"a request takes {short(settling_seconds(run.candidate))} s: the load is too short to tell a pile from them"
    return Answer(
        [check for check, _ in told],
        [check.sentence for check, warned in told if warned],
        uncompared=[f"growth of {words} ({why})" for words in unseen],
    )


def _seen(run: Run, pile: Pile) -> bool:
    """Whether a pile would have been told, had requests taken no time."""
    return growth_of(run.candidate, _use(run.memory), pile, 0.0) is not None


def settling_seconds(samples: Samples) -> float:
    """As long as nearly all requests of an arm take: so long what is in flight may grow with nothing that piles up."""
    answered = sorted(value for value in samples.latency_ms if isfinite(value))
    return answered[st.quantile_rank(len(answered), 0.95) - 1] / 1000.0 if answered else 0.0


def pile_check(run: Run, pile: Pile) -> tuple[Check, bool] | None:
    """The check of one pile, and whether its sentence is a warning although it passes; None where it was not seen."""
    growth = growth_of(run.candidate, _use(run.memory), pile, settling_seconds(run.candidate))
    if growth is None:
        return None
    first, last, rising, late = growth
    grown, requests = last - first, run.candidate.planned
    often = f"{pile.words} grew from {short(first)} to {short(last)}{pile.unit} over {requests} requests"
    said = f"{often}, and grew on" if rising else f"{pile.words}: {short(last)}{pile.unit} at the end"
    steadily = rising and grown > pile.least and grown > pile.each * requests and late > 0.2 * grown
    excuse, warned = "", False
    if steadily:
        said += f" ({short(1000 * grown / requests)}{pile.unit} for 1000 requests)"
        excuse, warned = _excuse(run, pile, grown, last)
    outcome = FAIL if steadily and not excuse else PASS
    limit = pile.least if outcome == FAIL else None
    return Check(f"grows:{pile.column}", outcome, grown, limit, (None, None), said + excuse), warned


def _excuse(run: Run, pile: Pile, grown: float, last: float) -> tuple[str, bool]:
    """Why what grew by `grown`, to `last`, is no fault, as the end of a sentence (empty: it is one); and whether that
    is told as a warning."""
    other = None
    if run.baseline is not None:
        # After as long as of the candidate, so that both are held against each other in the same parts of their load.
        other = growth_of(run.baseline, _use(run.baseline_memory), pile, settling_seconds(run.candidate))
    if other is None:
        # The first memory of an app's life can be its cache; descriptors and threads that never come back are none.
        return ("; there is no live generation to tell a cache from a leak by", True) if pile.fills else ("", False)
    before, now = other[0], other[1]
    if now - before > 0.5 * grown:
        return f"; those of the live generation as well, from {short(before)} to {short(now)}{pile.unit}", True
    if last <= now + pile.least:
        return f"; the live generation holds {short(now)}{pile.unit}", False
    return "", False


def growth_of(samples: Samples, use: Use, pile: Pile, settling: float) -> tuple[float, float, bool, float] | None:
    """How a pile grew over the load: (at first, at last, whether it rose all along, by how much in its last half), each
    the least of an eighth of the load, so that what comes and goes with requests does not count. The load counts from
    `settling` seconds after its beginning on: until then requests in flight become more. None: not sampled, or too
    short."""
    least = []
    for begin, end in parts_after(samples, PARTS, settling):
        points = use.between(pile.column, begin, end)
        if points:
            least.append(min(value for _, value in points))
    if len(least) < PARTS:
        return None
    rising = st.kendall_s(least) >= _RISING
    return least[0], least[-1], rising, least[-1] - least[len(least) // 2 - 1]


def writes(run: Run) -> Answer:
    """Whether a request writes far more, to the log or to files, than one of the live generation's, and whether the
    candidate writes while nobody asks it."""
    mine = _written(run.candidate, _use(run.memory))
    if mine is None:
        return Answer()
    by_itself, resting = _writes_by_itself(run)
    each, second = mine
    said = f"{_bytes(each)} were written (log and files) for each request, {_bytes(second)} a second"
    live = _written(run.baseline, _use(run.baseline_memory)) if run.baseline is not None else None
    if each < WRITES_TOLD_MIB or (live is not None and each <= WRITES_TIMES * live[0]):
        return Answer([Check("writes", PASS, each, None, (None, None), said), *by_itself])
    much = each >= WRITES_FAIL_MIB or second >= WRITES_RATE_MIB
    if live is None:
        return Answer([Check("writes", PASS, each, None, (None, None), said), *by_itself], [said])
    said += f", {_bytes(live[0])} for one of the live generation's{resting}"
    outcome = FAIL if much else PASS
    check = Check("writes", outcome, each, WRITES_FAIL_MIB, (None, None), said)
    told = [] if much or by_itself else [Check("written", PASS, each, live[0], (None, None), f"{said}: {_LOOK}")]
    return Answer([*by_itself, check, *told], [] if much or by_itself else [said])


def _writes_by_itself(run: Run) -> tuple[list[Check], str]:
    """The check that fails a candidate which writes while nobody asks it, none where it does not; and what it writes
    then, as the end of a sentence, empty where that is hardly anything."""
    mine = _resting(run.candidate, run.memory)
    if mine is None or mine < WRITES_TOLD_MIB:
        return [], ""
    said = f"while nobody asked it, the candidate wrote {_bytes(mine)} a second (log and files)"
    live = _resting(run.baseline, run.baseline_memory) if run.baseline is not None else None
    if live is None or mine < WRITES_IDLE_MIB or mine <= WRITES_TIMES * live:
        return [], f"; {said}"
    said += f", the live generation {_bytes(live)}: something in it writes by itself, asked or not; {_LOOK}"
    return [Check("idle_writes", FAIL, mine, WRITES_IDLE_MIB, (None, None), said)], f"; {said}"


def _resting(samples: Samples, memory: MemoryEvidence | None) -> float | None:
    """MiB that are written in a second in which the load does not ask; None where that is not known."""
    if len(samples.quiet) != 2 or _begun(samples, memory):
        return None
    return share(_use(memory), "written_mib", *samples.quiet)


def _written(samples: Samples, use: Use) -> tuple[float, float] | None:
    """MiB for each request, and a second; None where it is not known."""
    grown = [use.grown("written_mib", begin, end) for begin, end in samples.loaded]
    if not grown or any(part is None for part in grown) or not samples.planned:
        return None
    whole = sum(part or 0.0 for part in grown)
    return whole / samples.planned, whole / sum(end - begin for begin, end in samples.loaded)


def _bytes(mib: float) -> str:
    return f"{short(mib)} MiB" if mib >= 1.0 else f"{short(1024 * mib)} KiB"
