# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/bench: benchmarks; everything is in the package headcount_bench."""

from __future__ import annotations

from headcount_bench import _cli


def main(arguments: list[str]) -> int:
    """Runs scripts/bench with its arguments; returns the exit code."""
    return _cli.main(arguments)
