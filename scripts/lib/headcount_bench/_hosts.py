# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A lab of the benchmark's own, or one that is up already, and a scene on each of its hosts, which takes the cells."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from headcount_scripts import labs

from . import _engine
from ._common import Bench, Cell, Lab

Scene = TypeVar("Scene")


def add_lab(parser: argparse.ArgumentParser) -> None:
    """Where to run instead of in a lab of its own."""
    parser.add_argument("--lab", metavar="NAME", help="use this lab, which is up already, and leave it")


@contextlib.contextmanager
def a_lab(bench: Bench, hosts: Sequence[str]) -> Iterator[Lab]:
    """The lab that --lab names, which stays as it is; else one of `hosts` ("name:cores:memory:suite"), which is removed
    afterwards."""
    if bench.options.lab:
        yield Lab(labs.load(bench.options.lab))
        return
    with bench.lab(list(hosts)) as lab:
        yield lab


def on_each_host(
    bench: Bench,
    hosts: Sequence[str],
    scene: Callable[[Lab, str, _engine.Engine], Scene],
    work: Callable[[Scene, Cell], Any],
) -> None:
    """Each host of the lab takes the next cell. `scene`: what is made of a host, once, before its first cell, with an
    engine that has been sent there."""
    scenes: dict[str, Scene] = {}

    def measured(lab: Lab, cell: Cell, host: str) -> Any:
        if host not in scenes:
            engine = _engine.Engine(lab, host, _engine.wheel_cache())
            engine.push()
            scenes[host] = scene(lab, host, engine)
        return work(scenes[host], cell)

    with a_lab(bench, hosts) as lab:
        bench.run(lambda cell, host: measured(lab, cell, host), lanes=lab.hosts)
