# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a log says of why something went wrong: the exceptions in it, and which of them is the cause. Pure functions.

Exceptions are found in tracebacks as Python prints them, also chained ones, groups, those of rich and loguru, and in
logs whose lines are JSON. An app may log many that are nobody's business: of a thread, of something that it coped
with, of another request. So the cause of a failed request is one that a server or framework has logged for that very
path, or, without any, one that came through them at that time; the cause of a death is the one that Gunicorn names.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .lines import Line, without_complaints

MOST_CHARACTERS = 500
"""So much of a cause is told."""

SLACK_SECONDS = 1.0
"""A line may be read by the journal so much later than it was written, and clocks are not read at the same moment."""

_TRACEBACK: Final = "Traceback (most recent call last)"
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_BAR: Final = re.compile(r"^\s*[|] ?")
_BOX: Final = "╭╮╰╯│─┌└"
_NAME: Final = r"(?:[^\W\d]\w*|<\w+>)(?:\.(?:[^\W\d]\w*|<\w+>))*"
_EXCEPTION: Final = re.compile(rf"^(?P<name>{_NAME})(?::(?:\s(?P<words>.*))?)?$")
_FRAME: Final = re.compile(r'^[\s>]+File "(?P<file>[^"]+)", line (?P<line>\d+)')
_CHAINED: Final = {
    "The above exception was the direct cause of the following exception": "caused by",
    "During handling of the above exception, another exception occurred": "after",
}
_ASIDE: Final = re.compile(
    r"^Exception in thread |^Exception ignored |was never retrieved|^Unhandled exception in thread"
    r"|\bGreenlet\b.*\bfailed with|\braised an exception$|^Error in (?:sys\.excepthook|atexit)"
)
"""What stands before the traceback of something else than a request."""
_GREENLET: Final = re.compile(r"\bGreenlet\b.*\bfailed with ")
BOOT: Final = re.compile(r"Exception in worker process")
_REQUESTS: Final = (
    re.compile(r"Exception on (?P<path>/\S*) \[[A-Z]+\]"),
    re.compile(r"Error handling request (?P<path>/\S*)"),
    re.compile(r"(?:Internal Server Error|Bad Request|Service Unavailable|Not Found|Forbidden[^:]*): (?P<path>/\S*)"),
    re.compile(r"\b(?:GET|POST|PUT|PATCH|DELETE|OPTIONS|HEAD) (?:https?://[^/\s]+)?(?P<path>/[^\s\"']*)"),
)
_THROUGH: Final = re.compile(
    r"/gunicorn/(?:workers|http)/|/flask/(?:app|views)\.py|/flask_restful/|/django/core/handlers/|/django/views/"
    r"|/werkzeug/|/bottle\.py|/pyramid/|/falcon/|/webob/|/cherrypy/|/asgiref/wsgi|/web\.py|/tornado/wsgi"
)
"""Files of servers and frameworks that a request comes through."""
_QUIET: Final = re.compile(r"\[(?:WARNING|INFO|DEBUG)\]|\b(?:WARNING|INFO|DEBUG)\b")
LEAVING: Final = ("SystemExit", "KeyboardInterrupt", "GeneratorExit")
_RELEASE: Final = re.compile(r"^.*/(?:tree|site-packages|dist-packages)/|^/opt/headcount/.*?/releases/[^/]+/")
_LIBRARY: Final = re.compile(r"/(?:site-packages|dist-packages)/|/lib/python3|^<")
_JSON_TRACEBACK: Final = ("exc_info", "exception", "stack_trace", "traceback", "stack", "exc_text")


Record = Mapping[str, object]
"""A log record of JSON, or a part of one."""


@dataclass(frozen=True)
class Raised:
    """An exception that a log holds. `text`: its last line as Python prints it ("KeyError: 'x'"); `name`: of its class.

    `root`: the first of those that it was raised from or after, in words; `header`: the line before it, with which it
    was logged; `path`: of the request that the header names; `where`: the innermost line of the app's own code
    ("shop/views.py:41"); `through`: whether it came through a server or framework, as what a request raises does.
    """

    at: float
    text: str
    name: str = ""
    root: str = ""
    header: str = ""
    path: str = ""
    where: str = ""
    through: bool = False

    @property
    def aside(self) -> bool:
        """Whether it is of something else than a request, by the words before it."""
        return bool(_ASIDE.search(self.header))

    def words(self, place: bool = False) -> str:
        """For people: what was raised, and what it was raised from; with `place` where in the app's own code."""
        where = f" ({self.where})" if place and self.where else ""
        return (self.text + self.root)[:MOST_CHARACTERS] + where


@dataclass
class _Reading:
    """One process' lines, read from the first to the last."""

    found: list[Raised] = field(default_factory=list)
    header: str = ""
    link: str = ""
    begun: int = 0

    def end(self, raised: Raised) -> None:
        """A traceback has ended with `raised`. One that says what came of the one before takes its place."""
        if self.link and self.found:
            before = self.found.pop()
            told = before.root or _root(self.link, before.text)
            told = "" if _words_of(before.text) and _words_of(before.text) in raised.text else told
            raised = replace(
                raised, root=told, header=before.header, path=before.path, through=before.through or raised.through
            )
        self.link, self.header = "", ""
        self.found.append(raised)


def _root(link: str, text: str) -> str:
    return f" ({link} {text[:200]})"


def _words_of(text: str) -> str:
    return text.partition(": ")[2]


def without_colour(text: str) -> str:
    """A line as it reads where no terminal shows its colours."""
    return _COLOUR.sub("", text)


def is_frame(text: str) -> bool:
    """Whether a line belongs to a traceback: its head, a sentence between two, a frame, or a box around them."""
    begin = text.strip()[:1]
    return _TRACEBACK in text or (begin != "" and begin in _BOX) or any(text.startswith(words) for words in _CHAINED)


def exceptions(lines: Iterable[Line]) -> list[Raised]:
    """The exceptions in a log, by the time at which they were told. The lines of several processes may be mixed."""
    by_process: dict[int, list[Line]] = {}
    for line in without_complaints(lines):
        by_process.setdefault(line.pid, []).append(line)
    found = [raised for of_one in by_process.values() for raised in _of_process(of_one)]
    return sorted(found, key=lambda raised: raised.at)


def _of_process(lines: Sequence[Line]) -> list[Raised]:
    reading, place = _Reading(), 0
    while place < len(lines):
        line = lines[place]
        text = _COLOUR.sub("", line.text)
        record = structured(text)
        if record is not None:
            reading.found += _of_record(record, line)
            reading.header = reading.link = ""
            place += 1
        elif _TRACEBACK in text and "\\n" in text:  # a line that holds it all, its line breaks spelt out
            reading.found += _in_one_line(text, line)
            place += 1
        elif _TRACEBACK in text:
            raised, place = _traceback(lines, place, reading.header)
            if raised is not None:
                reading.end(raised)
        else:
            _between(reading, text)
            place += 1
    return reading.found


def _in_one_line(text: str, line: Line) -> list[Raised]:
    """The exceptions of a line that spells the line breaks of its traceback out (logfmt)."""
    header, _, rest = text.partition(_TRACEBACK)
    spelt = (_TRACEBACK + rest).replace("\\n", "\n").replace('\\"', '"')
    inside = _of_text(spelt.rstrip().rstrip('"'), line)
    return [replace(raised, header=header, path=_path_in(header)) for raised in inside]


def _between(reading: _Reading, text: str) -> None:
    """A line outside of tracebacks: it may begin the next one, or say what came of the last."""
    bare = _BAR.sub("", text).strip()
    if not bare or set(bare) <= set("+-|"):
        return
    link = next((words for sentence, words in _CHAINED.items() if bare.startswith(sentence)), "")
    if link:
        reading.link = link
    elif reading.found and _GREENLET.search(bare) and not reading.header:
        reading.found[-1] = replace(reading.found[-1], header=bare)  # gevent names it after its traceback
    if not link:
        reading.header, reading.link = bare, ""


def _traceback(lines: Sequence[Line], place: int, header: str) -> tuple[Raised | None, int]:
    """The exception of the traceback that begins at `place`, and the place of the line after it."""
    first = _COLOUR.sub("", lines[place].text)
    prefix = first[: first.index(_TRACEBACK)]
    boxed = any(sign in _BOX for sign in prefix)
    # A formatter may put the same before each line; a group of exceptions has bars there.
    prefix = "" if boxed or not prefix.strip(" +|-") else prefix
    frames: list[tuple[str, str]] = []
    through = False
    for index in range(place + 1, len(lines)):
        text = _COLOUR.sub("", lines[index].text)
        text = text[len(prefix) :] if prefix and text.startswith(prefix) else text
        text = _BAR.sub("", text) if text.lstrip().startswith("|") else text
        if not text.strip() or text[0] in " \t>" or text.strip()[0] in _BOX:
            frame = _FRAME.match(text)
            if frame:
                frames.append((frame["file"], frame["line"]))
                through = through or bool(_THROUGH.search(frame["file"]))
            continue
        match = _EXCEPTION.match(text.rstrip())
        if not match:
            return None, index
        more = _continued(lines, index, match)
        raised = Raised(
            at=lines[index].at,
            text=text.strip() + more,
            name=match["name"].rpartition(".")[2],
            header=header,
            path=_path_in(header),
            where=_where(frames),
            through=through,
        )
        return raised, index + 1
    return None, len(lines)


def _continued(lines: Sequence[Line], place: int, match: re.Match[str]) -> str:
    """What follows an exception that says on its next lines what is wrong (pydantic names the setting there)."""
    if not match["name"].endswith("ValidationError") and (match["words"] or "").rstrip()[-1:] not in (":",):
        return ""
    more = []
    for line in lines[place + 1 : place + 3]:
        text = _COLOUR.sub("", line.text)
        if not text.strip() or _TRACEBACK in text or text.startswith("["):
            break
        more.append(text.strip())
    return " " + ", ".join(more) if more else ""


def _where(frames: Sequence[tuple[str, str]]) -> str:
    """The innermost frame of the app's own code, below its release; empty where none is known to be.

    An app that is a package lies among the libraries: then it is what the server or framework calls last.
    """
    own = [frame for frame in frames if not _LIBRARY.search(frame[0])]
    if not own:
        passed = [place for place, frame in enumerate(frames) if _THROUGH.search(frame[0])]
        after = [frame for frame in frames[passed[-1] + 1 :] if _package(frame[0])] if passed else []
        own = [frame for frame in after if _package(frame[0]) == _package(after[0][0])]
    return f"{_RELEASE.sub('', own[-1][0])}:{own[-1][1]}" if own else ""


def _package(file: str) -> str:
    """The first folder or module of a file among the libraries; empty where it is not among them."""
    return (
        re.split(r"[/.]", re.split(r"/(?:site-packages|dist-packages)/", file)[-1])[0] if "-packages/" in file else ""
    )


def _path_in(header: str) -> str:
    """The path of the request that a header names, without its query; empty where it names none."""
    for pattern in _REQUESTS:
        match = pattern.search(header)
        if match:
            return match["path"].partition("?")[0].rstrip(",;:")
    return ""


def structured(text: str) -> Record | None:
    """A log line that is one JSON object; None where it is none."""
    bare = text.strip()
    if not bare.startswith("{") or not bare.endswith("}"):
        return None
    try:
        found = json.loads(bare)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _of_record(record: Record, line: Line) -> list[Raised]:
    """The exceptions of one structured record."""
    header = next((str(record[key]) for key in ("event", "message", "msg") if record.get(key)), "")
    header = header.partition("\n")[0]
    path = next((str(record[key]) for key in ("path", "url", "request_path", "uri") if record.get(key)), "")
    path = path.partition("?")[0] if path.startswith("/") else _path_in(header)
    for text in _texts(record):
        if _TRACEBACK in text:
            inside = _of_text(text, line)
            return [replace(raised, header=header or raised.header, path=path or raised.path) for raised in inside]
    parts = (_spelt_out(one) for one in _mappings(record))
    return [replace(raised, at=line.at, header=header, path=path) for raised in parts if raised is not None][:1]


def _spelt_out(one: Record) -> Raised | None:
    """The exception of a structured record that has its parts one by one, as structlog and ECS write them."""
    name = one.get("exc_type") or (one.get("type") if set(one) & {"stack_trace", "stacktrace", "frames"} else None)
    if not isinstance(name, str) or not name:
        return None
    words = one.get("exc_value") or one.get("message")
    listed = one.get("frames")
    frames = [
        (str(frame.get("filename", "")), str(frame.get("lineno", "")))
        for frame in (listed if isinstance(listed, list) else [])
        if isinstance(frame, Mapping)
    ]
    text = f"{name}: {words}" if words else name
    through = any(_THROUGH.search(file) for file, _ in frames)
    return Raised(0.0, text, name.rpartition(".")[2], where=_where(frames), through=through)


def _of_text(text: str, line: Line) -> list[Raised]:
    return _of_process([Line(line.at, line.pid, part) for part in text.split("\n")])


def _texts(record: Record) -> Iterator[str]:
    """The texts of a record, those that usually hold a traceback first."""
    for one in _mappings(record):
        for key in sorted(one, key=lambda key: key not in _JSON_TRACEBACK):
            value = one[key]
            if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
                yield "\n".join(value)
            elif isinstance(value, str):
                yield value


def _mappings(value: object, depth: int = 4) -> Iterator[Record]:
    if isinstance(value, Mapping):
        yield value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for one in inner if depth else ():
        yield from _mappings(one, depth - 1)


def cause_of_request(lines: Iterable[Line], path: str, begin: float, end: float) -> str:
    """What the log says of requests for `path` that failed between `begin` and `end` (seconds since the epoch), as a
    part of a sentence: the exception with its place in the app's code. Empty where it holds none that can be it.

    One that was logged for another path, for something else than a request, or as a mere warning, is not it. Where
    several requests for the path failed meanwhile, it is the one that was raised most often.
    """
    path = path.partition("?")[0]
    fitting: dict[tuple[bool, bool, bool], Counter[str]] = {}
    for raised in exceptions(lines):
        meanwhile = not raised.at or begin - SLACK_SECONDS <= raised.at <= end + SLACK_SECONDS
        if meanwhile and _may_be_of(raised, path):
            words = _request_words(raised)
            fitting.setdefault((bool(raised.path), raised.through, bool(words)), Counter())[words] += 1
    best = max(fitting, default=(False, False, False))
    words = fitting[best].most_common(1)[0][0] if fitting else ""
    said = "its log says: " if best[0] or best[1] else "logged meanwhile, be it of this request or not: "
    return said + words if words else ""


def _may_be_of(raised: Raised, path: str) -> bool:
    """Whether a failed request for `path` may have raised it."""
    if raised.aside or BOOT.search(raised.header) or (raised.path and not _same(raised.path, path)):
        return False
    return bool(raised.path) or raised.through or not _QUIET.search(raised.header)


def _request_words(raised: Raised) -> str:
    """For people; of a worker that its master ended where it stood, which says why, if that is known."""
    if raised.name not in LEAVING:
        return raised.words(place=True)
    return f"it was ended while it was at {raised.where}" if raised.where else ""


def _same(told: str, asked: str) -> bool:
    """Whether a path that a log tells is the one that was asked for: a server in front of it may have taken a prefix
    away."""
    return told == asked or (len(told) > 1 and asked.endswith(told))


MANAGER: Final = re.compile(
    r"^(?:Starting|Started|Stopping|Stopped) \S+\.(?:service|socket)\b|^\S+\.(?:service|socket): "
)
"""What systemd itself says of a unit in its log."""
