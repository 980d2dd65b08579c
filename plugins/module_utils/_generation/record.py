# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a generation is made from, whole and frozen: read from its generation.json once, and written there once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping

from .._declaration.app import Load, Plain


@dataclass(frozen=True)
class GenerationRecord:
    """A generation's record.

    `app`: normalised, without environment and secrets; `plan`: as Plan.to_dict() has it; `planning`: the arguments of
    plan_host(). None is what is not known: `number`, `created` and `run` before it is laid down, `measured` (what the
    weigh found) and `drop_ins` ({path: sha256} of what the host gives to all services) before it is weighed.
    """

    app: Plain
    plan: Plain
    planning: Plain
    release: str | None = None
    digest: str | None = None
    source_id: str | None = None
    number: int | None = None
    created: str | None = None
    run: Plain | None = None
    measured: Plain | None = None
    drop_ins: Mapping[str, str] | None = None

    @classmethod
    def from_dict(cls, data: Plain) -> GenerationRecord:
        """From generation.json; of an older version too, which has fewer keys."""
        known = {item.name: data[item.name] for item in fields(cls) if item.name in data}
        return cls(**{"app": {}, "plan": {}, "planning": {}, **known})

    def to_dict(self) -> dict[str, object]:
        """generation.json: what is not known is left out."""
        found = {item.name: getattr(self, item.name) for item in fields(self)}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def listen(self) -> str:
        """The public address of its app."""
        return str(self.app["listen"])

    @property
    def load(self) -> Load:
        """The declared load of its app."""
        return Load.from_dict(self.app["load"])

    @property
    def cores(self) -> float:
        """The host's cores that it was planned for."""
        return float(self.planning["facts"]["cores"]["effective"])

    @property
    def settings(self) -> dict[str, Any]:
        """The planned value of each setting."""
        return {key: entry["value"] for key, entry in self.plan["settings"].items()}

    @property
    def memory_max_mib(self) -> float:
        """Its MemoryMax in MiB."""
        return float(self.settings["memory_max_mib"])
