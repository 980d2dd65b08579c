# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The types of what crosses the edge to Ansible and to JSON: only here is a value whatever it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Variables = Mapping[str, Any]
"""The variables of a task, or of a host, as Ansible hands them over."""

Result = dict[str, Any]
"""The result of a task: what a module answered, and what an action returns."""

Json = Mapping[str, Any]
"""JSON on its way in, or that passes through unread: from a module's result to the notes, from there to the report."""
