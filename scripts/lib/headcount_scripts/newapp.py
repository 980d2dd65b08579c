# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Looks at a Flask (or other WSGI) project and writes the inventory entry that makes it go live.

Its dependencies are gathered as a rollout would gather them, it is imported in a sandbox (a read-only copy, no network,
no home, none of your environment), its pages are asked for and weighed for a moment. Nothing of the project is written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from . import paths
from .console import ScriptError, colour, say

sys.path.insert(0, str(paths.ROOT / ".collections"))

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import flow, sandbox
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import questions_text
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import NetworkUnreachable, ToolMissing

READY, FAILED, USAGE, ASKED, CANNOT = 0, 1, 2, 3, 4

EPILOG = """examples:
  scripts/new-app ../myapp                               writes myapp.yml; then: ansible-playbook site.yml -e @myapp.yml
  scripts/new-app ../myapp --host web1 --output inventories/mine/hosts.yml
  scripts/new-app https://git.example.com/shop.git@v1.4.2 --output -
  scripts/new-app httpbin==0.10.2 --output -

exit codes: 0 an entry that can go live as it is, 1 it could not be looked at (network, disk), 2 wrong use,
3 an entry with a question that must be answered first, 4 the project cannot work as it is (the message says why)
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(
        prog="scripts/new-app",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    result.add_argument(
        "source", metavar="PATH|GIT|PIP", help="a folder, a wheel, a repository's URL[@VERSION], or NAME==VERSION"
    )
    result.add_argument("--name", default="", help="the app's name on its hosts (the project's)")
    result.add_argument(
        "--host", default="", metavar="NAME", help="write a whole inventory with this host, not only the variables"
    )
    result.add_argument("--output", metavar="FILE|-", help="where it goes; - is standard output (NAME.yml here)")
    result.add_argument("--force", action="store_true", help="overwrite the file")
    return result


def main(arguments: list[str], look_at: Callable[..., flow.Entry] = flow.entry) -> int:
    """Runs scripts/new-app with its arguments; returns the exit code."""
    options = parser().parse_args(arguments)
    target = None if options.output in (None, "-") else Path(options.output)
    _free(target, options.force)
    beside = (target.parent if target else Path.cwd()) if options.host and options.output != "-" else None
    tools = flow.Tools(paths.WORK / "wheelhouse", say=lambda text: say(f"{colour('..', 'dim', sys.stderr)} {text}"))
    if sandbox.best().told:
        say(f"{colour('note:', 'yellow', sys.stderr)} {sandbox.best().told}")
    try:
        entry = look_at(options.source, tools, options.host, beside, options.name)
    except flow.Cannot as error:
        raise ScriptError(
            f"{options.source} cannot work as it is:\n  " + "\n  ".join(str(error).splitlines()), CANNOT
        ) from None
    except Unknown as error:
        raise ScriptError(str(error), USAGE) from None
    except (NetworkUnreachable, ToolMissing) as error:
        raise ScriptError(str(error), FAILED) from None
    except flow.WheelhouseError as error:
        raise ScriptError(f"{options.source} cannot work as it is:\n  {error}", CANNOT) from None
    if options.output == "-":
        print(entry.text, end="")
    else:
        target = target or Path(f"{entry.proposal.entry['name']}.yml")
        _free(target, options.force)
        _write(target, entry.text)
    _tell(entry, target, options.host)
    return READY if entry.ready else ASKED


def _free(target: Path | None, force: bool) -> None:
    if target is not None and target.exists() and not force:
        raise ScriptError(
            f"{target} is there already: name another file with --output, or overwrite it with --force", USAGE
        )


def _write(target: Path, text: str) -> None:
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
    except OSError as error:
        raise ScriptError(f"{target} cannot be written: {error.strerror}", FAILED) from None


def _tell(entry: flow.Entry, target: Path | None, host: str) -> None:
    for line in questions_text(entry.proposal.questions):
        word, _, text = line.partition(":")
        say(f"{colour(f'{word}:', 'red' if 'first' in word else 'yellow', sys.stderr)}{text}")
    if target is None:
        return
    option = f"-i {target}" if host else f"-e @{target}"
    what = "look at it, then" if entry.ready else "answer what is to be answered first, then"
    say(f"{colour('ok', 'green', sys.stderr)} {target} is written; {what}: ansible-playbook site.yml {option} --check")
