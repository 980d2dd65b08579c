# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What holds for a candidate alone: the section `trial`. Pure.

In a normalised app it lies among the environment and the secrets themselves, under names that begin with PREFIX, which
no variable has: whatever keeps those from being told, and has their digests, keeps these too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import checks
from .fields import ABSENT, REQUIRED, Context, Field, Parsed, Part

PREFIX: Final = "trial:"

_VALUE: Final = Field(
    "",
    "scalar",
    "The value.",
    REQUIRED,
    "value",
    allowed="a string without NUL",
    check=checks.environment_value,
    quiet=True,
)
_ALLOWED: Final = "a mapping of names of environment variables to strings"

TRIAL: Final = Field(
    "trial",
    "section",
    "What the candidate has in the place of, or beside, what users' instances have, while it is weighed and tried: a"
    " scratch database where the load writes, a scheduler that is switched off. HEADCOUNT_ROLE tells any instance what"
    " it is: weigh, trial or live.",
    ABSENT,
    {"environment": {"SCHEDULER": "off"}},
    fields=(
        Field(
            "environment",
            "map",
            "Environment of the candidate alone.",
            {},
            {"SCHEDULER": "off"},
            allowed=_ALLOWED,
            key_check=checks.environment_name,
            items=_VALUE,
            quiet=True,
        ),
        Field(
            "secrets",
            "map",
            "Secret environment of the candidate alone.",
            {},
            {"DATABASE_URL": "{{ vault_shop_scratch_database_url }}"},
            allowed=_ALLOWED,
            key_check=checks.environment_name,
            items=_VALUE,
            quiet=True,
        ),
    ),
)


def fold(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A rule: the section `trial` goes into environment and secrets."""
    own = app.pop("trial", None) or {}
    for name in sorted(set(own.get("environment") or {}) & set(own.get("secrets") or {})):
        what = "is also under trial.environment, where everybody can read it"
        fix = f"remove trial.environment.{name}"
        context.add((*parts, "trial", "secrets", name), what, "a name in one of the two", fix)
    for section in ("environment", "secrets"):
        app[section].update({f"{PREFIX}{name}": value for name, value in (own.get(section) or {}).items()})


def own_of(values: Mapping[str, str], candidate: bool) -> dict[str, str]:
    """Those of `values` (an environment, or secrets) that all instances have, or those of the `candidate` alone."""
    if candidate:
        return {name[len(PREFIX) :]: value for name, value in values.items() if name.startswith(PREFIX)}
    return {name: value for name, value in values.items() if not name.startswith(PREFIX)}


def place(parts: tuple[Part, ...], section: str, name: str) -> tuple[Part, ...]:
    """Where a person declared the variable `name` of a normalised app's `section`."""
    if name.startswith(PREFIX):
        return (*parts, "trial", section, name[len(PREFIX) :])
    return (*parts, section, name)
