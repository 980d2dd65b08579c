# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What can be declared of an app's commands: those that prepare a release before its candidate is first started, and
those that run beside its server."""

from __future__ import annotations

import re
import shlex
from typing import Final, Iterable

from .._os.secrecy import SHORTEST
from .app import Data
from .checks import plain
from .data import place_in, places
from .fields import ABSENT, REQUIRED, Context, Field, Invalid, Parsed, Part
from .urls import credential


def command(text: str) -> str:
    """A program and its arguments, in quotes as in a shell; no shell reads it."""
    try:
        words = shlex.split(plain(text))
    except ValueError as error:
        raise Invalid(f"{str(error).lower()}", advice="close the quotes") from None
    if not words or not words[0]:
        raise Invalid("it names no program")
    if "&" in text or "=" in words[0]:
        from .meant import refuse_for_a_shell

        refuse_for_a_shell(text, words)
    sign = for_a_shell(text)
    if sign and not any(word.rpartition("/")[2] in SHELLS for word in words):
        what = f"no shell reads it, so that {sign} would be an argument; in single quotes it may be one"
        raise Invalid(what, f"sh -c {shlex.quote(text)}")
    return text


def for_a_shell(text: str) -> str:
    """What of a command only a shell would act on: an operator that stands alone, a `;` at the end of a word, a
    variable or another command's output. "" where nothing is; what is in quotes that keep it from a shell is not."""
    for word in AS_WRITTEN.findall(text):
        if word in _SHELL_WORDS:
            return str(word)
        if word.endswith(";") and not word.endswith("\\;"):
            return ";"
        expanded = _EXPANDED.search(_QUOTED.sub(_read_by_a_shell, word))
        if expanded:
            return expanded.group()
    return ""


def _read_by_a_shell(quoted: re.Match[str]) -> str:
    """What is in quotes as far as a shell puts something in its place: in double ones alone."""
    return re.sub(r"\\.", "", quoted["double"] or "")


def created(text: str) -> str:
    """What a command makes: a path in the app's data, which is there on a host whatever the release, or one in the
    release, in a folder that each generation has for itself."""
    within = plain(text)[len(_DATA) :] if text.startswith(_DATA) else text
    parts = within.rstrip("/").split("/")
    if {"", ".", ".."}.intersection(parts) or parts[0].startswith(("{", "~")):
        raise Invalid("no place in the app's data", f"{{data}}/{parts[-1]}" if parts[-1].strip(".") else None)
    return text.rstrip("/")


def schedule(text: str) -> str:
    """When a process runs, as systemd has it. Only what declares one loads what knows that."""
    from .calendar import calendar

    return calendar(text)


def process_name(text: str) -> str:
    """The name of a process, which is part of its units' names."""
    if not _PROCESS_NAME.fullmatch(text):
        raise Invalid("lower-case words with hyphens between them, at most 24 characters")
    return text


def check_commands(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A rule, after that of the data: placeholders in commands become folders, no command shows a secret, and it is run
    on each host where the database is the host's own."""
    data = Data.from_dict(app.get("data") or {})
    known = places(app["name"], data)
    public = (app["name"], f"hc-{app['name']}", app.get("user"))
    secrets = {name: value for name, value in app["secrets"].items() if value not in public}
    for key, listed in (("prepare", enumerate(app.get("prepare") or ())), ("processes", _processes(app))):
        for name, one in listed:
            here = (*parts, key, name, "run")
            one["run"] = place_in(one["run"], known, here, context)
            if "creates" in one:
                one["creates"] = place_in(one["creates"], known, (*parts, key, name, "creates"), context)
            shows = _shown_secret(one["run"], secrets)
            if shows:
                what = f"shows {shows} to every user of the host, in the list of processes"
                context.add(
                    here, what, "a command that reads it from a variable of its environment", "name it in secrets"
                )
    _check_prepare(app, data, parts, context)


def _check_prepare(app: Parsed, data: Data, parts: tuple[Part, ...], context: Context) -> None:
    """What a command creates is there on each host, and in the release only where each generation has it for itself."""
    for one in app.get("prepare") or ():
        if one["each_host"] is None:
            from .databases import keeps_database

            one["each_host"] = "creates" in one or keeps_database(app)
        own = one.get("creates", "/")
        if not own.startswith("/"):
            from .built import check_created

            check_created(own, data, parts, context)
        if one["each_host"]:
            continue
        if "creates" in one:
            context.add(
                (*parts, "prepare"),
                f"has a command with each_host: false that creates {one['creates']}, which each host has for itself",
                "each_host: true, or no creates",
                "remove each_host",
            )


def _shown_secret(run: str, secrets: dict[str, str]) -> str:
    """What a command line shows that is secret; "" where nothing is."""
    told = shlex.split(run)
    whole = {part for word in told[1:] for part in (word, *re.split(r"[=:,]", word))}
    named = next((name for name, value in secrets.items() if _shows(value, run, told, whole)), "")
    if named:
        return f"the value of the secret {named}"
    carried = credential(run)
    return f"{carried} of a URL" if carried else ""


def _shows(secret: str, run: str, words: list[str], whole: set[str]) -> bool:
    """Whether a command line shows `secret`: in its `words`, as its quotes have them; a short one as an argument, or as
    the value of an option, and not as a part of it."""
    if len(secret) >= _SECRET_LENGTH:
        return secret in run or any(secret in word for word in words) or secret in " ".join(words)
    return len(secret) >= SHORTEST and secret in whole


def _processes(app: Parsed) -> Iterable[tuple[Part, Parsed]]:
    return (app.get("processes") or {}).items()


_DATA: Final = "{data}/"
_SECRET_LENGTH: Final = 8
"""A shorter value is looked for as a whole argument only: it may be a part of a word."""
_PROCESS_NAME: Final = re.compile(r"(?=.{1,24}$)[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")
AS_WRITTEN: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:\\.|[^"\\])*")+""")
"""A word of a command with its quotes."""
_QUOTED: Final = re.compile(r"""\\.|'[^']*'|"(?P<double>(?:\\.|[^"\\])*)\"""")
_EXPANDED: Final = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][^}]*\}|\()|`")
SHELLS: Final = ("sh", "bash", "dash")
_SHELL_WORDS: Final = frozenset({"&&", "||", ";", "|", ">", ">>", "<", "2>&1", "&"})


def _run(example: str) -> Field:
    return Field(
        "run",
        "str",
        "The command: a program of the release or of the host, and its arguments. No shell reads it. `{data}`"
        " stands for the app's folder.",
        REQUIRED,
        example,
        allowed="a program and its arguments",
        check=command,
    )


PREPARE: Final = Field(
    "prepare",
    "list",
    "Commands of a new release, run in their order before its candidate is first started: migrations, static files, a"
    " first setup. They have the app's account, sandbox, environment and secrets, and are not run again for the same"
    " release, environment and secrets. One that fails ends the rollout of the app; what is live serves on.",
    ABSENT,
    ["flask db upgrade"],
    allowed="a list of commands, each a string or a mapping with the keys run, each_host, seconds, creates",
    items=Field(
        "",
        "section",
        "A command.",
        REQUIRED,
        {"run": "flask db upgrade", "seconds": 900},
        allowed="a command, or a mapping with the keys run, each_host, seconds, creates",
        shorthand="run",
        fields=(
            _run("flask db upgrade"),
            Field(
                "each_host",
                "bool",
                "Whether each host runs it, for data of the host itself. Otherwise the first host that gets the release"
                " runs it for the whole fleet, before any other one goes on.",
                None,
                True,
                default_help="whether a variable of the app names a SQLite database in its data, which each host has"
                " for itself, or `creates` does",
            ),
            Field("seconds", "number", "How long it may take.", 600.0, 900, "seconds", above=0, maximum=86_400),
            Field(
                "creates",
                "str",
                "What it makes: a file or a folder in the app's data. Where that is there and holds something, the"
                " command is not run, so that a first setup does not empty what a host keeps. Or a path in a folder of"
                " `data.built`: then the command is run for each generation on each host.",
                ABSENT,
                "{data}/instance/shop.sqlite",
                allowed="a path that begins with {data}/, or one in a folder of data.built",
                check=created,
            ),
        ),
    ),
)

PROCESSES: Final = Field(
    "processes",
    "map",
    "Further processes of the same release, by name: queue workers, a scheduler, jobs by a timer. They have the app's"
    " account, sandbox, environment and secrets, run while their generation is live, and are counted in its plan.",
    ABSENT,
    {"worker": "rq worker shop"},
    allowed="a mapping of names to commands, or to mappings with the keys run, instances, memory_mib, cores, schedule,"
    " seconds, stop_seconds",
    key_check=process_name,
    items=Field(
        "",
        "section",
        "A process.",
        REQUIRED,
        {"run": "rq worker shop", "instances": 2, "memory_mib": 200},
        allowed="a command, or a mapping with the keys run, instances, memory_mib, cores, schedule, seconds,"
        " stop_seconds",
        shorthand="run",
        fields=(
            _run("rq worker shop"),
            Field(
                "instances",
                "int",
                "How many run on the host. Never more than these run at the same moment, not even during a rollout.",
                1,
                2,
                minimum=1,
                maximum=64,
            ),
            Field(
                "memory_mib",
                "number",
                "What one may take; it is held to that, and the plan keeps it free.",
                128.0,
                200,
                "MiB",
                minimum=16,
                maximum=16_777_216,
            ),
            Field(
                "cores",
                "number",
                "Cores that one takes of those that the server is planned with.",
                0.0,
                0.5,
                "cores",
                minimum=0,
                maximum=4096,
            ),
            Field(
                "schedule",
                "str",
                "When it runs, as a calendar event of systemd (a line of cron is refused with its translation); without"
                " it runs all the time.",
                example="*-*-* 03:00:00",
                allowed="a calendar event of systemd (systemd.time(7))",
                check=schedule,
            ),
            Field(
                "seconds",
                "number",
                "How long one that runs by a schedule may take.",
                3600.0,
                900,
                "seconds",
                above=0,
                maximum=86_400,
            ),
            Field(
                "stop_seconds",
                "number",
                "How long it may finish its work when it is asked to end (SIGTERM), before it is killed.",
                60.0,
                300,
                "seconds",
                above=0,
                maximum=600,
            ),
        ),
    ),
)
