# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Benchmarks. Each module whose name has no underscore in front is one: scripts/bench NAME. README.md says how."""
