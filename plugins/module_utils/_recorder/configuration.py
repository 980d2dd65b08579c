# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the recorder comes into a generation: its program, and the part of gunicorn.conf.py that loads it. Pure."""

from __future__ import annotations

from typing import Any

from .._declaration.app import Limits, Plain
from . import instance

PROGRAM = "recorder.py"
"""The name of the program in a generation's folder."""

_LOADED = """\
# Counts requests in memory that others can read (recorder.py beside this file). No error of it fails anything.
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
except Exception as _error:
    print(f"Headcount's recorder does not count: {{_error!r}}", file=_sys.stderr)
"""


def wanted(app: Plain) -> bool:
    """Whether the app's requests are counted; those of a generation of an older version are not."""
    return app.get("recorder") is not False


def program() -> str:
    """The source of the recorder, from wherever Python loaded it (a zip archive, too)."""
    spec: Any = instance.__spec__
    source: str = spec.loader.get_source(instance.__name__)
    return source


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
