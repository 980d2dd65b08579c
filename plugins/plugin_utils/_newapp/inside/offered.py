# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The commands that the program of an app's framework has for it: those that `flask --help`, or manage.py, lists."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

MOST = 400
ANY = "*"
"""Stands among the options of a command that takes whatever it is given."""


def offered(app: Any, kind: str) -> dict[str, list[str]]:
    """The commands by their words (`db upgrade`), each with its options; none where they cannot be told."""
    try:
        if kind == "django":
            known: Any = importlib.import_module("django.core.management").get_commands()
            return {str(name): [] for name in list(known)[:MOST]}
        if hasattr(app, "cli"):
            return dict(list(_of_flask(app))[:MOST])
    except Exception:  # whatever a command of somebody else's needs to be loaded, the look goes on
        pass
    return {}


def _of_flask(app: Any) -> Iterator[tuple[str, list[str]]]:
    cli: Any = importlib.import_module("flask.cli")
    click: Any = importlib.import_module("click")
    group = cli.FlaskGroup(create_app=lambda *_: app)
    context = click.Context(group, obj=cli.ScriptInfo(create_app=lambda *_: app))
    with app.app_context():
        yield from _below(group, context, "", 0)


def _below(group: Any, context: Any, prefix: str, depth: int) -> Iterator[tuple[str, list[str]]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        words = f"{prefix}{name}"
        options = [option for item in command.params for option in (*item.opts, *item.secondary_opts)]
        free = bool(command.context_settings.get("ignore_unknown_options"))
        yield words, [*options, "--help", *([ANY] if free else [])]
        if hasattr(command, "list_commands") and depth < 2:
            yield from _below(command, context, f"{words} ", depth + 1)
