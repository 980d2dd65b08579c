# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Output and child processes: progress to standard error, results to standard output, colours to terminals only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

_COLOURS = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}
_LOCK = threading.Lock()


class ScriptError(Exception):
    """Something a person has to know: the message says what is wrong and what to do. `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def colour(text: str, name: str, stream: IO[str] | None = None) -> str:
    """`text` in a colour when `stream` (standard output by default) is a terminal and NO_COLOR is not set."""
    target = stream or sys.stdout
    if not target.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{_COLOURS[name]}m{text}\033[0m"


def say(text: str) -> None:
    """One line of progress."""
    with _LOCK:
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(title: str) -> Iterator[None]:
    """Says that something starts and how many seconds it took."""
    started = time.monotonic()
    say(f"{colour('..', 'dim', sys.stderr)} {title}")
    try:
        yield
    except BaseException:
        say(f"{colour('!!', 'red', sys.stderr)} {title}: stopped after {time.monotonic() - started:.1f} s")
        raise
    say(f"{colour('ok', 'green', sys.stderr)} {title} ({time.monotonic() - started:.1f} s)")


class Ended(BaseException):
    """A signal asks the process to end: what it holds is given back on the way out. `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by signal {number}")
        self.number = number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end this block as ^C does, by an exception, so that what it made is removed."""

    def end(number: int, _: object) -> None:
        raise Ended(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Progress:
    """Says what is being done, and again how long it has taken, so that nobody takes a long step for a dead one."""

    def __init__(self, every_seconds: float = 30.0) -> None:
        self._every = every_seconds
        self._step: tuple[str, float] | None = None
        self._news = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._remind, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self._ended = True
            self._news.notify()
        self._thread.join()

    def say(self, text: str) -> None:
        """A step begins."""
        with self._news:
            self._step = (text, time.monotonic())
            self._news.notify()
        say(f"{colour('..', 'dim', sys.stderr)} {text}")

    def _remind(self) -> None:
        with self._news:
            while not self._ended:
                heard = self._news.wait(self._every)
                if not heard and self._step is not None:
                    text, begin = self._step
                    say(f"{colour('..', 'dim', sys.stderr)} {text}: {time.monotonic() - begin:.0f} s so far")


def guard(main: Callable[[], int]) -> int:
    """Runs a command; a ScriptError becomes its message and exit code, ^C becomes 130 without a traceback, and a reader
    that goes away before everything is said 141."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()  # here, and not as the interpreter ends, which would tell of it
    except ScriptError as error:
        say(f"{colour('error:', 'red', sys.stderr)} {error}")
        return error.code
    except Ended as ended:
        return 128 + ended.number
    except KeyboardInterrupt:
        say("interrupted; call it again to go on from here")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented, or an empty string."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def run_logged(
    command: Sequence[str | Path],
    log: Path,
    what: str,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Runs a command with its output in `log` (appended); raises ScriptError with the log's tail when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as output:
        output.write(f"$ {' '.join(str(word) for word in command)}\n")
        output.flush()
        code = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            check=False,
        ).returncode
    if code:
        raise ScriptError(f"{what} failed with exit code {code}; the end of {log}:\n{tail(log)}")


@contextlib.contextmanager
def locked(path: Path, waiting_for: str) -> Iterator[None]:
    """Holds an exclusive lock on the file `path`; says so when another process has it, and waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say(f".. waiting for another process: {waiting_for}")
                fcntl.flock(handle, fcntl.LOCK_EX)
            try:  # who had it may have removed the file: then this lock keeps nobody out
                same = os.path.samestat(os.fstat(handle.fileno()), path.stat())
            except FileNotFoundError:
                same = False
            if same:
                yield
                return


def table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns as wide as their widest cell; the columns in `right` are aligned to the right."""

    def width(cell: str) -> int:
        return len(re.sub(r"\033\[\d+m", "", cell))

    widths = [max(width(row[index]) for row in [header, *rows]) for index in range(len(header))]

    def line(row: Sequence[str]) -> str:
        cells = []
        for index, cell in enumerate(row):
            space = " " * (widths[index] - width(cell))
            cells.append(space + cell if index in right else cell + space)
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), line(["-" * size for size in widths]), *(line(row) for row in rows)])
