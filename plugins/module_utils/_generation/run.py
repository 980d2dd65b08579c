# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which run of Headcount changes a host: what a lease, a ledger and the notes of a run say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Run:
    """One run of Headcount: who started it, where, when (`started`: ISO 8601, UTC)."""

    id: str
    user: str
    controller: str
    started: str

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> Run:
        return cls(*(str(value.get(key) or "unknown") for key in ("id", "user", "controller", "started")))

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"run {self.id} of {self.user} on {self.controller}"
