# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The command line of a Gunicorn, and its GUNICORN_CMD_ARGS, as settings by Gunicorn's own names. Pure."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, field
from typing import Dict, Final, Mapping, Sequence, Tuple

SHORT: Final[Mapping[str, str]] = {
    "-b": "bind",
    "-c": "config",
    "-D": "daemon",
    "-e": "raw_env",
    "-g": "group",
    "-k": "worker_class",
    "-m": "umask",
    "-n": "proc_name",
    "-p": "pidfile",
    "-R": "enable_stdio_inheritance",
    "-t": "timeout",
    "-u": "user",
    "-w": "workers",
}
LONG: Final[Mapping[str, str]] = {
    "--access-logfile": "accesslog",
    "--access-logformat": "access_log_format",
    "--disable-redirect-access-to-syslog": "disable_redirect_access_to_syslog",
    "--env": "raw_env",
    "--error-logfile": "errorlog",
    "--keep-alive": "keepalive",
    "--log-config": "logconfig",
    "--log-file": "errorlog",
    "--log-level": "loglevel",
    "--log-syslog": "syslog",
    "--name": "proc_name",
    "--paste": "paste",
    "--pid": "pidfile",
    "--preload": "preload_app",
}
"""Options that are not called as their setting is."""

_FLAGS: Final = frozenset(
    {
        *("daemon", "preload_app", "reload", "spew", "check_config", "print_config", "reuse_port", "capture_output"),
        *("enable_stdio_inheritance", "syslog", "disable_redirect_access_to_syslog", "initgroups", "proxy_protocol"),
        *("no_sendfile", "sendfile", "do_handshake_on_connect", "suppress_ragged_eofs", "strip_header_spaces"),
        *("casefold_http_method", "no_control_socket", "permit_unconventional_http_method"),
        *("permit_unconventional_http_version", "permit_obsolete_folding"),
    }
)
_LISTS: Final = frozenset({"bind", "raw_env", "pythonpath", "reload_extra_file", "raw_paste_global_conf"})
_PROGRAMS: Final = re.compile(r"gunicorn(3|-3)?(\.py)?|gunicorn3\.[0-9]+")
TITLE: Final = "gunicorn: "
"""What setproctitle makes of the command line of a process."""


@dataclass(frozen=True)
class Command:
    """What a Gunicorn was started with. `program`: the words before its own; `app`: its positional argument, ""
    without; `settings`: values as text, True of a flag, lists of what may be said more than once."""

    program: Tuple[str, ...]
    app: str = ""
    settings: Dict[str, object] = field(default_factory=dict)


def own_words(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """(the words that name the program, those that follow it) where `words` start a Gunicorn; else None.

    ["/srv/venv/bin/python", "/srv/venv/bin/gunicorn", "-w", "3"], ["python3", "-m", "gunicorn", ...], and what is
    started by another program (["newrelic-admin", "run-program", "gunicorn", ...]).
    """
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        module = before == "-m" and word in ("gunicorn", "gunicorn.app.wsgiapp")
        if module or (_PROGRAMS.fullmatch(os.path.basename(word)) and not before.startswith("-")):
            return tuple(words[: at + 1]), tuple(words[at + 1 :])
    return None


def parse(words: Sequence[str]) -> Command | None:
    """The command of a process or a unit; None where it starts no Gunicorn."""
    found = own_words(words)
    if found is None:
        return None
    settings, rest = options(found[1])
    return Command(found[0], rest[0] if rest else "", settings)


def options(words: Sequence[str]) -> tuple[dict[str, object], list[str]]:
    """Settings that `words` give, and the words that are no option. The last one that is given counts."""
    settings: dict[str, object] = {}
    lists: dict[str, list[object]] = {}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            rest += left
            break
        if not word.startswith("-") or word == "-":
            rest.append(word)
            continue
        name, value = _option(word, left)
        if name in _LISTS:
            lists.setdefault(name, []).append(value)
        else:
            settings[name] = value
    return {**settings, **lists}, rest


def _option(word: str, left: list[str]) -> tuple[str, object]:
    """The setting that an option names, and its value, which may be the next word."""
    if word.startswith("--"):
        option, equals, value = word.partition("=")
        name = LONG.get(option) or option[2:].replace("-", "_")
    else:
        option, value = word[:2], word[2:]
        equals = "=" if value else ""
        name = SHORT.get(option, option)
    if name in _FLAGS:
        return name, True
    return name, value if equals else (left.pop(0) if left else "")


def from_environment(text: str) -> dict[str, object]:
    """Settings of GUNICORN_CMD_ARGS; none where it cannot be read as a command line."""
    try:
        return options(shlex.split(text))[0]
    except ValueError:
        return {}


def exec_words(text: str) -> list[str]:
    """The words of ExecStart as systemd prints it: `{ path=/x ; argv[]=/x -w 3 app ; ignore_errors=no ; ... }`.

    systemd prints no quotes: a word with a space in it comes as two.
    """
    found = re.search(r"argv\[\]=(.*?) ; (?:ignore_errors|flags)=", text)
    return found[1].split() if found else []


def merged(
    file: Mapping[str, object], environment: Mapping[str, object], command: Mapping[str, object]
) -> dict[str, object]:
    """All settings as Gunicorn takes them: those of its file, over them GUNICORN_CMD_ARGS, over these the command line.
    Numbers come as numbers."""
    return {key: _number(key, value) for key, value in {**file, **environment, **command}.items()}


_NUMBERS: Final = frozenset(
    {
        *("workers", "threads", "timeout", "graceful_timeout", "keepalive", "max_requests", "max_requests_jitter"),
        *("worker_connections", "backlog", "limit_request_line", "limit_request_fields", "limit_request_field_size"),
    }
)


def _number(key: str, value: object) -> object:
    text = str(value) if isinstance(value, (str, int)) else ""
    return int(text) if key in _NUMBERS and re.fullmatch(r"[0-9]{1,9}", text) else value
