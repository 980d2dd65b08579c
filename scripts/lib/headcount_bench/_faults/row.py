# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""One row of the catalogue of faults, and what every row may need."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._scene import APP, Scene

GROUPS = {
    "release": "Releases that are bad",
    "host": "Hosts that are bad",
    "hand": "Things done by hand",
    "kill": "The module is killed",
    "power": "The host's power is cut",
    "controller": "The controller and the connection",
    "held": "Steps that do not end, and who ends them",
    "foreign": "What somebody else has on the host",
    "broken": "The live release has turned broken",
    "data": "What the app keeps",
    "life": "What an app has around it",
    "past": "Hosts with a past, and with neighbours",
}
STATE = f"/var/lib/headcount/{APP}"
HOME = f"/opt/headcount/{APP}"


@dataclass(frozen=True)
class Row:
    """One fault. `quick`: part of the fast core."""

    name: str
    fault: str
    promise: str
    work: Callable[[Scene], None]
    quick: bool = False


def refused(
    scene: Scene, done: Sequence[Mapping[str, Any]], why: str, phases: str = ".", *, bad_kept: bool = True
) -> None:
    """The last step failed with a cause that matches `why`; what was live is live, serves, and the ledger says why."""
    last, seen = done[-1], scene.seen
    said = str(last.get("failed", "it was not refused"))
    seen.told.append(said[:200])
    seen.must("failed" in last, f"it was not refused: {last}")
    seen.must(last.get("phase") != "internal", f"the engine broke: {said} {last.get('traceback', '')[-300:]}")
    seen.must(re.search(why, said, re.IGNORECASE), f"the cause does not say so: {said}")
    seen.must(re.search(phases, str(last.get("phase"))), f"it was refused in {last.get('phase')}, not in {phases}")
    events = scene.engine.ledger(APP)
    failed = events[-1] if events else {}
    seen.must(failed.get("event") == "failed", f"the ledger's last word is {failed.get('event')}")
    seen.must(re.search(why, str(failed.get("cause")), re.IGNORECASE), f"the ledger says {failed.get('cause')}")
    for key in ("user", "controller", "time", "phase"):
        seen.must(failed.get(key), f"the ledger does not say {key}")
    if bad_kept and last.get("number"):
        state = scene.engine.status(APP)
        kept = [one["number"] for one in state.get("generations", []) if one["status"] == "bad"]
        seen.must(kept == [last["number"]], f"kept for diagnosis is {kept}, not {last['number']}")
    scene.clean()
