# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Runs a command of scripts/: `run.py [--venv controller|test] COMMAND [ARGUMENT...]`.

COMMAND is a module of headcount_scripts with `main(arguments) -> exit code`. With `--venv` the virtual environment
is made complete first (headcount_scripts.bootstrap) and the command runs in it.
"""

from __future__ import annotations

import importlib
import os
import sys

from headcount_scripts import bootstrap, checkout, console, paths


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["--venv"]:
        python = bootstrap.ensure(arguments[1])
        os.environ["PATH"] = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        os.execv(python, [str(python), __file__, *arguments[2:]])
    wrong = checkout.problem(paths.ROOT)
    if wrong:
        raise console.ScriptError(wrong)
    command = importlib.import_module(f"headcount_scripts.{arguments[0]}")
    result: int = command.main(arguments[1:])
    return result


if __name__ == "__main__":
    sys.exit(console.guard(lambda: _run(sys.argv[1:])))
