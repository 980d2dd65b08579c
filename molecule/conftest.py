# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""pytest in a scenario: the fixture `scenario`, and a result file for each time that it verifies."""

from __future__ import annotations

from pathlib import Path

import pytest
from headcount_scenarios import Scenario, this_scenario


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A scenario may verify more than once: each time has a result file of its own."""
    wanted = getattr(config.option, "xmlpath", None)
    if wanted:
        path, number = Path(wanted), 2
        while path.exists():
            path = path.with_name(f"{Path(wanted).stem}-{number}.xml")
            number += 1
        config.option.xmlpath = str(path)


@pytest.fixture(scope="session")
def scenario() -> Scenario:
    """This scenario: its playbooks, its lab, its hosts."""
    return this_scenario()
