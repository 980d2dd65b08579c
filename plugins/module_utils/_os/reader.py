# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A command whose reader may go away before it has said everything (`headcount history | head`).

That is no failure of the command: what is left to say is dropped, and what is left to do is done.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Callable, Iterator, TextIO, cast


class _Output(io.TextIOBase):
    """A stream of text that goes nowhere from the moment on at which nobody reads it any more."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        with self._forgiving():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._forgiving():
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # what is buffered yet goes there, too
            os.close(nowhere)


def for_a_reader(main: Callable[[], int]) -> int:
    """Runs a command, whose status it returns, with both of its streams forgiving."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Output(stream)) for stream in streams)
    try:
        return main()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = streams
