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
    ("text", "fix"),
    [
        ("celery -A shop worker &", "celery -A shop worker"),
        ("nohup celery -A shop worker& ", "nohup celery -A shop worker"),
        ("sh -c 'celery -A shop worker &'", "sh -c 'celery -A shop worker'"),
        ("&", None),
    ],
)
def test_what_goes_into_the_background_is_told_to_stay(text: str, fix: str | None) -> None:
    with pytest.raises(Invalid, match="& puts it behind a shell, which ends at once") as refused:
        command(text)
    assert (refused.value.fix, refused.value.advice) == (fix, "" if fix else "remove the &")
    assert fix is None or command(fix) == fix


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("PGPASSWORD=x psql -c y", 'run: "psql -c y", with PGPASSWORD under environment, or under secrets'),
        ("A=1 B='2 3' psql 'y z'", "run: \"psql 'y z'\", with A, B under environment, or under secrets"),
        ("A=1 psql && true", "run: \"sh -c 'psql && true'\", with A under environment, or under secrets"),
        ("A=1", "put A under environment, or under secrets"),
    ],
)
def test_a_variable_before_the_program_is_set_by_no_shell(text: str, advice: str) -> None:
    with pytest.raises(Invalid, match=r"no shell reads it, so that [A-Z]+=\.\.\. would be its program") as refused:
        command(text)
    assert refused.value.advice == advice


@pytest.mark.parametrize(
    "text",
    [
        "env A=1 psql",
        "python x.py A=1",
        "sh -c 'A=1 psql'",
        "sh -c 'one & two & wait'",
        "sh -c 'one &&'",
        "curl http://x/?a=1&",
        "python x.py 'a &'",
        "python x.py \\&",
        "python x.py '&'",
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


@pytest.mark.parametrize(
    ("changes", "place", "meant"),
    [
        ({"processes": {"w": {"run": "a", "replicas": 2}}}, "processes.w.replicas", "instances"),
        ({"processes": {"w": {"run": "a", "mem_limit": 2}}}, "processes.w.mem_limit", "memory_mib"),
        ({"processes": {"w": {"run": "a", "cpus": 2}}}, "processes.w.cpus", "cores"),
        ({"processes": {"w": {"run": "a", "cron": "daily"}}}, "processes.w.cron", "schedule"),
        ({"trial": {"env": {"A": "1"}}}, "trial.env", "environment"),
        ({"trial": {"sec": {"A": "1"}}}, "trial.sec", "secrets"),
        ({"env": {"A": "1"}}, "env", "environment"),
        ({"health": {"path": "/", "url": "/"}}, "health.url", "path"),
    ],
)
def test_a_key_by_the_word_of_another_program_is_told_by_its_own(
    changes: dict[str, Any], place: str, meant: str
) -> None:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1", **changes}
    (problem,) = normalise_apps([app], "web1")[1]
    assert problem.text.startswith(f"headcount_apps[0].{place} is not known")
    assert problem.fix == f"did you mean {meant}?"


def test_a_list_that_is_given_as_one_string_is_told_as_that_list() -> None:
    app = {"name": "shop", "source": {"path": "app"}, "entry_point": "a:b", "listen": "0.0.0.0:1"}
    for wrong, fix in (("flask seed", 'prepare: ["flask seed"]'), ("a && b", 'prepare: ["flask db upgrade"]')):
        (problem,) = normalise_apps([{**app, "prepare": wrong}], "web1")[1]
        assert problem.fix == fix
