# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project runs beside its server: commands that prepare a release, and further processes. Pure."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from .commands import started, words_of
from .types import Process

_PARTS: Final = re.compile(r"&&|\|\||;|\bthen\b|\bdo\b")
_PREPARES: Final = re.compile(
    r"(flask|manage\.py) (\S+ )*?(db upgrade|deploy|collect|assets build|migrate|compilemessages)\b"
    r"|alembic (\S+ )*?upgrade\b"
)
COLLECTS: Final = re.compile(r"(manage\.py|django-admin) (\S+ )*?collectstatic\b")
_RUNNERS: Final = re.compile(r"^(?:uv|poetry|pipenv|pdm|hatch|rye) run (?:--?[\w-]+ )*(?=[^\s-])")
"""What runs a command in an environment of the project's, which a release has by itself."""
_PLACED: Final = re.compile(
    r"(?<![\w./~=-])[\w./~-]*/?bin/(python[\d.]*|flask|alembic|celery|rq|huey_consumer|dramatiq|django-admin)(?=\s|$)"
)
"""A program of an environment by its path there, which is another one in a release."""
_FUNCTION: Final = re.compile(r"^\s*(?:function\s+([\w-]+)|([\w-]+)\s*\(\))", re.MULTILINE)
_NOTHING: Final = frozenset(
    {
        "cd",
        "export",
        "echo",
        "set",
        "sleep",
        "mkdir",
        "source",
        ".",
        "if",
        "fi",
        "while",
        "done",
        "exec",
        "exit",
        "break",
    }
)
_SHELLED: Final = re.compile(r"[$`|&;<>*?~\n]|^\w+=")
_INSIDE: Final = re.compile(r"://(?:[^\s/@\"']*@)?([A-Za-z][\w-]*)(?=[:/\s\"']|$)")
"""A place in the network by a name without a domain."""
_WRITES: Final = re.compile(r"(?<=\s)(--(?:log-?file|pid-?file))(?:=|\s+)[\"']?([^\s/\"'{%$-][^\s\"']*)")
"""An option that names a file to be written, in the folder where the command runs."""
MIGRATES: Final = re.compile(r"\b(db upgrade|migrate|alembic)\b")
_BEAT: Final = re.compile(r"\bcelery\b.*\bbeat\b")
_BEAT_FILE: Final = re.compile(r"\s(-s|--schedule)\b")
_SCHEDULES: Final = re.compile(r"\b(beat_schedule|CELERYBEAT_SCHEDULE|on_after_configure|add_periodic_task)\b")
_QUEUES: Final = re.compile(r"\bQueue\(\s*(?:name\s*=\s*)?[\"']([\w.-]+)[\"']")


def plain(command: str) -> str:
    """A shell's line as a command that no shell reads; one that needs a shell asks for it."""
    line = _RUNNERS.sub("", " ".join(command.split()).removeprefix("exec "))
    line = _PLACED.sub(r"\1", line)
    return f"sh -c {shlex.quote(line)}" if _SHELLED.search(line) else line


def functions(script: str) -> frozenset[str]:
    """The names of the functions that a shell's script defines."""
    return frozenset(one or other for one, other in _FUNCTION.findall(script))


def _parts(line: str, known: Collection[str]) -> list[str]:
    """The commands of a shell's line, but for calls of `known` functions and for comments."""
    found = [_RUNNERS.sub("", " ".join(part.split())) for part in _PARTS.split(line)]
    return [part for part in found if part and part[0] != "#" and part.partition(" ")[0] not in known]


def preparing(line: str, known: Collection[str] = ()) -> list[str]:
    """The commands in a shell's line that prepare a release as far as is known: migrations. `known`: functions."""
    return [plain(part) for part in _parts(line, known) if _PREPARES.search(part) and started(part) is None]


def without_collecting(line: str) -> str:
    """A line of commands one after the other without those that collect static files."""
    parts = re.split(r"\s*(&&|;)\s*", line)
    if len(parts) == 1:
        return "" if COLLECTS.search(line) else line
    if not COLLECTS.search(line):
        return line
    return " && ".join(part for part in parts[::2] if part and not COLLECTS.search(part))


def others(line: str, known: Collection[str] = ()) -> list[str]:
    """The commands before the server's in a line that starts it of which nobody knows what they are for."""
    parts = _parts(line, known)
    server = next((at for at, part in enumerate(parts) if started(part) is not None), 0)
    before = [part for part in parts[:server] if not _PREPARES.search(part) and not COLLECTS.search(part)]
    return [part for part in before if words_of(part) and words_of(part)[0] not in _NOTHING]


def what_runs(command: str) -> str:
    """The program of a command, or what Python or a framework runs for it: `jobs` of `python manage.py jobs`."""
    words = [word for word in words_of(command) if not word.startswith("-") and "=" not in word]
    base = [word.rpartition("/")[2].removesuffix(".py") for word in words]
    while len(base) > 1 and re.fullmatch(r"python[\d.]*|sh|bash|exec|manage|flask", base[0]):
        del base[0]
    return base[0] if base else "process"


def process_name(text: str) -> str:
    """A name for a process from the project's: lower-case words with hyphens between them, as units take it."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return re.sub(r"-(?=\d)|^[^a-z]+", "", name)[:24].strip("-") or "process"


def process_command(command: str) -> str:
    """The command of a further process: the file that Celery's beat writes goes to the app's data."""
    line = plain(command)
    if _BEAT.search(line) and not _BEAT_FILE.search(line) and not line.startswith("sh -c "):
        return f"{line} -s {{data}}/celerybeat-schedule"
    return line


def not_on_a_host(command: str) -> str:
    """Why a command as the project writes it cannot run on a host; "" where nothing says so: it names a place that only
    the network of a compose file knows, or writes a file of its own into the release."""
    place = _INSIDE.search(command)
    if place and place[1] != "localhost":
        return f"{place[1]} is a name that only a compose file's network knows"
    written = _WRITES.search(command)
    if written:
        return (
            f"{written[2]} is in the release, which is read-only: leave {written[1]} out, the journal has what it "
            "says, or lead it to {data}"
        )
    return ""


def is_clock(process: Process) -> bool:
    """Whether a process starts jobs by the time, so that two of it would start each job twice."""
    return bool(re.search(r"\b(beat|scheduler|clock|cron|rqscheduler)\b", f"{process.name} {process.command}"))


def in_code(module: str, text: str, origin: str) -> Iterator[Process]:
    """The processes that a module's code needs: it makes a Celery app, or queues of rq. `module`: as it is imported."""
    celery = _celery(text) if "elery" in text else ""
    if celery:
        # Celery makes as many children as the host has cores, which a service rarely has for itself.
        why = f"{origin}, which makes a Celery app; two children, which fit into the memory that it has"
        yield Process("worker", f"celery -A {module}.{celery} worker --concurrency 2", why)
        if _SCHEDULES.search(text):
            yield Process("beat", f"celery -A {module}.{celery} beat", f"{origin}, which has a schedule for Celery")
    if re.search(r"^\s*(import rq|from rq\b|from redis.*\n.*rq)", text, re.MULTILINE):
        names = sorted(set(_QUEUES.findall(text)))
        if names:
            yield Process(
                "worker", f"rq worker {' '.join(names)}", f"{origin}, which makes rq's queue {', '.join(names)}"
            )


def _celery(text: str) -> str:
    """The name of the Celery app at a module's top level."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            made = ast.unparse(node.value)
            if re.match(r"(celery\.)?Celery\(", made) or made.endswith("extensions['celery']"):
                return node.targets[0].id
    return ""


def alembic(folder: str, env: str, names: Sequence[str]) -> str:
    """The command that runs Alembic's migrations in `folder`, by its `env.py`; "" where nobody knows. `names` are the
    project's files."""
    if re.search(r"current_app|flask", env):
        return "flask db upgrade" if folder == "migrations" else f"flask db upgrade --directory {folder}"
    return "alembic upgrade head" if "alembic.ini" in names else ""
