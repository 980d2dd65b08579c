# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for a candidate alone is told nobody else, and changes the generation as everything declared does."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.candidate import own_of
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.digests import (
    REDACTED,
    public_digest,
    redacted,
    secrets_digest,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.units import environment_file

APP: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop.wsgi:app",
    "listen": "0.0.0.0:8000",
    "environment": {"MODE": "live", "SCHEDULER": "on"},
    "secrets": {"DATABASE_URL": "postgresql://db/shop"},
}
TRIAL = {
    "environment": {"SCHEDULER": "off", "SCRATCH": "{data}/scratch", "API_TOKEN": "visible"},
    "secrets": {"DATABASE_URL": "sqlite:////tmp/scratch.db"},
}


def declared(**changes: Any) -> tuple[dict[str, Any], list[str]]:
    apps, problems = normalise_apps([{**APP, **changes}], "web1")
    return apps[0], [problem.text for problem in problems]


def test_all_instances_have_the_one_and_the_candidate_has_the_other_beside_it() -> None:
    app, problems = declared(trial=TRIAL)
    assert problems == []
    assert own_of(app["environment"], candidate=False) == APP["environment"]
    assert own_of(app["environment"], candidate=True) == {**TRIAL["environment"], "SCRATCH": "/var/lib/hc-shop/scratch"}
    common = environment_file(app["environment"], app["secrets"])
    alone = environment_file(app["environment"], app["secrets"], candidate=True)
    assert common == '# secrets: DATABASE_URL\nDATABASE_URL="postgresql://db/shop"\nMODE="live"\nSCHEDULER="on"\n'
    assert alone.splitlines()[0] == "# secrets: DATABASE_URL"
    assert 'DATABASE_URL="sqlite:////tmp/scratch.db"' in alone
    assert 'SCHEDULER="off"' in alone
    assert "MODE" not in alone


def test_a_change_of_it_is_a_change_of_the_declaration_and_of_the_secrets() -> None:
    plain, own = (App.from_dict(declared(**changes)[0]) for changes in ({}, {"trial": TRIAL}))
    assert public_digest(plain) != public_digest(own)
    assert secrets_digest(plain) != secrets_digest(own)
    assert declared(trial={})[0] == declared()[0]


def test_its_secrets_are_shown_nowhere() -> None:
    shown = redacted(App.from_dict(declared(trial=TRIAL)[0]))
    assert shown.secrets["trial:DATABASE_URL"] == REDACTED
    assert shown.environment["trial:API_TOKEN"] == REDACTED
    assert "scratch.db" not in repr(App.from_dict(declared(trial=TRIAL)[0]))


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        ({"environment": {"A": "1"}, "secrets": {"A": "2"}}, "trial.secrets.A is also under trial.environment"),
        ({"environment": {"HEADCOUNT_ROLE": "x"}}, "trial.environment.HEADCOUNT_ROLE has a name that is refused"),
        ({"environment": {"A": "{logs}/x"}}, "trial.environment.A names {logs}, and the app has no such folder"),
        ({"load": 1}, "trial.load is not known"),
    ],
)
def test_what_is_wrong_is_told_where_it_was_declared(trial: dict[str, Any], words: str) -> None:
    _, problems = declared(trial=trial)
    assert len(problems) == 1
    assert words in problems[0]
