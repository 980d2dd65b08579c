# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the files of a new generation differ from those of the live one."""

from __future__ import annotations

import os

from .._declaration.app import Plain
from .._os.paths import Layout
from .._recorder.configuration import LOG_PROGRAM, PROGRAM
from . import generations, ledger
from .units import render


def file_differences(layout: Layout, app: Plain, plan: Plain) -> list[dict[str, str]]:
    """The files of the live generation against those that a new one would have, in the form of Ansible's diff.

    The programs of the recorder are left out: they are Headcount's own, and nothing that a person declares.
    """
    live = generations.live(layout)
    number = max([*generations.numbers(layout), ledger.highest_generation(ledger.read(layout.ledger))], default=0) + 1
    after = render(app, plan, number, layout)
    before = {} if live is None else render_live(layout, live)
    differences = []
    for name, text in after.items():
        if name in (PROGRAM, LOG_PROGRAM):
            continue
        old_name = name.replace(f"@{number}.", f"@{live}.")
        differences.append(
            {
                "before_header": f"generation {live}: {old_name}" if live is not None else "nothing deployed",
                "after_header": f"generation {number}: {name}",
                "before": before.get(old_name, ""),
                "after": text,
            }
        )
    return [entry for entry in differences if entry["before"] != entry["after"]]


def render_live(layout: Layout, live: int) -> dict[str, str]:
    """The files of the live generation as they are on disk, by name."""
    files = {}
    path = layout.generation(live)
    for name in os.listdir(path):
        if name.endswith((".socket", ".service", ".py")):
            with open(os.path.join(path, name), encoding="utf-8", errors="replace") as stream:
                files[name] = stream.read()
    return files
