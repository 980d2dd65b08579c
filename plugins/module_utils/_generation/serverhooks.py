# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a generation has of Gunicorn's own settings beside those of the plan: declared ones, a project's server hooks,
what a request on the private socket looks like, and what starts Gunicorn. Pure texts.

Each part of gunicorn.conf.py stands behind those before it and calls what they have defined.
"""

from __future__ import annotations

from .._declaration.app import Plain
from .._declaration.gunicorn import HOOKS, TEXT, hooks_in

ADDRESS = """\
# Users come over TCP and so have an address; what is asked through the private socket gets one as well.
_before_address = globals().get("post_worker_init")


def post_worker_init(worker):
    if _before_address is not None:
        _before_address(worker)
    serve = worker.wsgi

    def with_address(environ, start_response):
        if not environ.get("REMOTE_ADDR"):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = "127.0.0.1", "0"
        return serve(environ, start_response)

    worker.wsgi = with_address
"""
"""An app that reads REMOTE_ADDR (rate limits, audit logs) would fail where it is empty, which is on the private socket
alone."""

HOOKS_FILE = "hooks.py"
"""A project's hooks, in the generation's folder."""

_LOADED = f"""\
# The project's own hooks ({HOOKS_FILE} beside this file), each after what Headcount has under that name.
import importlib.util as _importing

_spec = _importing.spec_from_file_location(
    "headcount_hooks", _os.path.join(_os.path.dirname(_os.path.abspath(__file__)), {HOOKS_FILE!r})
)
_theirs = _importing.module_from_spec(_spec)
_spec.loader.exec_module(_theirs)
"""
_ARGUMENTS = {
    1: ("server",),
    2: ("server", "worker"),
    3: ("server", "new_value", "old_value"),
    4: ("worker", "request", "environ", "response"),
}

PATCHED, SITE = "patched.sh", "sitecustomize.py"
"""Start Gunicorn in an interpreter that gevent or eventlet has patched before anything else is imported."""

_PATCHED = f"""\
#!/bin/sh
# What wraps Gunicorn imports in its interpreter before Gunicorn does: {SITE} beside this file patches before that.
PYTHONPATH="$(dirname "$0")${{PYTHONPATH:+:$PYTHONPATH}}" exec "$@"
"""
_SITE = """\
# The first module that this interpreter imports: what comes later finds everything patched.
import importlib.machinery
import importlib.util
import os
import sys

{patch}

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _here]
_left = [path for path in os.environ.get("PYTHONPATH", "").split(":") if path and os.path.abspath(path) != _here]
os.environ["PYTHONPATH"] = ":".join(_left)
if not _left:
    del os.environ["PYTHONPATH"]
# The one that would have been imported in its place.
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if _spec is not None:
    _module = importlib.util.module_from_spec(_spec)
    sys.modules["sitecustomize"] = _module
    _spec.loader.exec_module(_module)
"""
PATCH = {
    "gevent": "import gevent.monkey\n\ngevent.monkey.patch_all()",
    "eventlet": "import eventlet\n\neventlet.monkey_patch()",
}


def address(app: Plain) -> str:
    """The part that gives requests on the private socket an address; empty where users come without one too."""
    listen = str(app.get("listen") or "")
    return ADDRESS if listen and not listen.startswith("unix:") else ""


def declared(app: Plain) -> list[str]:
    """The lines of the settings that are declared under Gunicorn's own names."""
    own = {name: value for name, value in (app.get("gunicorn") or {}).items() if name not in ("hooks", TEXT)}
    if not own:
        return []
    return ["# Declared under `gunicorn`.", *(f"{name} = {value!r}" for name, value in own.items()), ""]


def hooks(app: Plain) -> str:
    """The part that loads a project's hooks, and calls each after Headcount's own; empty where there are none."""
    text = (app.get("gunicorn") or {}).get(TEXT)
    names = hooks_in(text) if text else []
    return "\n\n".join([_LOADED, *map(_chained, names)]) if names else ""


def _chained(name: str) -> str:
    arguments = _ARGUMENTS[HOOKS[name]] if name not in ("pre_request", "post_request") else _ARGUMENTS[4][: HOOKS[name]]
    given = ", ".join(arguments)
    # Gunicorn takes a post_request with fewer arguments, too.
    theirs = f"*({given})[: _theirs.post_request.__code__.co_argcount]" if name == "post_request" else given
    # Headcount's own looks there for what its caller knows of the worker.
    status = '    status = _sys._getframe(1).f_locals.get("status")\n' if name == "child_exit" else ""
    return (
        f'_first_{name} = globals().get("{name}")\n\n\n'
        f"def {name}({given}):\n"
        f"{status}"
        f"    if _first_{name} is not None:\n"
        f"        _first_{name}({given})\n"
        f"    _theirs.{name}({theirs})\n"
    )


def files(app: Plain, worker_class: str) -> dict[str, str]:
    """The files of a generation that belong to that, by their names."""
    found = {}
    text = (app.get("gunicorn") or {}).get(TEXT)
    if text:
        found[HOOKS_FILE] = str(text)
    if app.get("command_prefix") and worker_class in PATCH:
        found[PATCHED] = _PATCHED
        found[SITE] = _SITE.format(patch=PATCH[worker_class])
    return found


def command(app: Plain, worker_class: str, generation: str) -> str:
    """The command that starts Gunicorn, with what it is wrapped by, for ExecStart= of its unit."""
    binaries = f"{generation}/release/venv/bin"
    words = [str(word) for word in app.get("command_prefix") or ()]
    words[:1] = [program(word, binaries) for word in words[:1]]
    if words and worker_class in PATCH:
        words += ["/bin/sh", f"{generation}/{PATCHED}"]
    # A wrapper may take long options that follow for its own, as opentelemetry-instrument does with --config.
    gunicorn = f"{binaries}/gunicorn {'-c' if words else '--config'} {generation}/gunicorn.conf.py"
    return " ".join([*map(_quoted, words), gunicorn])


def program(word: str, binaries: str) -> str:
    """The path of the program that a command begins with; one without a folder is of the release."""
    return word if word.startswith("/") else f"{binaries}/{word}"


def _quoted(word: str) -> str:
    """A word of ExecStart=: systemd expands `$` and `%` and splits at blanks."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(sign in escaped for sign in " \t;'\"\\") else escaped
