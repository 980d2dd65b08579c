# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A plan in words: current against recommended side by side, and every number with its limits."""

from __future__ import annotations

from typing import Final, Mapping

from .settings import SETTINGS
from .types import ORIGINS, Plan, Setting, bare_values, number

_NOTHING: Final = "-"


def _shown(value: object) -> str:
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    if isinstance(value, (int, float)):
        return number(float(value))
    return str(value) or _NOTHING


def _with_unit(setting: Setting) -> str:
    return f"{setting.name} ({setting.unit})" if setting.unit in ("MiB", "seconds") else setting.name


def _in_order(plan: Plan) -> list[Setting]:
    """The settings in the planner's order, which a plan read from JSON may have lost."""
    known = [name for name in SETTINGS if name in plan.settings]
    return [plan.settings[name] for name in [*known, *(name for name in plan.settings if name not in SETTINGS)]]


def render_table(plan: Plan, current: Mapping[str, object] | None = None) -> list[str]:
    """Lines of plain text: setting, current, recommended, reason. `current` is bare values, a plan's dict, or None.

    A line that changes something begins with `*`. Warnings and the origin of the numbers follow.
    """
    now = bare_values(current)
    rows: list[tuple[str, ...]] = [("", "setting", "current", "recommended", "why")]
    for setting in _in_order(plan):
        have, want = _shown(now.get(setting.name)), _shown(setting.value)
        changed = "*" if now and have != want else " "
        rows.append((changed, _with_unit(setting), have, want, f"{setting.reason} [{setting.origin}]"))
    if not now:
        rows = [(mark, name, want, why) for mark, name, _, want, why in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    lines = [f"{plan.app}: {plan.slots} requests in flight, {plan.budget_mib} MiB for a generation"]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    lines.append(_numbers(plan))
    lines.extend(f"warning: {warning}" for warning in plan.warnings)
    return lines


def _numbers(plan: Plan) -> str:
    """Which numbers are measured, declared, assumed: one line."""
    names: dict[str, list[str]] = {origin: [] for origin in ORIGINS}
    for name, item in plan.inputs.items():
        if isinstance(item, Mapping) and name != "profile":
            names[str(item["origin"])].append(f"{name} {_shown(item['value'])}")
    parts = [f"{origin}: {', '.join(items)}" for origin, items in names.items() if items]
    return "numbers: " + "; ".join(parts)


def _curves(plan: Plan) -> list[str]:
    """The picture of the two curves; none for a plan of an older version."""
    cores, in_line, shared, load = (_value(plan, name) for name in ("cores", "delay_in_line", "delay_shared", "load"))
    if cores is None or in_line is None or shared is None:
        return []
    from .picture import picture

    return picture(cores, in_line, shared, load)


def _value(plan: Plan, name: str) -> float | None:
    """One number that went into the plan; None where the plan has it not."""
    found = plan.inputs.get(name)
    return float(found["value"]) if isinstance(found, Mapping) else None


def explain(plan: Plan) -> list[str]:
    """Lines of plain text: each setting with its reason, and below it every limit that was considered, the winner
    marked; then the numbers, and how long requests take first-come-first-served and sharing the cores."""
    lines = []
    for setting in _in_order(plan):
        unit = f" {setting.unit}" if setting.unit else ""
        lines.append(f"{setting.name} = {_shown(setting.value)}{unit} [{setting.origin}]: {setting.reason}")
        for limit in setting.limits:
            mark = ">" if limit.name == setting.winner else " "
            lines.append(f"  {mark} {limit.name}: {_shown(limit.value)} ({limit.reason})")
    for name, item in plan.inputs.items():
        if isinstance(item, Mapping):
            lines.append(f"input {name} = {_shown(item['value'])} [{item['origin']}]: {item['source']}")
    lines.extend(_curves(plan))
    lines.extend(f"warning: {warning}" for warning in plan.warnings)
    return lines
