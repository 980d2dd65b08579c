# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rows of the fault catalogue about what an app makes of its own code when it starts: each generation has its own."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _engine
from .._scene import APP, Scene
from .row import HOME, Row

BUILT = "shop/static/build"
CODE = """
import os
_CSS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static", "css")
_BUILD = os.path.join(os.path.dirname(_CSS), "build")
for _name in os.listdir(_CSS):
    try:
        os.symlink(os.path.join(_CSS, _name), os.path.join(_BUILD, _name))
    except FileExistsError:
        pass
"""
"""At its import the app links what it ships into another folder of its release, as apps do for their caches' sake."""
PAGE = "/static/build/page.css"
ASKING = ({"name": "css", "kind": "close", "rate": 10, "paths": [PAGE]},)


def linking(scene: Scene, **changes: Any) -> dict[str, Any]:
    """A release of its own that links into itself; its page says which one it is."""
    found = scene.variant()
    folder = Path(found["path"])
    shop = folder / "src/shop"
    (shop / "static/css").mkdir(parents=True)
    (shop / "static/css/page.css").write_text(f"/* {folder.name} */\n", encoding="utf-8")
    (shop / "__init__.py").write_text((shop / "__init__.py").read_text(encoding="utf-8") + CODE, encoding="utf-8")
    project = folder / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace('["py.typed"]', '["py.typed", "static/css/*.css"]'), encoding="utf-8")
    return {"source": found, "data": {"built": [BUILT]}, "retain": {"good": 2}, **changes}


def named(release: dict[str, Any]) -> str:
    """What the page of a release says."""
    return f"/* {Path(release['source']['path']).name} */"


def _promoted(scene: Scene, release: dict[str, Any]) -> list[int]:
    done = scene.deploy(**release)
    scene.seen.must("failed" not in done[-1], f"it was refused: {done[-1].get('failed')}")
    _must_lead(scene, release)
    return [int(number) for number in done[-1].get("pruned", [])]


def _must_lead(scene: Scene, release: dict[str, Any]) -> None:
    """The page is that of the release that is live, and each link of each generation leads to a file that is there."""
    said = scene.sh(f"curl -s -m 10 http://127.0.0.1:8000{PAGE}").strip()
    scene.seen.must(said == named(release), f"the page is {said!r}, not that of generation {scene.live()}")
    lost = scene.sh(
        f'find {HOME}/generations/*/built -type l | while read -r link; do test -e "$link" || echo $link; done'
    ).split()
    scene.seen.must(not lost, f"links lead nowhere: {', '.join(lost)}")
    links = scene.sh(f"ls {own(scene.live())}").split()
    scene.seen.must("page.css" in links, f"generation {scene.live()} has {links}")


def own(number: int | None) -> str:
    """Where a generation has its own."""
    return f"{HOME}/generations/{number}/built/{BUILT}"


def _rolled_back(scene: Scene, release: dict[str, Any]) -> None:
    said = scene.sh(f"headcount-rollback {APP} 2>&1; echo code $?")
    scene.seen.must("code 0" in said, f"the rollback said {said}")
    _must_lead(scene, release)


@contextlib.contextmanager
def readers(scene: Scene) -> Iterator[None]:
    """Users ask for the page all the while; each is answered."""
    with scene.engine.users(scene.address, ASKING) as users:
        time.sleep(0.5)  # so that some are under way when it begins
        yield
        time.sleep(0.5)  # and some are made after its end
    bad = _engine.failures(users.rows)
    scene.seen.must(not bad, f"{len(bad)} of {len(users.rows)} times the page was not there: {bad[:3]}")
    scene.seen.told.append(f"the page was asked for {len(users.rows)} times")


def links(scene: Scene) -> None:
    """Four releases that link into themselves, of which the first two are pruned; then the way back."""
    first, second, third, fourth = (linking(scene) for _ in range(4))
    _promoted(scene, first)
    gone = scene.live()
    release = scene.sh(f"readlink -f {HOME}/live/release").strip()
    pruned: list[int] = []
    with readers(scene):
        pruned += _promoted(scene, second)
        pruned += _promoted(scene, third)
        before = scene.live()
        scene.engine.sh(f"headcount run {APP} -- touch {_inside(scene)}{BUILT}/left", check=True)
        pruned += _promoted(scene, fourth)
        scene.seen.must(gone in pruned, f"generation {gone} was not pruned: {pruned}")
        left = scene.sh(f"ls -d {release} {HOME}/generations/{gone} 2>/dev/null").strip()
        scene.seen.must(not left, f"of the pruned generation there is left: {left}")
        theirs = scene.sh(f"ls {own(scene.live())}").split()
        scene.seen.must("left" not in theirs, f"it has what another generation made: {theirs}")
        _rolled_back(scene, third)
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        theirs = scene.sh(f"ls {own(before)}").split()
        scene.seen.must("left" in theirs, f"what it had made is gone: {theirs}")
        rated = scene.sh(f"systemd-analyze security --no-pager {APP}@{before}.service | tail -1").strip()
        scene.seen.must(re.search(r"\b1\.1\b", rated), f"its exposure is {rated}")
    scene.seen.told.append(f"generations {pruned} were pruned; {rated}")
    scene.clean()


def _inside(scene: Scene) -> str:
    """Where the code of what is live lies, as a path that ends in `/`."""
    return scene.sh(f"readlink -f {HOME}/live/release/code").strip() + "/"


def shared(scene: Scene) -> None:
    """Two generations of one release: each has its own, which its processes, its commands and its restart see too."""
    release = linking(scene)
    _promoted(scene, release)
    first, code = scene.live(), _inside(scene)
    run = f"sh -c 'while sleep 1; do ls {code}{BUILT} > $STATE_DIRECTORY/beside; done'"
    with readers(scene):
        scene.engine.sh(f"headcount run {APP} -- touch {code}{BUILT}/first", check=True)
        _promoted(scene, {**release, "processes": {"beside": {"run": run, "memory_mib": 32}}})
        second = scene.live()
        code_now = _inside(scene)
        scene.seen.must(code_now == code, f"it has another release: {code_now}")
        scene.engine.sh(f"headcount run {APP} -- touch {code}{BUILT}/second", check=True)
        seen = scene.engine.sh(f"headcount run {APP} -- ls {code}{BUILT}").split()
        scene.seen.must("second" in seen and "first" not in seen, f"a command sees {seen}")
        beside = f"cat /var/lib/hc-{APP}/beside"
        scene.awaited("what the process beside it sees", lambda: "second" in scene.sh(beside).split(), 20.0)
        scene.seen.must("first" not in scene.sh(beside).split(), "a process sees what another generation made")
        shipped = scene.sh(f"ls -A {code}{BUILT}").split()
        scene.seen.must(not shipped, f"the release itself was written to: {shipped}")
        kept = scene.sh(f"ls {own(first)}").split()
        scene.seen.must("first" in kept and "second" not in kept, f"generation {first} has {kept}")
    begin = time.time()
    scene.seen.window = [begin - 0.1, begin + 60.0]
    scene.sh(f"systemctl restart {APP}@{second}.service")
    scene.awaited(
        "the page after a restart", lambda: named(release) in scene.sh(f"curl -s http://127.0.0.1:8000{PAGE}")
    )
    scene.seen.window[1] = time.time()
    kept = scene.sh(f"ls {own(second)}").split()
    scene.seen.must("second" in kept, f"after a restart it has {kept}")
    _promoted(scene, release)
    scene.clean()


def broken_off(scene: Scene) -> None:
    """Runs are killed while a generation gets its own, and before it is live; then the host loses its power."""
    release, following = linking(scene), linking(scene)
    _promoted(scene, release)
    with readers(scene):
        for target in (
            "_generation.builtfolders._give",
            "_generation.builtfolders.settle",
            "_generation.store.activate",
        ):
            request = ("stage", scene.request(**following))
            done = scene.engine.steps(APP, request, "finish", "promote", gone=scene.gone(),
                                      at={"target": target, "then": {"kill": True}})  # fmt: skip
            scene.seen.must(done[-1].get("killed"), f"it was not killed at {target}: {done[-1]}")
            scene.engine.steps(APP, "heal", gone=scene.gone())
            _must_lead(scene, release)
            scene.clean(f"after the kill at {target}")
        _promoted(scene, following)
    scene.sh(f"rm -rf {own(scene.live())}")
    state = scene.engine.status(APP)
    scene.seen.must("is missing, and its units cannot start" in str(state.get("problems")), f"it is not seen: {state}")
    _rolled_back(scene, release)
    cut = time.time()
    scene.seen.window = [cut - 0.1, cut + 120.0]
    scene.power()
    scene.seen.must(scene.wait_served() is not None, "after the boot nothing answers")
    _must_lead(scene, release)
    scene.sh(f"rm -rf {own(scene.live())}")
    scene.seen.window[1] = time.time() + 120.0
    done = scene.engine.steps(APP, "heal", gone=scene.gone())
    scene.seen.must("anew" in str(done[-1]), f"it was not made anew: {done[-1]}")
    scene.sh(f"systemctl restart {APP}@{scene.live()}.service")
    scene.awaited(
        "the page once it was made anew", lambda: named(release) in scene.sh(f"curl -s http://127.0.0.1:8000{PAGE}")
    )
    scene.seen.window[1] = time.time()
    _must_lead(scene, release)
    for _ in range(2):
        scene.deploy()
    scene.clean()


BUILDS = [
    Row(
        "data/built-links",
        "an app links into its release at its start: four releases, of which the first are pruned, and the way back",
        "each link leads to a file that is there; the page is answered all the while; a generation finds its own again",
        links,
    ),
    Row(
        "data/built-shared",
        "two generations of one release that links into itself, with a process beside the server and commands",
        "each has its own, and whatever runs of it sees that; a restart keeps it; the release is not written to",
        shared,
    ),
    Row(
        "data/built-broken-off",
        "SIGKILL while a generation gets its own and before it is live, a power cut, and somebody who removes it",
        "what is live has its own, whole; one that is gone is seen, and is made anew",
        broken_off,
    ),
]
