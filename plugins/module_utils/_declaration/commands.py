# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What can be declared of an app's commands: those that prepare a release before its candidate is first started."""

from __future__ import annotations

import shlex
from typing import Final

from .checks import plain
from .fields import ABSENT, REQUIRED, Field, Invalid


def command(text: str) -> str:
    """A program and its arguments, in quotes as in a shell; no shell reads it."""
    try:
        words = shlex.split(plain(text))
    except ValueError as error:
        raise Invalid(f"{str(error).lower()}", advice="close the quotes") from None
    if not words or not words[0]:
        raise Invalid("it names no program")
    alone = [word for word in words if word in _SHELL_WORDS]
    if alone and words[0].rpartition("/")[2] not in _SHELLS:
        raise Invalid(f"no shell reads it, so that {alone[0]} would be an argument", f"sh -c {shlex.quote(text)}")
    return text


_SHELLS: Final = ("sh", "bash", "dash")
_SHELL_WORDS: Final = frozenset({"&&", "||", ";", "|", ">", ">>", "<", "2>&1", "&"})

PREPARE: Final = Field(
    "prepare",
    "list",
    "Commands of a new release, run in their order before its candidate is first started: migrations, static files, a"
    " first setup. They have the app's account, sandbox, environment and secrets, and are not run again for the same"
    " release, environment and secrets. One that fails ends the rollout of the app; what is live serves on.",
    ABSENT,
    ["flask db upgrade"],
    allowed="a list of commands, each a string or a mapping with the keys run, each_host, seconds",
    items=Field(
        "",
        "section",
        "A command.",
        REQUIRED,
        {"run": "flask db upgrade", "seconds": 900},
        allowed="a command, or a mapping with the keys run, each_host, seconds",
        shorthand="run",
        fields=(
            Field(
                "run",
                "str",
                "The command: a program of the release or of the host, and its arguments. No shell reads it.",
                REQUIRED,
                "flask db upgrade",
                allowed="a program and its arguments",
                check=command,
            ),
            Field(
                "each_host",
                "bool",
                "Whether each host runs it, for data of the host itself. Otherwise the first host that gets the release"
                " runs it for the whole fleet, before any other one goes on.",
                False,
                True,
            ),
            Field("seconds", "number", "How long it may take.", 600.0, 900, "seconds", above=0, maximum=86_400),
        ),
    ),
)
