# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""`scripts/docs [--check]`: write what is generated, or say what is out of date and change nothing."""

from __future__ import annotations

import argparse
import sys

from headcount_scripts import console

from . import ROOT
from .generate import GenerateError, generated


def main(arguments: list[str]) -> int:
    """Exit code: 0 when everything is as generated, 1 when --check found a difference or a role cannot be generated."""
    parser = argparse.ArgumentParser(
        prog="scripts/docs", description="Writes docs/variables.md and the roles' argument_specs and defaults."
    )
    parser.add_argument("--check", action="store_true", help="say what is out of date, change nothing")
    check = parser.parse_args(arguments).check
    try:
        files = generated(ROOT)
    except GenerateError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{name} is out of date: call scripts/docs", file=sys.stderr)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        print(f"wrote {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(console.guard(lambda: main(sys.argv[1:])))
