# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether a generation that was promoted is worse for its users than it may be, by the counts of the recorder. Pure.

Nothing is a breach that chance, a burst of traffic or a moment of a busy host explains. A share (of errors, of requests
beyond a declared limit) has to be surely above its limit, by the exact bound of Clopper and Pearson, and surely above
the share of the generation before, which served the same users; over the requests of the last WINDOW_S, or over all
since the promote; and it has to go on at AGREE looks in a row. So what was as slow or as faulty before is no reason to
go back to it, a short disturbance is none, and few requests are none either: then it says that it cannot tell.

What hangs ends nothing, and is counted by what it owes: requests in flight without an answer for longer than the app
declares that they may be, whether new ones come or not. In a burst of traffic all slots are busy too, but what is in
them comes and goes. A request whose answer has begun (a stream, a download), a WebSocket, a large upload and a body
that is still coming are nothing that somebody waits for. Where it cannot be sure, it says what it saw, and does not
call that well.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import ceil

from .._declaration.app import Limits
from .._declaration.patience import ANSWER_SECONDS, MOST_ANSWER_SECONDS
from .._recorder.counts import BOUNDS_S, Tally
from .statistics import clopper_pearson
from .types import short

LOOK_EVERY_S = 5.0
WINDOW_S = 30.0
AGREE = 4
LEVEL = 1e-5
"""Of one bound at one look: some hundred looks at four shares are wrong by chance once in a thousand guards at most."""

BEFORE_LEVEL = 0.01
ENOUGH = 100
"""Requests from which on silence means that it is well."""

NEARLY_ALL = 0.8
"""From such a share of requests without an answer on, beside those that ended, it is a hang, though slots are free."""

FEW = 4
"""So few requests without an answer are none."""

LONG_SHARE = 0.1
"""Requests that took at least so much of the slots' time under the generation before are what the app does."""

KILLS = 2
"""So often, at looks apart, a release has the OOM killer come for it, or its server dies: once may be a burst."""

DEATHS = 3
DEATHS_WORSE = 5.0
QUANTILES = {"p50": 0.5, "p95": 0.05, "p99": 0.01}
"""The share of requests that may take longer than the limit of a quantile."""


@dataclass(frozen=True)
class Before:
    """The generation that served before: what it counted, and over how many seconds. Empty where that is not known."""

    tally: Tally = field(default_factory=Tally)
    seconds: float = 0.0


@dataclass(frozen=True)
class Reading:
    """One look: seconds since the promote, what was counted since then, memory in MiB, and connections that wait to be
    accepted. None is what is not known.

    `oom_kills` and `filled` (how often it had filled its own limit) are those since its unit was started, which systemd
    did `restarts` times; `said`: how often it said of the unit since the promote that the OOM killer came."""

    at: float
    tally: Tally
    memory_mib: float | None = None
    oom_kills: int = 0
    waiting: int | None = None
    filled: int | None = None
    restarts: int = 0
    said: int = 0


@dataclass(frozen=True)
class Instance:
    """What is planned and declared of a generation: MemoryMax in MiB and requests that it can serve at once (None: not
    known), and for how many seconds a request of it may be in flight."""

    memory_max_mib: float | None = None
    slots: int | None = None
    patience_s: float = ANSWER_SECONDS


@dataclass
class Kills:
    """Processes that the OOM killer has ended since the promote: those that died because the unit had
    filled its own limit (`own`, at so many looks: `times`), and those that died because the host, or whatever else
    holds them and others, was full (`others`)."""

    own: int = 0
    others: int = 0
    times: int = 0
    died: int = 0
    """So often its server died after it had served, and systemd started it again."""

    served: int = 0
    last: Reading = field(default_factory=lambda: Reading(0.0, Tally()))

    def look(self, now: Reading) -> None:
        """Take a reading in."""
        last, before = self.last, self.own
        anew = now.restarts != last.restarts or now.oom_kills < last.oom_kills
        came = now.oom_kills - (0 if anew else last.oom_kills)
        if now.filled is not None and now.filled <= (0 if anew else last.filled or 0):
            self.others += came
        else:
            self.own += came
        # What came for the master went with the counts of its unit: only systemd can say that it did.
        self.own += max(0, now.said - self.own - self.others)
        self.times += self.own > before
        if now.restarts > last.restarts:  # starts that fail one after the other are one end
            self.died, self.served = self.died + (now.tally.ended > self.served), now.tally.ended
        self.last = now

    def words(self) -> str:
        """What it ended, as the last word of a guard has it; empty where it ended nothing."""
        parts = [f"{_processes(self.own)}, as it took all memory that it may have"] if self.own else []
        parts += [f"{_processes(self.others)}, as the host was short of memory"] if self.others else []
        told = [f"the OOM killer ended {', and '.join(parts)}"] if parts else []
        times = "once" if self.died == 1 else f"{self.died} times"
        return "; ".join([*told, *([f"its server died {times}, and systemd started it again"] if self.died else [])])


def _processes(count: int) -> str:
    return "one of its processes" if count == 1 else f"{count} of its processes"


@dataclass
class Watch:
    """What is remembered between looks at one generation."""

    limits: Limits
    before: Before
    instance: Instance = field(default_factory=Instance)
    readings: deque[Reading] = field(default_factory=deque)
    agreed: int = 0
    full_since: Reading | None = None
    """The first of the last looks, all in a row, at which all slots were busy and connections waited."""

    full_looks: int = 0
    """So many came after it."""

    asked: int = 0
    """So many requests had ended when the guard was set: those of the promote itself, which are no traffic."""

    kills: Kills = field(default_factory=Kills)

    suspected: str = ""
    """What the last look at which anything came found to be a breach."""

    @property
    def patience_s(self) -> float:
        """For how long a request may be in flight: as declared, or as long as usual under the generation before."""
        return min(MOST_ANSWER_SECONDS, max(self.instance.patience_s, longest_usual_s(self.before.tally)))

    def look(self, now: Reading) -> str:
        """Take a reading in; the breach in a sentence once it is sure, else empty."""
        if self.readings and now.tally.begun < self.readings[-1].tally.begun:
            self.readings.clear()  # counted anew: what was started again by hand has a new recorder
            self.full_since, self.asked = None, 0
        latest = now.tally.since(self.readings[-1].tally) if self.readings else now.tally
        self._keep(now)
        window = now.tally.since(self._at(now.at - WINDOW_S).tally) if len(self.readings) > 1 else now.tally
        self.kills.look(now)
        certain = (self._killed(now) or self._ended(now)) if now.at > 0 else ""
        if certain:
            return certain
        words = self._dying(now) or self._memory(now) or self._share(latest, window, now.tally) or self._hanging(now)
        if words or latest.ended + latest.lost:  # a look at which nothing was asked says nothing
            self.agreed, self.suspected = self.agreed + 1 if words else 0, words
        return words if self.agreed >= AGREE else ""

    def conclusion(self) -> str:
        """What is to be said when the time is over and nothing was a breach."""
        return "; ".join(filter(None, [self._concluded(), self.kills.words()]))

    def _concluded(self) -> str:
        last = self.readings[-1] if self.readings else Reading(0.0, Tally())
        count = max(0, last.tally.ended - self.asked)
        served, full = f"{count} request{'' if count == 1 else 's'}", self.full_since
        if full is not None and _settled(last) == _settled(full) and last.at - full.at >= (AGREE - 1) * LOOK_EVERY_S:
            return f"it cannot tell ({served}): {self._stands(last, full)}"
        patience_s = self.instance.patience_s if self.before.tally.answering else self.patience_s
        old, slots, usual = self._old(last, patience_s), self.instance.slots, 2 * self.before.tally.unanswered
        owes = self._owes(last, old, patience_s) if old > usual else ""
        if owes and (old > FEW or (slots is not None and 2 * old >= slots)):
            return f"it cannot tell ({served}): {owes}"
        if self.suspected:
            looks = f"{self.agreed} of the {AGREE} looks in a row that it takes to be sure"
            return f"it cannot tell ({served}): {self.suspected}; so it was at {looks}"
        told = f"{served}, no breach" if count >= ENOUGH else f"not enough traffic to tell ({served})"
        return f"{told}; {owes}" if owes else told

    def _keep(self, now: Reading) -> None:
        self.readings.append(now)
        kept_s = WINDOW_S + self.patience_s
        while len(self.readings) > 1 and self.readings[1].at <= now.at - kept_s:
            self.readings.popleft()
        slots = self.instance.slots
        self.full_looks += 1
        if not now.waiting or not slots or now.tally.in_flight < slots:
            self.full_since = None
        elif self.full_since is None or now.tally.lost > self.full_since.tally.lost:
            self.full_since, self.full_looks = now, 0

    def _at(self, seconds: float) -> Reading:
        """The newest reading that is so old; the oldest where none is."""
        return next((one for one in reversed(self.readings) if one.at <= seconds), self.readings[0])

    def _hanging(self, now: Reading) -> str:
        return self._standing(now) or self._unanswered(now)

    def _standing(self, now: Reading) -> str:
        """That nobody is let in, since what is in the slots has been there for too long.

        The slots were busy all the time since the first look at which they were; what those took that ended since is
        known; so the others have been in flight for the rest of it at least.
        """
        full, slots = self.full_since, self.instance.slots
        if full is None or not slots or now.at <= full.at or self._as_long_before(now):
            return ""
        whole = slots * (now.at - full.at)
        known = now.tally.since(full.tally).seconds
        # What is short leaves its slot idle for moments: had the rest been that, a look would have met one of them.
        chance = min(1.0, known / whole) ** self.full_looks
        hangs = whole - known > slots * self.patience_s and chance <= LEVEL
        return f"it hangs: {self._stands(now, full)}" if hangs else ""

    def _as_long_before(self, now: Reading) -> bool:
        """Whether the generation before had what fills slots for longer than anybody can tell: it was not better."""
        streams, before = now.tally.answering or 0, self.before.tally
        return _endless(before) or now.tally.in_flight < 2 * streams <= 4 * (before.answering or 0)

    def _stands(self, now: Reading, full: Reading) -> str:
        ended, slots = _settled(now) - _settled(full), self.instance.slots
        waits = "connection waits" if now.waiting == 1 else "connections wait"
        return (
            f"{now.tally.in_flight} of {slots} slot{'' if slots == 1 else 's'} busy and {now.waiting} {waits}, "
            f"{ended or 'none'} of its requests ended within {short(now.at - full.at)} s, where one may take "
            f"{short(self.patience_s)} s"
        )

    def _unanswered(self, now: Reading) -> str:
        """That next to nothing is answered any more, though there may be room, and whether new requests come or not."""
        then = now.at - self.patience_s - WINDOW_S
        start = self._at(then)
        if start.at > then or now.tally.answering is None:
            return ""
        old, ended = self._old(now, self.patience_s), _settled(now) - _settled(start)
        if old <= max(FEW, 2 * self.before.tally.unanswered):
            return ""
        if ended and not surely_above(old, old + ended, NEARLY_ALL):
            return ""
        within = f"{ended or 'none'} of its requests ended within {short(now.at - start.at)} s"
        return f"it hangs: {self._owes(now, old, self.patience_s)}, {within}"

    def _old(self, now: Reading, patience_s: float) -> int:
        """How many requests have been in flight without an answer for so many seconds, at least.

        Of those that had begun by then what is more than all that ended since is in flight still. Where others come and
        go, what these took is known: whatever else was seen in the slots at each look until then is in there still, but
        for what is being answered by now, and was not then.
        """
        then, answering = now.at - patience_s, now.tally.answering or 0
        before = next((one.tally for one in reversed(self.readings) if one.at <= then), Tally())
        # What was being sent then, and waits for its answer by now, may have waited for a moment only.
        found = before.begun - _settled(now) - max(answering, before.answering or 0)
        least, looks = now.tally.unanswered, 0
        for since in reversed(self.readings):
            span = then - since.at
            if span < 0:
                continue
            least, looks = min(least, since.tally.unanswered), looks + 1
            gone = now.tally.since(since.tally)
            answered = min(answering, max(0, (gone.answering or 0) + gone.ended + gone.lost))
            known = max(0.0, gone.seconds) + gone.lost * (now.at - since.at) + answered * span
            # As in _standing(): had that been short ones, a look would have met fewer.
            if span > 0 and known < least * span and (known / (least * span)) ** looks <= LEVEL:
                found = max(found, ceil(least - known / span))
        return max(0, min(found, now.tally.unanswered))

    def _owes(self, now: Reading, old: int, patience_s: float) -> str:
        """What is in flight for so long, in words."""
        slots, is_one = self.instance.slots, old == 1
        long = f"for {short(patience_s)} s or more"
        done = f"been in flight {long}" if now.tally.answering is None else f"had no answer {long}"
        if slots is None:
            return f"at least {old} request{' has' if is_one else 's have'} {done}"
        requests = "a request has" if is_one else "requests have"
        return f"in at least {old} of {slots} slot{'' if slots == 1 else 's'} {requests} {done}"

    def _killed(self, now: Reading) -> str:
        """That the OOM killer came more than once for what it takes: that is counted, and no chance."""
        own, most = self.kills.own, self.instance.memory_max_mib
        if own < KILLS or self.kills.times < KILLS:
            return ""
        if self._as_often_before(own / now.at, "killed"):
            return ""
        may = f"all of the {short(most)} MiB" if most else "all memory"
        return (
            f"the OOM killer ended {own} of its processes within {short(now.at)} s, as it took {may} that it may have"
        )

    def _ended(self, now: Reading) -> str:
        """That its server died more than once after it had served: all workers go with it, whatever ended it."""
        died = self.kills.died
        if died < KILLS or self._as_often_before(died / now.at, "with_master"):
            return ""
        return f"its server died {died} times within {short(now.at)} s, and systemd started it again"

    def _as_often_before(self, rate: float, how: str) -> bool:
        """Whether workers of the generation before ended so about as often in a second."""
        was = self.before
        return was.seconds > 0 and rate <= DEATHS_WORSE * was.tally.ends.get(how, 0) / was.seconds

    def _dying(self, now: Reading) -> str:
        ends = now.tally.ends
        dead = ends.get("killed", 0) + ends.get("died", 0) + ends.get("timed_out", 0)
        if dead < DEATHS or now.at <= 0:
            return ""
        was = self.before.tally.ends
        usual = was.get("killed", 0) + was.get("died", 0) + was.get("timed_out", 0)
        if self.before.seconds > 0 and dead / now.at <= DEATHS_WORSE * usual / self.before.seconds:
            return ""
        count = self.kills.own + self.kills.others
        killed = f", {count} of its processes by the OOM killer" if count else ""
        return f"{dead} of its workers died within {short(now.at)} s{killed}"

    def _memory(self, now: Reading) -> str:
        percent, most = self.limits.memory_percent, self.instance.memory_max_mib
        if now.memory_mib is None or percent is None or not most or now.memory_mib <= most * percent / 100:
            return ""
        return (
            f"it uses {short(now.memory_mib)} MiB, more than {short(percent)} % of the {short(most)} that it may have"
        )

    def _share(self, latest: Tally, window: Tally, whole: Tally) -> str:
        for tally, which in ((window, "all" if window is whole else "the last"), (whole, "all")):
            words = (latest.errors and self._errors(tally, which)) or self._slow(latest, tally, which)
            if words:
                return words
        return ""

    def _errors(self, tally: Tally, which: str) -> str:
        count, old = tally.ended + tally.lost, self.before.tally
        most = max(self.limits.error_rate, upper(old.errors, old.ended + old.lost))
        if not surely_above(tally.errors, count, most):
            return ""
        share = f"{_percent(tally.errors / count)}, where at most {_percent(most)} may"
        return f"{tally.errors} of {which} {count} requests failed, {share}"

    def _slow(self, latest: Tally, tally: Tally, which: str) -> str:
        for name, share in QUANTILES.items():
            limit_ms, over, old = self.limits.latency_ms(name), tally.over.get(name, 0), self.before.tally
            if limit_ms is None or not latest.over.get(name, 0):
                continue
            most = max(share, upper(old.over.get(name, 0), old.ended))
            if surely_above(over, tally.ended, most):
                told = f"{_percent(over / tally.ended)}, where at most {_percent(most)} may"
                beyond = f"took longer than the {short(limit_ms)} ms of {name}"
                return f"{over} of {which} {tally.ended} requests {beyond}, {told}"
        return ""


def upper(count: int, total: int) -> float:
    """The share of the generation before at most; 0 where it is not known."""
    return clopper_pearson(count, total, BEFORE_LEVEL)[1] if count and total > 0 else 0.0


def longest_usual_s(tally: Tally) -> float:
    """Seconds that the long requests of an app take: those that have LONG_SHARE of all the time that it is busy. Where
    that is beyond what is told apart, the most that any request is waited for; 0 where nothing was counted."""
    longest = zip(reversed((0.0, *BOUNDS_S)), reversed((*BOUNDS_S, MOST_ANSWER_SECONDS)), reversed(tally.buckets))
    spent = 0.0
    for least, most, count in longest:
        spent += least * count
        if count and spent >= LONG_SHARE * tally.seconds:
            return most
    return 0.0


def _endless(tally: Tally) -> bool:
    """Whether the long requests of an app take longer than can be told apart."""
    return bool(tally.buckets[-1]) and BOUNDS_S[-1] * tally.buckets[-1] >= LONG_SHARE * tally.seconds


def surely_above(count: int, total: int, share: float) -> bool:
    """Whether a share is above a limit beyond chance."""
    return 0 < count <= total and clopper_pearson(count, total, 2 * LEVEL)[0] > share


def _settled(reading: Reading) -> int:
    """Requests that are over, well or not."""
    return reading.tally.ended + reading.tally.lost


def _percent(share: float) -> str:
    return f"{short(100 * share)} %"
