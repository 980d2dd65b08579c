# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the recorder and the log of requests come into a generation: their programs, and the parts of gunicorn.conf.py
that load them. Pure."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from .._declaration.app import Limits, Plain
from . import instance, requestlog

PROGRAM, LOG_PROGRAM = instance.PROGRAM, "requestlog.py"
"""The names of the programs in a generation's folder."""

FORMS = ("combined", "json")
"""How requests can be logged (`access_log`)."""

_LOADED = """\
# Counts requests in memory that others can read (recorder.py beside this file). No error of it fails anything.
_worker_ready = None
try:
    import importlib.util as _import

    _recorder = _sys.modules.get("headcount_recorder")
    if _recorder is None:
        _file = _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), {program!r})
        _spec = _import.spec_from_file_location("headcount_recorder", _file)
        _recorder = _import.module_from_spec(_spec)
        _spec.loader.exec_module(_recorder)
        _sys.modules["headcount_recorder"] = _recorder
    if _folder:
        _hooks = _recorder.start(_folder, workers={workers}, threads={threads}, limits_ms={limits})
        pre_fork, post_fork, pre_request, post_request = _hooks[:4]
        _told.append(_hooks.ended)
        _worker_ready = _hooks.ready
except Exception as _error:
    print(f"Headcount's recorder does not count: {{_error!r}}", file=_sys.stderr)
"""


_ANSWERS = """\
# The recorder also counts which of the requests in flight are being answered.
_before_answers = globals().get("post_worker_init")


def post_worker_init(worker):
    if _before_answers is not None:
        _before_answers(worker)
    if _worker_ready is not None:
        _worker_ready(worker)
"""


_LOGGED = """\
# Tells of each request in the journal ({program} beside this file). No error of it fails anything.
try:
    def _own_program(name):
        import importlib.util as importing

        known = _sys.modules.get("headcount_" + name)
        if known is None:
            file = _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), name + ".py")
            spec = importing.spec_from_file_location("headcount_" + name, file)
            known = importing.module_from_spec(spec)
            spec.loader.exec_module(known)
            _sys.modules["headcount_" + name] = known
        return known

    _before = globals().get("pre_request"), globals().get("post_request")
    _how = _own_program("recorder").how_answered
    pre_request, post_request = _own_program("requestlog").start({name!r}, {form!r}, {number}, _how, _before)
except Exception as _error:
    print(f"Requests are not logged: {{_error!r}}", file=_sys.stderr)
"""


def wanted(app: Plain) -> bool:
    """Whether the app's requests are counted; those of a generation of an older version are not."""
    return app.get("recorder") is not False


def logged(app: Plain) -> str:
    """In which of the FORMS the app's requests are logged; "" where they are not."""
    form = str(app.get("access_log") or "")
    return form if form in FORMS else ""


def programs(app: Plain) -> dict[str, str]:
    """The programs of a generation of the app, by their names. How a request ended the recorder's knows."""
    found = {PROGRAM: program()} if wanted(app) or logged(app) else {}
    return {**found, LOG_PROGRAM: _source(requestlog)} if logged(app) else found


def program() -> str:
    """The source of the recorder."""
    return _source(instance)


def _source(module: ModuleType) -> str:
    """The source of a module, from wherever Python loaded it (a zip archive, too)."""
    spec: Any = module.__spec__
    source: str = spec.loader.get_source(module.__name__)
    return source


def logging(app: Plain, number: int) -> str:
    """The part of gunicorn.conf.py that logs requests, behind `loaded`; empty where it does not."""
    if not logged(app):
        return ""
    return _LOGGED.format(program=LOG_PROGRAM, name=app["name"], form=logged(app), number=number)


def answers(app: Plain) -> str:
    """The part of gunicorn.conf.py that stands before the app, behind all that has a `post_worker_init` of Headcount's
    but a project's own; empty where nothing is counted."""
    return _ANSWERS if wanted(app) else ""


def loaded(app: Plain, settings: Plain) -> str:
    """The part of gunicorn.conf.py that loads the program, behind workerends.HOOKS; empty where it is not wanted.

    `settings`: those of the plan, each with its value.
    """
    if not wanted(app):
        return ""
    limits = Limits.from_dict(app.get("limits") or {})
    return _LOADED.format(
        program=PROGRAM,
        workers=int(settings["workers"]["value"]),
        threads=settings["worker_class"]["value"] == "gthread",
        limits=tuple(limits.latency_ms(name) for name in instance.LIMITS),
    )
