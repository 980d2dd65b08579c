# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A load test: the load of the trial on the live generation, by a timer of the host, beside its users.

It gives way to everything: a rollout, a rollback and a guard go before it, and users above all.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace
from typing import Callable

from .._declaration.app import Limits, Load, LoadTest, Plain
from .._declaration.patience import answer_seconds
from .._facts.unitusage import unit_memory
from .._generation import generations, ledger, loadtests
from .._generation.answers import look
from .._generation.failures import StepFailed
from .._generation.loadtests import DONE, SKIPPED, STOPPED, UNMEASURED, Entry
from .._load.command import LoadError, Target
from .._load.phases import Protected, Running
from .._load.repeat import Repeated, repeat_load
from .._os.acceptqueue import accept_queue
from .._recorder.counts import Tally
from .._steps.app import AppOnHost
from .._steps.compare import missing_tool
from .._steps.guarding import Orders, counted, watches
from .._verdict.guarding import Reading
from .._verdict.hurting import hurt
from .._verdict.statistics import quantile_rank
from .._verdict.types import Samples

PHASE = "load test"
Repeat = Callable[..., Repeated]


def load_test(app: AppOnHost, repeat: Repeat = repeat_load, missing: Callable[[], str | None] = missing_tool) -> Entry:
    """Run the load test that the live generation declares, and note what came of it, which is returned.

    StepFailed where nothing is live, or it declares none.
    """
    number = generations.live(app.layout)
    if number is None:
        raise StepFailed(PHASE, f"nothing of {app.name} is live on this host")
    record = app.record(number)
    if not record.app.get("load_test"):
        raise StepFailed(PHASE, f"generation {number}, which is live, declares no load_test")
    declared = LoadTest.from_dict(record.app["load_test"])
    entry = Entry(ledger.now_text(app.clock), number, declared.rate, declared.seconds, SKIPPED)
    test = _Test(app, number, record.app, float(record.settings.get("memory_max_mib") or 0) or None)
    why = test.in_the_way() or missing() or ""
    entry = replace(entry, why=why) if why else test.run(entry, declared, repeat)
    with contextlib.suppress(OSError):  # a full disk has other worries
        loadtests.append(app.layout, entry)
    return entry


@dataclass
class _Test:
    app: AppOnHost
    number: int
    declared: Plain
    memory_max_mib: float | None

    def in_the_way(self) -> str:
        """Why nobody should be loaded now, in a sentence; empty where nothing stands against it."""
        layout = self.app.layout
        orders = Orders.read(layout)
        if orders is not None and orders.generation == self.number and watches(self.app, orders):
            return f"generation {self.number} is watched by its guard"
        if generations.live(layout) != self.number:
            return f"generation {self.number} is not live any more"
        return self.app.lock.at_work()

    def run(self, entry: Entry, declared: LoadTest, repeat: Repeat) -> Entry:
        """Load it, and tell what came of it."""
        app, layout = self.declared, self.app.layout
        socket = layout.private_socket(self.number)
        answers = look(socket, app, float(app["health"]["timeout_seconds"]))
        if not answers.well:
            return replace(entry, why=f"the live generation is not well: {answers.told()}")
        listen, limits = str(app["listen"]), Limits.from_dict(app["limits"])
        first = self.reading()

        def hurts() -> str:
            way = self.in_the_way()
            return way or hurt(first, self.reading(), limits, self.memory_max_mib)

        protected = Protected(Target(f"unix:{socket}"), limits, lambda: accept_queue(listen, self.app.root))
        load = replace(Load.from_dict(app["load"]), rate=declared.rate, seconds=declared.seconds)
        try:
            done = repeat(protected, load, hurt=hurts, running=Running(answer_seconds(app)))
        except LoadError as error:
            return replace(entry, outcome=UNMEASURED, why=str(error))
        if done.samples is None:
            return replace(entry, outcome=STOPPED, why=done.stopped)
        if not done.samples.complete:
            return replace(entry, outcome=UNMEASURED, why=done.samples.why)
        memory = self.reading().memory_mib
        return replace(measured(entry, done.samples), memory_mib=None if memory is None else round(memory, 1))

    def reading(self) -> Reading:
        """What the instance has counted so far, and its memory without page cache."""
        layout = self.app.layout
        group = self.app.systemd.state(layout.service_unit(self.number)).control_group
        memory = unit_memory(group, self.app.root) if group else None
        counts = counted(self.app, self.number)
        return Reading(
            at=self.app.clock(),
            tally=counts.tally if counts is not None else Tally(),
            memory_mib=memory.anon_mib if memory is not None else None,
            oom_kills=(memory.oom_kills or 0) if memory is not None else 0,
        )


def measured(entry: Entry, samples: Samples) -> Entry:
    """`entry` with the figures of a load; a quantile is None where it is a request that failed."""
    ordered = samples.sorted_latencies()

    def quantile(q: float) -> float | None:
        value = ordered[quantile_rank(len(ordered), q) - 1] if ordered else math.inf
        return round(value, 2) if math.isfinite(value) else None

    return replace(
        entry,
        outcome=DONE,
        requests=samples.planned,
        failures=samples.failures,
        p50_ms=quantile(0.5),
        p95_ms=quantile(0.95),
        p99_ms=quantile(0.99),
    )
