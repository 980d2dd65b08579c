# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where a benchmark runs, and what it makes of each host."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from headcount_bench import _hosts


class Bench:
    """A benchmark of four cells, which two hosts take in turn. `made`: the labs of its own that it had."""

    def __init__(self, lab: str | None) -> None:
        self.options = argparse.Namespace(lab=lab)
        self.made: list[str] = []

    @contextlib.contextmanager
    def lab(self, hosts: list[str]) -> Iterator[Any]:
        self.made.append(f"up {' '.join(hosts)}")
        yield SimpleNamespace(name="own", hosts=["a", "b"])
        self.made.append("down")

    def run(self, work: Callable[[Any, str], Any], lanes: Sequence[str]) -> None:
        self.results = [work(cell, lanes[cell % len(lanes)]) for cell in range(4)]


@pytest.mark.parametrize(
    ("named", "of", "made"), [(None, "own", ["up a:1:1g:trixie b:1:1g:trixie", "down"]), ("mine", "mine", [])]
)
def test_each_host_is_made_ready_once_and_takes_its_cells(
    monkeypatch: pytest.MonkeyPatch, named: str | None, of: str, made: list[str]
) -> None:
    pushed: list[str] = []

    class Engine:
        def __init__(self, lab: Any, host: str, cache: Any) -> None:
            self.words = f"{lab.name} {host}"

        def push(self) -> None:
            pushed.append(self.words)

    monkeypatch.setattr(_hosts._engine, "Engine", Engine)
    monkeypatch.setattr(_hosts.labs, "load", lambda name: name)
    monkeypatch.setattr(_hosts, "Lab", lambda name: SimpleNamespace(name=name, hosts=["a", "b"]))
    bench: Any = Bench(named)
    scenes: list[str] = []

    def scene(lab: Any, host: str, engine: Any) -> str:
        assert engine.words in pushed, "the engine is there before the scene"
        scenes.append(f"{lab.name} {host}")
        return host

    _hosts.on_each_host(bench, ["a:1:1g:trixie", "b:1:1g:trixie"], scene, lambda host, cell: f"{host}{cell}")
    assert bench.results == ["a0", "b1", "a2", "b3"]
    assert pushed == scenes == [f"{of} a", f"{of} b"]
    assert bench.made == made


def test_the_lab_is_named_on_the_command_line() -> None:
    parser = argparse.ArgumentParser()
    _hosts.add_lab(parser)
    assert parser.parse_args(["--lab", "mine"]).lab == "mine"
    assert parser.parse_args([]).lab is None
