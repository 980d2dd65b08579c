# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a guard is about to go back from, written down before it does: where it is ended in between, or cannot write its
last word, the next step on the app says it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields

from .._os.files import read_mapping, remove_file, write_json
from .._os.paths import Layout
from . import ledger


@dataclass(frozen=True)
class GoingBack:
    """A guard leaves `generation` for `back_to`, since when (as the ledger tells it), and why."""

    generation: int
    back_to: int
    time: str
    cause: str
    release: str | None = None
    source_id: str | None = None
    digest: str | None = None

    @classmethod
    def read(cls, layout: Layout) -> GoingBack | None:
        """What a guard of the app wrote last; None where it wrote nothing, or nothing that can be read."""
        data = read_mapping(_path(layout))
        try:
            return cls(**{item.name: data[item.name] for item in fields(cls)})
        except KeyError:
            return None

    def write(self, layout: Layout) -> None:
        """Write it down. Raises OSError."""
        write_json(_path(layout), asdict(self), 0o600)

    def event(self) -> dict[str, object]:
        """The fields of the event `failed` that the ledger has of it."""
        told = asdict(self)
        del told["time"], told["back_to"]
        return {"from": self.back_to, "phase": "guard", **told}


def forget(layout: Layout) -> None:
    """It is written where it belongs, or did not come to it."""
    remove_file(_path(layout))


def unsaid(layout: Layout, live: int | None) -> GoingBack | None:
    """What a guard went back from although the ledger does not have it; None where there is no such thing."""
    going = GoingBack.read(layout)
    if going is None or going.back_to != live:
        return None
    said = (entry for entry in ledger.read(layout.ledger) if entry.get("phase") == "guard" and "from" in entry)
    return None if any(entry.get("generation") == going.generation for entry in said) else going


def taken_back(layout: Layout, live: int | None) -> list[ledger.Entry]:
    """ledger.taken_back(), with what the ledger does not have yet."""
    entries, going = ledger.read(layout.ledger), unsaid(layout, live)
    if going is not None:
        entries.append({"time": going.time, "event": "failed", **going.event()})
    return ledger.taken_back(entries)


def _path(layout: Layout) -> str:
    return os.path.join(layout.state, "guard-goes-back.json")
