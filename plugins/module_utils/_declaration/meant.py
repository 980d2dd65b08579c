# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is meant by a declaration that is refused, for the fix in its message. Loaded where one is."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from .commands import AS_WRITTEN, SHELLS, for_a_shell
from .fields import Context, Field, Invalid, Part, did_you_mean, inline, parse

_CALLED: Final = {
    "instances": "replicas count number numprocs copies scale",
    "environment": "env envs environ vars variables",
    "run": "command cmd exec args",
    "memory_mib": "memory mem ram mem_limit memory_limit memory_mb",
    "cores": "cpu cpus",
    "schedule": "cron timer at every calendar when",
    "seconds": "timeout duration",
    "stop_seconds": "grace stopwaitsecs stop_timeout",
    "path": "url uri endpoint",
    "rate": "rps qps",
    "status": "expect expected code codes",
    "contains": "match text",
    "version": "branch tag ref revision commit",
    "listen": "bind port address",
    "entry_point": "wsgi wsgi_app module app",
    "processes": "workers procs",
    "prepare": "migrate migrations release",
}
_MEANS: Final = {word: key for key, words in _CALLED.items() for word in words.split()}
"""What other programs call a key of Headcount's."""


def key_of(key: str, names: Sequence[str]) -> str:
    """The key of `names` that another one stands for: what other programs call so, one that is mistyped, or one that is
    cut short; "" where there is none."""
    word = key.lower().replace("-", "_")
    if _MEANS.get(word) in names:
        return _MEANS[word]
    begun = [name for name in names if len(word) > 2 and name.startswith(word)]
    return did_you_mean(key, names) or (begun[0] if len(begun) == 1 else "")


def list_of(item: Field, value: object, parts: tuple[Part, ...]) -> list[str] | None:
    """The list that a string is meant for; None where it is none, may be secret, or would be refused as well."""
    inner = item.items
    if not isinstance(value, str) or inner is None or item.quiet or inner.quiet or re.search(r"[,\n]", value):
        return None
    tried = Context("")
    try:
        listed = item.from_text(value) if item.from_text else [value]
    except ValueError:
        return None
    parse(item, listed, parts, tried)
    return None if tried.problems else listed


_OF_THE_HOST: Final = frozenset(["chrt", "env", "ionice", "nice", "numactl", "prlimit", "stdbuf", "taskset"])
"""Programs that no package of Python brings, and that hosts have in /usr/bin."""


def prefix_of(text: str) -> list[str]:
    """The words of a command line, as a list of them is to be written."""
    first, *others = shlex.split(text)
    return [f"/usr/bin/{first}" if first in _OF_THE_HOST else first, *others]


def prefix(words: Sequence[str]) -> Invalid:
    """What is wrong with the first word of what Gunicorn is to be started by."""
    if _ASSIGNED.match(words[0]):
        name = words[0].partition("=")[0]
        advice = f"set {name} under environment, without it here"
        return Invalid(f"{name}=... is set by a shell, and none reads it", advice=advice)
    return Invalid("the first word holds blanks", [*prefix_of(words[0]), *words[1:]])


def refuse_for_a_shell(text: str, words: list[str]) -> None:
    """Raises Invalid for a command that is to go into the background, or that begins with variables."""
    behind = _in_the_background(text, words)
    if behind is not None:
        what = "what it runs is waited for or watched, and & puts it behind a shell, which ends at once"
        raise Invalid(what, behind or None, advice="" if behind else "remove the &")
    if _ASSIGNED.match(words[0]):
        raise _assigned(text, words)


def _has_shell(words: Iterable[str]) -> bool:
    return any(word.rpartition("/")[2] in SHELLS for word in words)


def _in_the_background(text: str, words: list[str]) -> str | None:
    """A command without the & at its end, which a shell would take for the background; None where it has none."""
    if _BEHIND.fullmatch(AS_WRITTEN.findall(text)[-1]):
        return text.rstrip()[:-1].rstrip()
    last = words[-1].rstrip()
    if "-c" in words and _has_shell(words[:-1]) and re.search(r"[^&\\]&$", last):
        return shlex.join([*words[:-1], last[:-1].rstrip()])
    return None


_BEHIND: Final = re.compile(r"[\w./-]*&")
"""The end of a command that a shell is not to wait for; what is more than a plain word may be an address."""
_ASSIGNED: Final = re.compile(r"[A-Za-z_]\w*=")


def _assigned(text: str, words: list[str]) -> Invalid:
    """That a command begins with variables, which only a shell sets, and what it is without them."""
    names = [word.partition("=")[0] for word in itertools.takewhile(_ASSIGNED.match, words)]
    left = text
    for raw in AS_WRITTEN.findall(text)[: len(names)]:
        left = left.lstrip()[len(raw) :]
    left = left.strip()
    if left and for_a_shell(left) and not _has_shell(words):
        left = f"sh -c {shlex.quote(left)}"
    where = f"{', '.join(names)} under environment, or under secrets"
    what = f"no shell reads it, so that {names[0]}=... would be its program"
    return Invalid(what, advice=f"run: {inline(left)}, with {where}" if left else f"put {where}")
