# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is asked of a load in two halves: both generations were asked for what both know, then the candidate for
everything, paths included that the live generation does not know.

The first half is held against the live generation, the second one against the limits; what a candidate does to itself
(errors, a standstill, what piles up) may show in either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .checks import CHECKS, absolute_latency, enough_requests, error_check, stall, steady_state
from .costchecks import cpu_per_request, piles_up, writes
from .pathchecks import path_errors
from .run import Answer, Run, measurement_check
from .types import FAIL, PASS, WORST, Check, Samples
from .workerchecks import one_stands_still, whose_errors

Ask = Callable[[Run], Answer]

ALONE: Final[tuple[Ask, ...]] = (cpu_per_request, writes, enough_requests)
"""What is asked of the second half, as if there were no live generation."""
MEANWHILE: Final[tuple[Ask, ...]] = (steady_state, absolute_latency, stall)
"""What is asked of the second half, and is the host's where the live generation, loaded beside it, shows it too."""
IN_BOTH: Final[tuple[Ask, ...]] = (path_errors, one_stands_still, piles_up)
"""What is asked of both, what the live generation did in the first half being known."""
OF_ALL: Final[tuple[Ask, ...]] = (absolute_latency, enough_requests, whose_errors)
"""What the first half is not asked: it had not all of the requests."""


COMPARED: Final = ("p50_relative", "p95_relative")
"""Of all paths; those of one path name it."""


@dataclass(frozen=True)
class NewPaths:
    """The paths of a load that the live generation does not know, with the `status` that it answers. `beside`: where it
    was loaded without them, the candidate at that time, which was asked for all paths after that; `meanwhile`: the live
    generation while it was, if it was loaded."""

    status: Mapping[str, int] = field(default_factory=dict)
    beside: Samples | None = None
    meanwhile: Samples | None = None


NO_NEW_PATHS: Final = NewPaths()


def asked(run: Run, questions: Sequence[Ask]) -> Answer:
    """The answers to all questions as one."""
    answers = [ask(run) for ask in questions]
    return Answer(
        [check for answer in answers for check in answer.checks],
        [warning for answer in answers for warning in answer.warnings],
        [words for answer in answers for words in answer.uncompared],
    )


def together(run: Run, beside: Samples) -> Run:
    """The first half of a run whose candidate is that of the second: `beside` is the candidate in it."""
    return replace(run, candidate=beside)


def worse_errors(errors: Check, run: Run, beside: Samples | None) -> Check:
    """The check of failed requests: that of the first half where that alone is a fail."""
    if beside is None or errors.outcome == FAIL or measurement_check(beside, run.policy).outcome != PASS:
        return errors
    first = error_check(together(run, beside), True)
    return first if first.outcome == FAIL else errors


def sick_meanwhile(run: Run, new: NewPaths) -> bool:
    """Whether the live generation was sick in the second half, so that failed requests may be the host's fault."""
    return new.meanwhile is not None and replace(run, baseline=new.meanwhile).sick_beside


def _of_what_both_know(answer: Answer) -> Answer:
    """The same, whose comparisons say of which requests they are: the report's numbers are of all."""
    checks = [
        replace(check, sentence=f"{check.sentence}, of the requests for what both know")
        if check.name in COMPARED
        else check
        for check in answer.checks
    ]
    return replace(answer, checks=checks)


def in_halves(run: Run, beside: Samples, meanwhile: Samples | None) -> Answer:
    """The answers of both halves: of a question that both were asked the worse one."""
    first = together(run, beside)
    measured = measurement_check(beside, run.policy)
    # The limit on CPU is one on all requests.
    left_out = OF_ALL if run.limits.cpu_ms is None else (*OF_ALL, cpu_per_request)
    not_compared = replace(run, baseline=meanwhile, policy=replace(run.policy, relative=()))
    answers = [
        asked(run, (*IN_BOTH, whose_errors)),
        asked(not_compared, MEANWHILE),
        asked(replace(run, baseline=None), ALONE),
    ]
    if measured.outcome == PASS:
        answers.append(_of_what_both_know(asked(first, [ask for ask in CHECKS if ask not in left_out])))
    else:
        answers.append(Answer([measured]))
    worst: dict[str, Check] = {}
    for check in (check for answer in answers for check in answer.checks):
        known = worst.get(check.name)
        if known is None or WORST[check.outcome] > WORST[known.outcome]:
            worst[check.name] = check
    return Answer(
        list(worst.values()),
        list(dict.fromkeys(warning for answer in answers for warning in answer.warnings)),
        list(dict.fromkeys(words for answer in answers for words in answer.uncompared)),
    )
