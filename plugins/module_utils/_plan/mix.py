# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether an app's requests are alike, and where that is known from.

The moments and the formulas are those of _declaration.mixture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Sequence

from .._declaration.app import App
from .._declaration.mixture import Kind, Spread, declared_kinds, spread_of
from .types import Measured, Number, PathTimes, number, share

HEAVY_TAIL_C2: Final = 10.0
"""The squared coefficient of variation that is assumed of CPU times nobody knows: that of a page of 5 ms of which one
in twenty makes a report for 300."""

PATH_REQUESTS_MIN: Final = 3
"""Fewer requests of a path than this do not tell what it takes."""

WAITS_RATIO: Final = 0.2
WAITS_MS: Final = 1.0
"""A path waits that waits for more than this part of its CPU time, and for longer than the kernel takes to wake it."""


@dataclass(frozen=True)
class Mix:
    """Whether the requests are alike: the word (uniform or mixed), where it comes from and why; the moments, where the
    kinds are known. `waits`: whether any of several paths waits; None where nobody knows. `declared_alike`: whether a
    person says of the whole app that they are alike."""

    word: str
    origin: str
    source: str
    spread: Spread | None
    warnings: tuple[str, ...] = ()
    waits: bool | None = None
    declared_alike: bool = False

    @property
    def known_alike(self) -> bool:
        """Whether the requests of the whole app are known to be alike: a person says so, and nothing that was weighed
        speaks against it. Paths that are weighed say nothing about those that are not, such as what users send."""
        return self.word == "uniform" and self.declared_alike

    @property
    def mixed(self) -> bool:
        """Whether long requests have to be reckoned with."""
        return self.word == "mixed"

    def cpu_c2(self) -> Number:
        """The squared coefficient of variation of the CPU times that the plan goes by."""
        if self.spread is not None:
            return Number(round(self.spread.cpu_c2, 2), self.origin, self.source)
        if not self.mixed:
            return Number(0.0, self.origin, self.source)
        return Number(HEAVY_TAIL_C2, "assumed", "assumed: heavy-tailed, as web traffic is")

    def delays(self) -> tuple[Number, Number]:
        """Multiples of its own time by which the kind that suffers most is delayed for each unit of `crowding`: where
        one request computes after the other, and where requests share the cores."""
        c2 = self.cpu_c2()
        if self.spread is None:
            words = f"(1 + C2) / 2, for a request of the mean size: {c2.source}"
            return Number((1 + c2.value) / 2, c2.origin, words), Number(1.0, c2.origin, f"its own time: {c2.source}")
        fast, ahead = self.spread.fastest, number(self.spread.ahead_ms)
        alone = number(fast.alone_ms)
        line = f"E[S^2] / (2 E[S]) = {ahead} ms of CPU before a request, {fast.name} takes {alone} ms alone"
        shared = "CPU time / time alone, of the kind that computes most"
        return (
            Number(round(self.spread.in_line, 3), self.origin, line),
            Number(round(self.spread.shared, 3), self.origin, shared),
        )

    def wait_c2(self) -> Number | None:
        """The same of the waits; None where nobody knows."""
        if self.spread is not None:
            return Number(round(self.spread.wait_c2, 2), self.origin, self.source)
        return None if self.mixed else Number(0.0, self.origin, self.source)


def measured_kinds(measured: Measured | None) -> list[Kind]:
    """The kinds that the weigh told apart, of the paths that answered well; none where one was asked too rarely."""
    paths = [] if measured is None else [path for path in measured.paths if path.requests]
    if any(path.requests < PATH_REQUESTS_MIN for path in paths):
        return []
    return [_kind(path) for path in paths]


def _kind(path: PathTimes) -> Kind:
    return Kind(
        path.path,
        path.weight,
        path.cpu_ms,
        path.wait_ms,
        path.cpu_ms**2 + path.cpu_sd_ms**2,
        path.wait_ms**2 + path.wait_sd_ms**2,
    )


def mix_of(app: App, measured: Measured | None) -> Mix:
    """Whether the app's requests are alike: a measurement that shows a tail before a declaration, that before the
    assumption that they are not.

    One path says nothing about the others: alike is only what is declared (`mix: uniform`), what the declared times
    of the paths make, and what was weighed over several paths.
    """
    seen, told = measured_kinds(measured), declared_kinds(app.load.paths)
    return replace(_mix_of(app, seen, told), waits=_any_waits(seen or told), declared_alike=app.mix == "uniform")


def _any_waits(kinds: Sequence[Kind]) -> bool | None:
    """Whether one of several kinds waits; one that does not says nothing about others."""
    if any(kind.wait_ms > max(WAITS_MS, WAITS_RATIO * kind.cpu_ms) for kind in kinds):
        return True
    return False if len(kinds) > 1 else None


def _mix_of(app: App, seen: Sequence[Kind], told: Sequence[Kind]) -> Mix:
    """Whether requests are alike, by the kinds that were weighed and those that are declared."""
    name, said = app.name, app.mix
    if seen:
        spread = spread_of(seen)
        if spread.mixed:
            warnings: tuple[str, ...] = ()
            if said == "uniform":
                warnings = (
                    f"{name}: mix: uniform is declared, but {_words(spread)} ({_where(seen)}): the plan goes by the"
                    " measurement; correct the declaration",
                )
            return Mix("mixed", "measured", f"measured: {_words(spread)} ({_where(seen)})", spread, warnings)
        if said == "mixed":
            return Mix("mixed", "declared", "declared: mix is mixed, although what was weighed is alike", None)
        if said == "uniform" or len(seen) > 1:
            return Mix("uniform", "measured", f"measured: {_words(spread)} ({_where(seen)})", spread)
        words = f"assumed: not alike, as only {seen[0].name} was weighed, which says nothing about other paths"
        return Mix("mixed", "assumed", words, None)
    if told and said != "mixed":
        spread = spread_of(told)
        word = "mixed" if spread.mixed else "uniform"
        if not spread.mixed and len(told) == 1 and said is None:
            words = f"assumed: not alike, as load.paths has {told[0].name} alone, which says nothing about other paths"
            return Mix("mixed", "assumed", words, None)
        return Mix(word, "declared", f"declared: {_words(spread)} ({_where(told)})", spread)
    if said is not None:
        return Mix(said, "declared", f"declared: mix is {said}", spread_of(told) if told else None)
    return Mix("mixed", "assumed", "assumed: not alike, as web traffic is, until several paths are weighed", None)


def _words(spread: Spread) -> str:
    """The finding in figures."""
    ahead, fast = number(spread.ahead_ms), spread.fastest
    return (
        f"the CPU times have a C2 of {number(spread.cpu_c2)}: in a line a request finds {ahead} ms of CPU before it,"
        f" where {fast.name} takes {number(fast.alone_ms)} ms alone"
    )


def _where(kinds: Sequence[Kind]) -> str:
    whole = sum(kind.weight for kind in kinds)
    shown = [
        f"{kind.name} {number(kind.cpu_ms)} + {number(kind.wait_ms)} ms, {share(kind.weight / whole)}"
        for kind in kinds[:4]
    ]
    more = f", and {len(kinds) - 4} more" if len(kinds) > 4 else ""
    return "; ".join(shown) + more
