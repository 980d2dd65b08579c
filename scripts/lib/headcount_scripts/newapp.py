# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Looks at a Flask (or other WSGI) project and writes the inventory entry that makes it go live.

Its dependencies are gathered as a rollout would gather them, it is imported in a sandbox (a read-only copy, no network,
no home, none of your environment), its pages are asked for and weighed for a moment. Nothing of the project is written.

Without a project, and with a host, it writes the entries of what Gunicorn services of that host run today, each beside
the plan for it (playbooks/adopt.yml); nothing of the host is changed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from . import paths
from .console import Progress, ScriptError, colour, ended_by_signals, say

sys.path.insert(0, str(paths.ROOT / ".collections"))

from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import flow, sandbox
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import questions_text
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.refusals import Cannot
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.subject import Unknown, unwritable
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import Answers

HALF = "What is known without it is"
_BRIEF = 200
READY, FAILED, USAGE, ASKED, CANNOT = 0, 1, 2, 3, 4

EPILOG = """examples:
  scripts/new-app ../myapp                               writes myapp.yml; then: ansible-playbook site.yml -e @myapp.yml
  scripts/new-app ../myapp --host web1 --output inventories/mine/hosts.yml
  scripts/new-app https://git.example.com/shop.git@v1.4.2 --output -
  scripts/new-app httpbin==0.10.2 --output -

  scripts/new-app ../myapp --force --environment API_URL=https://api.example.com --requirements requirements/web.txt
  scripts/new-app --host web1 -i inventories/mine        writes adopted/web1/NAME.yml of each Gunicorn that runs there

exit codes: 0 an entry that can go live as it is, 1 it could not be looked at (network, disk), 2 wrong use,
3 an entry with a question that must be answered first, 4 the project cannot work as it is (the message says why).
With 1 and 4, what is known without a look is written all the same, and asks for the rest. Without a project they are
ansible-playbook's.
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
        "source",
        metavar="PATH|GIT|PIP",
        nargs="?",
        default="",
        help="a folder, a wheel, a repository's URL[@VERSION], or NAME==VERSION; left out: what runs on --host today",
    )
    result.add_argument(
        "--environment",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_variable,
        help="a variable that it needs; {data} in its value is its data, a secret is not written down; repeatable",
    )
    result.add_argument(
        "--requirements",
        action="append",
        default=[],
        metavar="FILE|REQUIREMENT",
        help="what it depends on, instead of what the project says itself; repeatable",
    )
    result.add_argument("--lock", default="", metavar="FILE", help="which file says the versions; no other one counts")
    result.add_argument(
        "--entry-point", default="", metavar="MODULE:OBJECT", help="the app, instead of what files and code say"
    )
    result.add_argument(
        "--python",
        default="",
        metavar="PATH|VERSION",
        help="the Python of this machine that it is looked at with (the one that new-app runs with)",
    )
    result.add_argument("--subdirectory", default="", metavar="FOLDER", help="the project within the source")
    result.add_argument("--name", default="", help="the app's name on its hosts (the project's)")
    result.add_argument(
        "--host", default="", metavar="NAME", help="write a whole inventory with this host, not only the variables"
    )
    result.add_argument("-i", "--inventory", metavar="PATH", help="without a project: where the host is (the lab's)")
    result.add_argument(
        "--output",
        metavar="FILE|-",
        help="where it goes; - is standard output (NAME.yml here; without a project a folder, adopted)",
    )
    result.add_argument("--force", action="store_true", help="overwrite the file")
    return result


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{name!r} has no value: allowed is NAME=VALUE")
    return name, value


def main(arguments: list[str], look_at: Callable[..., flow.Entry] = flow.entry) -> int:
    """Runs scripts/new-app with its arguments; returns the exit code."""
    command = parser()
    options = command.parse_args(arguments)
    if wrong := unwritable(options.output or ""):
        command.error(f"--output is {options.output!r}, which {wrong}")
    if not options.source:
        return _running(options, command)
    if options.inventory:
        command.error("--inventory is for what runs on a host already: leave the project out, or the inventory")
    target = None if options.output in (None, "-") else Path(options.output)
    _free(target, options.force)
    beside = (target.parent if target else Path.cwd()) if options.host and options.output != "-" else None
    if sandbox.best().told:
        say(f"{colour('note:', 'yellow', sys.stderr)} {sandbox.best().told}")
    try:
        with ended_by_signals(), Progress() as progress:
            tools = flow.Tools(paths.WORK / "wheelhouse", say=progress.say)
            entry = look_at(options.source, tools, options.host, beside, _answers(options))
    except flow.Unfinished as error:
        written = _put(error.entry, target, options)
        told = f"{_why(options.source, error.cause)}\n  {HALF} {_where(written)}"
        raise ScriptError(f"{told}, and asks for the rest{_way_on(error)}", _code(error.cause)) from None
    except Unknown as error:
        raise ScriptError(str(error), USAGE) from None
    except (Cannot, flow.WheelhouseError) as error:
        raise ScriptError(_why(options.source, error), _code(error)) from None
    target = _put(entry, target, options)
    _tell(entry, target, options.host)
    return READY if entry.ready else ASKED


def _running(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    """Has the entries of what runs on the host written; does not return, as ansible-playbook takes over."""
    if not options.host:
        command.error("say which project (PATH|GIT|PIP), or with --host NAME on which host it runs today")
    about = ("environment", "requirements", "lock", "entry_point", "subdirectory")
    given = [f"--{name.replace('_', '-')}" for name in about if getattr(options, name)]
    if given:
        command.error(f"{given[0]} is about a project: name it, or leave {given[0]} out")
    if options.output == "-":
        command.error("--output - is for a project: what runs on a host is written into a folder, by its names")
    inventory = options.inventory or str(paths.ROOT / "inventories" / "lab")
    inventory = os.path.abspath(inventory) if os.path.exists(inventory) else inventory
    variables = {"adopt_dest": os.path.abspath(options.output or "adopted"), "adopt_force": options.force}
    variables.update({"adopt_name": options.name} if options.name else {})
    words = ["ansible-playbook", "-i", inventory, "playbooks/adopt.yml", "--limit", options.host]
    os.environ["ANSIBLE_CONFIG"] = str(paths.ROOT / "ansible.cfg")
    os.chdir(paths.ROOT)
    os.execvp(words[0], [*words, "-e", json.dumps(variables)])


def _answers(options: argparse.Namespace) -> Answers:
    return Answers(
        options.name,
        dict(options.environment),
        tuple(options.requirements),
        options.lock,
        options.entry_point,
        options.subdirectory,
        options.python,
    )


def _put(entry: flow.Entry, target: Path | None, options: argparse.Namespace) -> Path | None:
    """Print the entry, or write it; the file that it is in then."""
    if options.output == "-":
        print(entry.text, end="")
        return None
    target = target or Path(f"{entry.proposal.entry['name']}.yml")
    _free(target, options.force)
    _write(target, entry.text)
    return target


def _where(written: Path | None) -> str:
    return f"in {written}" if written else "on standard output"


def _code(error: Exception) -> int:
    return FAILED if flow.again(error) else CANNOT


def _why(source: str, error: Exception) -> str:
    lines = ["".join(filter(str.isprintable, line)) for line in str(error).splitlines()]
    if flow.again(error):
        return f"{source} {flow.again(error)}"
    return f"{source} cannot work as it is:\n  " + "\n  ".join(lines)


def _way_on(error: flow.Unfinished) -> str:
    """How the look can be had all the same."""
    if _code(error.cause) == FAILED:
        return ". Call it again with --force once that is there"
    return (
        ".\n  Call it again with --force once that is put right, or with what it lacks: --environment NAME=VALUE, "
        "--requirements FILE,\n  --lock FILE, --entry-point MODULE:OBJECT, --subdirectory FOLDER, --python PATH"
    )


def _free(target: Path | None, force: bool) -> None:
    if target is None:
        return
    try:
        os.lstat(target)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # told before the look, which takes a while
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ScriptError(f"--output is {str(target)[:_BRIEF]!r}, which cannot be written: {why}", USAGE) from None
    if not force:
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
