# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The option of the tests of libraries under gevent and eventlet."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-results", action="store_true", help="write the measurements to results.json")
