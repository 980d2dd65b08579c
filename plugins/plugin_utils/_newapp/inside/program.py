# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The program that imports a project in a sandbox, asks it for its pages, and writes down what it saw.

It runs with the project's own Python and imports nothing but the standard library: `run([..., "ASKED.json"])`.
ASKED.json holds `root` (the working directory), `paths` (of modules, first ones first), `project` (files and folders
whose code counts as the project's own), `module`, `target` (a callable or a call; empty: it is looked for as Flask
does), `result` (where the answer goes, as JSON) and the bounds `import_seconds`, `ask_seconds`, `weigh_seconds`,
`memory_mib`.
The answer is written after each stage, so that a project that hangs in one is known up to there.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import sys
import traceback
from typing import Any, TypedDict

from .asking import Answered, By, ask_as_users, elsewhere, own_seconds, routes_of, rules_of, steady, weigh, within
from .machine import of_the_machine
from .offered import offered
from .settings import host_of, settings_of
from .tables import databases_in, made_by
from .target import find, kind_of
from .watch import Seen, watch

MIB = 1 << 20
UNREACHED = re.compile(r"[Nn]etwork is unreachable|[Cc]onnection refused|[Nn]ame resolution|[Cc]ould not connect")
UNREACHED_NUMBERS = {101, 110, 111, 113}
READ_ONLY = re.compile("unable to open database file|readonly database")
READ_ONLY_NUMBERS = {13, 30}


class Asked(TypedDict):
    """What is to be done; see above."""

    root: str
    paths: list[str]
    project: list[str]
    module: str
    target: str
    result: str
    import_seconds: float
    ask_seconds: float
    weigh_seconds: float
    memory_mib: int


class Failure(TypedDict):
    """What went wrong: its type and words, where in the project, what it lacks, whether a peer or a write failed."""

    type: str
    message: str
    where: str | None
    missing_module: str | None
    missing_variables: list[str]
    unreached: bool
    read_only: bool


def error_of(error: BaseException, seen: Seen) -> Failure:
    """An exception for the answer: its type, its words, where in the project, and what it lacks."""
    chain = chain_of(error)
    frames = [frame for item in chain for frame in traceback.extract_tb(item.__traceback__)]
    own = [f"{os.path.realpath(frame.filename)}:{frame.lineno}" for frame in frames if seen.is_own(frame.filename)]
    words = " ".join(f"{item!r} {item}" for item in chain)
    where = own[-1] if own else None
    root = chain[-1] if isinstance(chain[-1], ImportError) and not isinstance(error, ImportError) else error
    numbers = {item.errno for item in chain if isinstance(item, OSError)}
    return {
        "type": type(error).__name__,
        "message": " ".join(str(error).split())[:600],
        "where": where,
        "missing_module": root.name if isinstance(root, ModuleNotFoundError) else None,
        "missing_variables": lacking(error, words, where, seen),
        "unreached": bool(numbers & UNREACHED_NUMBERS) or bool(UNREACHED.search(words)),
        "read_only": bool(numbers & READ_ONLY_NUMBERS) or bool(READ_ONLY.search(words)),
    }


def chain_of(error: BaseException) -> list[BaseException]:
    """An exception and those that it came from."""
    chain: list[BaseException] = []
    left: BaseException | None = error
    while left is not None and left not in chain and len(chain) < 6:
        chain.append(left)
        left = left.__cause__ or left.__context__
    return chain


def lacking(error: BaseException, words: str, where: str | None, seen: Seen) -> list[str]:
    """The variables that an exception comes from: those that its words name, or that were asked for where it arose."""
    missing = []
    for name, known in seen.variables.items():
        told = re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", words)
        if not known["there"] and (told or where in known["places"][-1:]):
            missing.append(name)
    if type(error).__module__.startswith("pydantic"):
        missing += [match.upper() for match in re.findall(r"^(\w+)\n +Field required", str(error), re.MULTILINE)]
    return missing


class Answer:
    """The answer, written as it grows."""

    def __init__(self, path: str, seen: Seen) -> None:
        self.path = path
        self.seen = seen
        self.data: dict[str, object] = {"stage": "import", "error": None}

    def defaults(self) -> dict[str, str]:
        """The variables that the project asked for, by the defaults that it names."""
        return {name: known["default"] for name, known in self.seen.variables.items() if known["default"]}

    def write(self, **more: Any) -> None:
        """Add to the answer and put it down."""
        self.data.update(more)
        seen = self.seen
        seen.stage = str(self.data["stage"])
        self.data.update(
            variables=seen.variables,
            written=seen.written,
            written_at=seen.written_at,
            peers=list(seen.peers),
            machine=of_the_machine(list(seen.programs)),
            libraries=sorted({name.partition(".")[0] for name in list(sys.modules) if not name.startswith("_")}),
            peak_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        )
        scratch = f"{self.path}.part"
        with open(scratch, "w", encoding="utf-8") as stream:
            json.dump(self.data, stream, default=str)
        os.replace(scratch, self.path)


def look(asked: Asked, answer: Answer) -> None:
    """Import, find, ask, weigh."""
    begin = own_seconds()
    with within(float(asked["import_seconds"]), "the import"):
        module = importlib.import_module(str(asked["module"]))
        target, app = find(module, str(asked["target"]))
    kind = kind_of(app)
    inner = getattr(app, "server", app) if kind == "dash" else app
    answer.write(
        stage="ask",
        target=target,
        kind=kind,
        class_name=f"{type(app).__module__}.{type(app).__qualname__}",
        file=getattr(module, "__file__", None),
        import_seconds=round(own_seconds() - begin, 2),
        config=settings_of(inner, kind, answer.defaults(), os.path.dirname(asked["result"])),
        instance_path=str(getattr(inner, "instance_path", "") or ""),
        commands=offered(inner, kind),
    )
    routes, by = routes_of(app, kind), By(host_of(inner, kind))
    answer.write(routes=routes, rules=rules_of(inner), host=by.host)
    found, by = ask_as_users(app, routes, float(asked["ask_seconds"]), by)
    setup = set_up(inner, kind, found, float(asked["ask_seconds"]))
    if setup:
        answer.write(setup={"command": setup, "made": databases_in(answer.seen.written)})
        found, by = ask_as_users(app, routes, float(asked["ask_seconds"]), by)
    answer.write(stage="weigh", asked=found, https=by.https, other_host=elsewhere(app, found, by))
    with within(float(asked["weigh_seconds"]) + 30, "the weighing"):
        weighed = weigh(app, steady(found), float(asked["weigh_seconds"]), by)
    answer.write(stage="done", weighed=weighed)


def set_up(app: Any, kind: str, found: list[Answered], seconds: float) -> str:
    """The command of the app's own that made the tables which its pages lacked; "" where none did."""
    try:
        with within(seconds, "making the tables"):
            return made_by(app, kind, [item["error"] for item in found])
    except BaseException:  # as in ask_all: the app's own business
        return ""


def main(argv: list[str]) -> int:
    """Do what the file says that the command line names; 0 when it was done, 1 with the error in the answer."""
    with open(argv[1], encoding="utf-8") as stream:
        asked: Asked = json.load(stream)
    most = int(asked["memory_mib"]) * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * MIB, 256 * MIB))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(asked["root"])
    sys.path[:0] = asked["paths"]
    sys.argv = ["gunicorn"]
    sys.dont_write_bytecode = True
    seen = Seen(asked["project"])
    seen.result = str(asked["result"])
    watch(seen)
    answer = Answer(str(asked["result"]), seen)
    try:
        look(asked, answer)
    except BaseException as error:  # SystemExit and TooLong too: all of them are what came of it
        answer.write(error=error_of(error, seen))
        return 1
    finally:
        sys.stdout.flush()
    return 0


def run(argv: list[str]) -> None:
    """As `main`, and end the process: threads that the project left running do not keep it."""
    code = main(argv)
    sys.stderr.flush()
    os._exit(code)
