# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Scalars that YAML would take for something else."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.render import flow, scalar
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.templates import read


@pytest.mark.parametrize(
    "value",
    ["plain", "yes", "null", "1", "1.5", "0.0.0.0:80", "/path", "a: b", "# x", "", " x", "{{ x }}", "[x]", 'a "b"', "é",
     "two\nlines", "a\u2028b", "\x1b[31m", "\x85", "\ufeff", "\U000e0001", "\U0001f600", "\x00",
     "12e3", "~", ".", "-", "2026-11-25", "0x1f", "a,b", "x#y", True, 3, 0.01],
)  # fmt: skip
def test_a_scalar_is_read_back(value: object) -> None:
    assert yaml.safe_load(scalar(value)) == value
    assert read(flow({"k": [value]})) == {"k": [value]}
