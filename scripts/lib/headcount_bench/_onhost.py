# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs inside a lab host: steps of the collection's own engine, which can be struck at a precise place.

Reads one JSON object from standard input: {app, run, gone, ops: [[name, arguments], ...], at: place or null} and prints
one JSON line for each op. A place is {target: "_package.module.name" or "_package.module.Class.name", when: before or
after, match: a pattern on the arguments, nth, then: ...}; `then` has one or more of kill (SIGKILL to this process),
hold (says so and waits, for a power cut), later (both only so many seconds later), shell (a command), errno (raises
OSError), clock (this process's wall clock jumps by so many seconds). The product has no code for this: the functions
are wrapped in this process alone.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, Callable

HOME = "/var/lib/headcount-bench"


def say(value: Any) -> None:
    """One line of JSON for the bench."""
    print(json.dumps(value, default=str), flush=True)


def freeze() -> None:
    """Say so, and stand still: what this process had begun goes on without it."""
    say({"held": True})
    os.kill(os.getpid(), signal.SIGSTOP)


def jump(seconds: float) -> None:
    """Let the wall clock of this process jump."""
    real = time.time
    time.time = lambda: real() + seconds
    for module in list(sys.modules.values()):
        if str(getattr(module, "__name__", "")).startswith("headcount."):
            for name, value in list(vars(module).items()):
                if value is real:
                    setattr(module, name, time.time)


def strike(then: dict[str, Any]) -> None:
    """Do what the place asks for."""
    if "shell" in then:
        subprocess.run(["sh", "-c", then["shell"]], check=False, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    if "clock" in then:
        jump(float(then["clock"]))
    if "errno" in then:
        raise OSError(int(then["errno"]), os.strerror(int(then["errno"])), "struck by the bench")
    if then.get("hold") and then.get("later"):
        threading.Timer(float(then["later"]), freeze).start()
    elif then.get("hold"):
        say({"held": True})
        while True:
            signal.pause()
    if then.get("kill"):
        if then.get("later"):
            threading.Timer(float(then["later"]), os.kill, (os.getpid(), signal.SIGKILL)).start()
        else:
            os.kill(os.getpid(), signal.SIGKILL)


def place_of(target: str, package: str = "headcount") -> tuple[Any, str]:
    """The module or class that holds the function which a target names, and the function's name there."""
    folder, module, *names = target.split(".")
    owner: Any = importlib.import_module(f"{package}.{folder}.{module}")
    for name in names[:-1]:
        owner = getattr(owner, name)
    return owner, names[-1]


def wrap(at: dict[str, Any]) -> None:
    """Wrap the function that the place names."""
    owner, name = place_of(at["target"])
    original: Callable[..., Any] = getattr(owner, name)
    counter = [0]

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        hit = re.search(at.get("match", ""), " ".join(map(str, (*args, *kwargs.values())))) is not None
        counter[0] += hit
        now = hit and counter[0] == at.get("nth", 1)
        if now and at.get("when", "before") == "before":
            strike(at["then"])
        result = original(*args, **kwargs)
        if now and at.get("when") == "after":
            strike(at["then"])
        return result

    setattr(owner, name, wrapped)


def step_of(name: str) -> Callable[..., Any]:
    """The function of a step, in the file that has its name."""
    found: Callable[..., Any] = getattr(importlib.import_module(f"headcount._steps.{name}"), name)
    return found


def told(evidence: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the evidence of a trial says in short: its verdict, its notes, and how its load was run; empty without."""
    known = evidence or {}
    return {key: known[key] for key in ("verdict", "notes", "load", "pooled") if key in known}


def more(name: str, arguments: dict[str, Any]) -> list[Any]:
    """What a step takes beside the app and the generation."""
    if name == "trial" and arguments.get("pool"):
        return [importlib.import_module("headcount._verdict.pooling").Pool.of(arguments["pool"])]
    if name != "prepare":
        return []
    command = importlib.import_module("headcount._steps.prepare").Command
    return [[command.from_dict(one) for one in arguments["commands"]]]


def main() -> int:
    """Run the ops in order; the first that fails ends the list."""
    request = json.load(sys.stdin)
    sys.path.insert(0, HOME)
    steps = importlib.import_module("headcount._steps.app")
    failures = importlib.import_module("headcount._generation.failures")
    lock = importlib.import_module("headcount._generation.lock")
    hosttool = importlib.import_module("headcount._hosttool")
    releases = importlib.import_module("headcount._release.releases")
    if request.get("at"):
        wrap(request["at"])
    app = steps.AppOnHost(request["app"], lock.Run.from_dict(request["run"]), gone=frozenset(request.get("gone", [])))
    said: list[str] = []
    app.say = said.append
    number = request.get("number")
    for name, arguments in request["ops"]:
        begin = time.monotonic()
        try:
            if name == "stage":  # in the order of the module
                importlib.import_module("headcount._steps.stage").check_clashes(app, arguments["app"])
                hosttool.install(hosttool.own_sources())
                if arguments.get("archive") and os.path.exists(arguments["archive"]):
                    releases.unpack(arguments["archive"])
                result = step_of(name)(app, arguments)
                number = result["generation"]
            elif name == "finish":
                with app.step("weigh", number):
                    importlib.import_module("headcount._steps.stage").finish(app, number, app.record(number))
                result = {}
            elif name == "heal":
                with app.alone("heal"):
                    result = {"healed": step_of(name)(app)}
            elif name == "rollback":
                result = step_of(name)(app, arguments.get("to"), arguments.get("event", "rolled_back"))
            elif name == "remove":
                result = step_of(name)(app, arguments.get("everything", False))
            else:
                result = step_of(name)(app, number, *more(name, arguments))
        except failures.StepFailed as error:
            say({"op": name, "failed": f"{error.phase}: {error.cause}", "phase": error.phase, "number": number,
                 **told(error.evidence)})  # fmt: skip
            return 1
        except lock.Busy as error:
            say({"op": name, "failed": str(error), "phase": "lock", "busy": True, "number": number})
            return 1
        except Exception as error:  # an error of the engine itself: the bench must see it whole
            say({"op": name, "failed": f"unexpected {type(error).__name__}: {error}", "phase": "internal",
                 "traceback": traceback.format_exc(), "number": number})  # fmt: skip
            return 2
        keep = {key: value for key, value in result.items() if key not in ("evidence", "plan")}
        keep.update({**told(result.get("evidence")), "said": said[:]})
        said.clear()
        say({"op": name, "number": number, "seconds": round(time.monotonic() - begin, 2), **keep})
    return 0


if __name__ == "__main__":
    sys.exit(main())
