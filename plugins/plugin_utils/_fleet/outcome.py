# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What came of an app on a host, put together over the steps of a run. Pure."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from .._edge import Json

WORKING: Final = "working"
TAKEN_BACK: Final = "taken_back"
BAD: Final = ("failed", "lost", TAKEN_BACK)
GUARD: Final = "guard"


@dataclass(frozen=True)
class Step:
    """One step of a run: `seconds` that it took, `at` when it ended (seconds since the epoch), `healed` what it healed
    first, in words; `cause` when it failed."""

    phase: str
    ok: bool
    seconds: float
    cause: str | None = None
    healed: tuple[str, ...] = ()
    at: float | None = None

    @classmethod
    def from_dict(cls, data: Json) -> Step:
        """The inverse of to_dict()."""
        return cls(**{**data, "healed": tuple(data.get("healed", ()))})

    def to_dict(self) -> dict[str, object]:
        """Plain data; a step that did not fail has no cause, and one that healed nothing says nothing of it."""
        plain: dict[str, object] = {"phase": self.phase, "ok": self.ok, "seconds": self.seconds}
        if not self.ok:
            plain["cause"] = self.cause
        if self.healed:
            plain["healed"] = list(self.healed)
        if self.at is not None:
            plain["at"] = self.at
        return plain


@dataclass(frozen=True)
class Outcome:
    """What came of an app on a host so far: the one place where an outcome changes.

    `outcome`: `working` (steps are under way), `promoted`, `healed`, `failed` (what was live is live), `lost` (the host
    could not be reached any more), `taken_back` (promoted, and taken back by the host's guard), `reverted` (promoted,
    and given back with the fleet), `revert_failed`. `guarded`: whether a guard watches what was promoted, as far as is
    known.
    `phase` and `cause` are those of the first failure, at `failed_at` (seconds since the epoch); `self_healed`: the
    step that failed has healed the host itself. A promotion went from generation `before` to `to`. `verdict`,
    `evidence`, `measured`, `plan` and `mismatch` are what the host's modules answered.
    """

    host: str
    app: str
    outcome: str = WORKING
    steps: tuple[Step, ...] = ()
    generation: int | None = None
    release: str | None = None
    verdict: Json | None = None
    evidence: Json | None = None
    measured: Json | None = None
    plan: Json | None = None
    mismatch: str | None = None
    before: int | None = None
    to: int | None = None
    verified: Any = None
    reverted_to: int | None = None
    revert_cause: str | None = None
    phase: str | None = None
    cause: str | None = None
    self_healed: bool = False
    busy: bool = False
    failed_at: float | None = None
    guarded: bool | None = None

    @property
    def failed(self) -> bool:
        """Whether the rollout of the app failed, its host was lost, or its guard found it bad."""
        return self.outcome in BAD or self.found_by_guard

    @property
    def found_by_guard(self) -> bool:
        """Whether the host's guard found bad what was promoted; `cause` says what it came to."""
        return self.phase == GUARD

    def still_guarded(self, watches: bool) -> Outcome:
        """The outcome with whether its guard watches on."""
        return replace(self, guarded=watches)

    def guard_found(self, cause: str, back_to: int | None, at: float) -> Outcome:
        """The outcome after the guard found it bad, `at` seconds since the epoch, and went back to `back_to`; None:
        what it found is live still, so that it can go back with the fleet."""
        steps = self.steps if self.found_by_guard else (*self.steps, Step(GUARD, False, 0.0, cause, (), round(at, 1)))
        first = self.failed_at if self.found_by_guard else at
        found = replace(self, steps=steps, phase=GUARD, cause=cause, failed_at=first)
        return found if back_to is None else replace(found, outcome=TAKEN_BACK, reverted_to=back_to, guarded=False)

    @classmethod
    def from_dict(cls, data: Json) -> Outcome:
        """From what the notes of the run hold."""
        plain = {"before" if key == "from" else key: value for key, value in data.items()}
        plain["steps"] = tuple(Step.from_dict(step) for step in plain.get("steps", ()))
        return cls(**plain)

    def to_dict(self) -> dict[str, object]:
        """Plain data for the notes of the run: what is not known is left out."""
        known = {item.name: getattr(self, item.name) for item in fields(self)}
        known["steps"] = [step.to_dict() for step in self.steps]
        return {"from" if key == "before" else key: value for key, value in known.items() if value is not None}

    def after(self, phase: str, result: Json, seconds: float, at: float | None = None) -> Outcome:
        """The outcome after the step `phase`, which took `seconds` and ended with a module's `result`; `at`: when
        (seconds since the epoch)."""
        failed = bool(result.get("failed"))
        cause = result.get("cause") or result.get("msg") if failed else None
        healed = tuple(result.get("healed") or ())
        step = Step(phase, not failed, round(seconds, 1), cause, healed, None if at is None else round(at, 1))
        answered = {key: result[key] for key in _ANSWERED if result.get(key) is not None}
        found = replace(self, steps=(*self.steps, step), **answered)
        return found._failed(phase, result) if failed else found._ended(phase, result)

    def _ended(self, phase: str, result: Json) -> Outcome:
        if phase == "promote":
            verified = result.get("verified")
            return replace(self, outcome="promoted", before=result.get("from"), to=result.get("to"), verified=verified)
        if phase == "revert":
            return replace(self, outcome="reverted", reverted_to=result.get("to"))
        return replace(self, outcome="healed") if phase == "heal" else self

    def _failed(self, phase: str, result: Json) -> Outcome:
        """The first cause stays; a later failure only adds that the host was lost or that the revert failed."""
        if phase == "revert":
            return replace(self, outcome="revert_failed", revert_cause=result.get("cause") or result.get("msg"))
        came = "lost" if result.get("lost") else "failed"
        if self.failed:
            return replace(self, outcome="lost" if "lost" in (self.outcome, came) else "failed")
        return replace(
            self,
            outcome=came,
            phase=result.get("phase") or phase,
            cause=result.get("cause") or result.get("msg") or "no reason was given",
            self_healed=bool(result.get("self_healed")),
            busy=bool(result.get("busy")),
            failed_at=time.time(),
        )


_ANSWERED: Final = ("generation", "release", "verdict", "evidence", "measured", "plan", "mismatch", "guarded")

Outcomes = Mapping[str, Mapping[str, Outcome]]
"""{host: {app: what came of it}} of everything that was begun in a run."""
