# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What only a shell would act on is refused in a command, what is quoted is not; what looks like a folder is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.commands import command
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.fields import Invalid
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import (
    normalise_apps,
    redacted,
    warnings_for,
)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("flask db upgrade && flask seed", "&&"),
        ("flask db upgrade; flask seed", ";"),
        ("flask db upgrade ; flask seed", ";"),
        ("echo $GUEST_SECRET", "$GUEST_SECRET"),
        ("flask import ${HOME}/x", "${HOME}"),
        ('flask say "I am $USER"', "$USER"),
        ("""flask say "it's $USER" """, "$USER"),
        ("flask say $(date)", "$("),
        ("flask say `date`", "`"),
    ],
)
def test_what_is_for_a_shell_is_refused_without_one(text: str, what: str) -> None:
    with pytest.raises(Invalid) as refused:
        command(text)
    assert f"no shell reads it, so that {what} would be an argument" in str(refused.value)
    assert command(str(refused.value.fix)) == refused.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "python x.py 'a' ';'",
        'python x.py "&&"',
        "find {data} -name '*.tmp' -exec rm {} \\;",
        "find {data} -name '*.tmp' -exec rm {} ';'",
        "flask say '$HOME' \\$HOME \"\\$HOME\" 5$ $5",
        "sh -c 'echo $HOME && true'",
        '/bin/bash -c "echo $HOME"',
        'timeout 5 sh -c "echo $HOME"',
        "flask say 'a; b' \"c;\"",
    ],
)
def test_what_is_quoted_or_for_a_shell_that_is_there_passes(text: str) -> None:
    assert command(text) == text


def warned(**changes: Any) -> list[str]:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1", **changes}
    apps, problems = normalise_apps([app], "web1")
    assert problems == []
    return [words for words in warnings_for(App.from_dict(apps[0])) if "braces" in words or "{" in words]


def test_a_word_in_braces_where_a_folder_is_meant_is_told() -> None:
    tail = "which stands for no folder and is passed on as it is"
    assert warned(
        environment={"UPLOADS": "{dta}/x", "DATABASE_URL": "sqlite:///{nope}/x.db"},
        secrets={"KEY_FILE": "{dta}/key"},
        trial={"environment": {"UPLOADS": "{datas}/y"}},
        prepare=["flask migrate --db {dta}/x --to={data}/y"],
        processes={"beat": "celery beat -s {Data}/schedule"},
    ) == [
        f"shop: environment.UPLOADS has {{dta}}, {tail}: did you mean {{data}}?",
        f"shop: environment.DATABASE_URL has {{nope}}, {tail}: {{data}}, {{cache}} and {{logs}} stand for one",
        f"shop: trial.environment.UPLOADS has {{datas}}, {tail}: did you mean {{data}}?",
        f"shop: secrets.KEY_FILE has a word in braces, {tail}: {{data}}, {{cache}} and {{logs}} stand for one",
        f"shop: prepare[0].run has {{dta}}, {tail}: did you mean {{data}}?",
        f"shop: processes.beat.run has {{Data}}, {tail}: did you mean {{data}}?",
    ]


def test_a_brace_that_is_meant_is_not() -> None:
    values = ['{"a": "/x"}', "{message}", "http://x/{user}/y", "${HOME}/x", "{{dta}}/x", "{}/x", "a{b}/c", "log-{date}"]
    assert warned(environment={f"X{index}": value for index, value in enumerate(values)}) == []
    assert warned(prepare=["find {data} -exec rm {} ';'", "sh -c 'echo ${HOME}/x'"]) == []


def test_a_secret_in_raw_env_is_told_and_not_shown() -> None:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1"}
    gunicorn = {"raw_env": ["PASSWORD=hunter22", "REGION=eu", "URL=redis://u:hunter22@db/0"]}
    known = App.from_dict(normalise_apps([{**app, "gunicorn": gunicorn}], "web1")[0][0])
    tail = "keeps it out of gunicorn.conf.py and of all output"
    assert [words for words in warnings_for(known) if "raw_env" in words] == [
        f"shop: gunicorn.raw_env has PASSWORD, which looks like a secret; secrets.PASSWORD {tail}",
        f"shop: gunicorn.raw_env has URL, which looks like a secret; secrets.URL {tail}",
    ]
    assert dict(redacted(known).gunicorn or {})["raw_env"] == ["PASSWORD=(secret)", "REGION=eu", "URL=(secret)"]
