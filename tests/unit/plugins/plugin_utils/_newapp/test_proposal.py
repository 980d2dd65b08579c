# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The proposed entry: its values, their reasons, its questions, and that the preflight takes its text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp import flow, render
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.django import Django
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.draft import Proposal, Subject
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import (
    name_for,
    propose,
    questions_text,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.survey import Found
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.there import There
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.types import (
    Candidate,
    Command,
    Error,
    Hints,
    Imported,
    Page,
    Process,
    Variable,
    Weighed,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.variables import is_own_secret

SUBJECT = Subject({"path": "../shop"}, "My Shop", "taken as a tree: it has requirements.txt")
APP = Imported(
    "shop",
    "app",
    "flask",
    stage="done",
    routes=2,
    pages=(Page("/", 200, 3.0), Page("/healthz", 200, 1.0)),
    weighed=(Weighed("/", 100, 2.0, 0.0), Weighed("/healthz", 100, 0.1, 0.0)),
    candidate=Candidate("shop", "app", "Procfile"),
)


def proposal(app: Imported | None = APP, hints: Hints | None = None, **found: Any) -> Proposal:
    return propose(SUBJECT, hints or Hints(), Found(app, **found))


def questions(found: Proposal) -> str:
    return "\n".join(questions_text(found.questions))


def test_an_entry_goes_live_as_it_is() -> None:
    found = proposal()
    assert found.entry == {
        "name": "my-shop",
        "source": {"path": "../shop"},
        "entry_point": "shop:app",
        "listen": "0.0.0.0:8000",
        "profile": "cpu",
        "health": "/healthz",
        "load": {"paths": ["/"], "rate": 50, "seconds": 30},
        "limits": {"p95_ms": 250, "error_rate": 0.01},
    }
    assert not any(question.must for question in found.questions)


def test_an_app_that_insists_on_https_is_asked_as_its_users_do() -> None:
    found = proposal(replace(APP, https=True))
    assert found.entry["scheme"] == "https"
    assert "forwarded_allow_ips" in found.comments["scheme"]
    assert "scheme" not in proposal().entry


def test_one_that_does_not_hear_the_proxy_is_asked_about() -> None:
    found = proposal(replace(APP, pages=(Page("/", 301, insists=True), Page("/healthz", 200))))
    assert "how is it told that a proxy takes https off? / leads to https of itself" in questions(found)
    assert "scheme" not in found.entry
    assert "https" not in questions(proposal())


def test_a_service_whose_place_the_code_says_is_asked_about_once() -> None:
    hints = Hints(addresses=(("Redis", "localhost", "shop.py:3"), ("Redis", "redis://cache/1", "tasks.py:7")))
    asked = questions(proposal(hints=hints))
    assert "which Redis is it to use on a host? The code itself says where one is: localhost (shop.py:3)" in asked
    assert "redis://cache/1 (tasks.py:7)" in asked
    called = questions(proposal(replace(APP, peers=("localhost:6379",)), hints))
    assert "says where one is: redis://cache/1 (tasks.py:7). One" in called
    assert "which Redis" not in questions(proposal(replace(APP, peers=("localhost:6379", "cache:6379")), hints))


def test_each_value_has_its_reason_in_the_text() -> None:
    text = render.text(proposal(), heading=["Written here."])
    assert "taken as a tree: it has requirements.txt" in text
    assert "Procfile; imported here: a Flask app with 2 routes" in text
    assert "weighed on this machine, one request at a time: / 2 ms" in " ".join(text.replace("#", "").split())
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("host", ["", "web1"])
def test_the_text_is_read_back_as_the_entry_and_passes_the_preflight(host: str) -> None:
    hints = Hints(variables={"MODE": ('say "hi": #1', ".flaskenv")}, timeout=120)
    app = replace(
        APP, variables=(Variable("MODE"), Variable("SECRET_KEY", "dev")), required={"TOKEN": "x"}, import_seconds=12
    )
    found = proposal(app, hints, streams=("LOG_TO_STDOUT",))
    text = render.text(found, host)
    flow.check(found, text)
    read = yaml.safe_load(text)
    assert list(read) == (["all"] if host else ["headcount_apps"])
    assert not host or read["all"]["hosts"] == {"web1": None}


def test_a_fault_of_the_text_is_found_before_it_is_written() -> None:
    found = proposal()
    with pytest.raises(AssertionError, match="not what is read back"):
        flow.check(found, render.text(found).replace("shop:app", "shop:other"))
    broken = replace(found, entry={**found.entry, "listen": "nowhere"})
    with pytest.raises(AssertionError, match=r"does not pass the preflight(.|\n)*listen"):
        flow.check(broken, render.text(broken))


@pytest.mark.parametrize(("ms", "rate", "seconds"), [(0.1, 50, 30), (10.0, 30, 30), (100.0, 3, 176), (2000.0, 1, 528)])
def test_the_load_is_modest_and_enough_for_the_limits(ms: float, rate: int, seconds: int) -> None:
    found = proposal(replace(APP, weighed=(Weighed("/", 9, ms, 0.0),)))
    load = found.entry["load"]
    assert (load["rate"], load["seconds"]) == (rate, seconds)
    flow.check(found, render.text(found))


def test_what_waits_for_others_out_of_reach_is_taken_as_mixed() -> None:
    found = proposal(replace(APP, libraries=frozenset({"psycopg2", "flask"})))
    assert found.entry["profile"] == "mixed"
    assert "it can wait for PostgreSQL, which was out of reach here" in found.comments["profile"]
    assert proposal(replace(APP, weighed=(Weighed("/", 9, 1.0, 60.0),))).entry["profile"] == "io"
    assert proposal(replace(APP, weighed=())).entry["profile"] == "mixed"


def test_a_variable_that_it_cannot_do_without() -> None:
    hints = Hints(examples={"MODE": ("live", ".env.example"), "API_TOKEN": ("xxx", ".env.example")})
    app = replace(
        APP,
        required={"SECRET_KEY": "x", "MODE": "live", "API_TOKEN": "xxx"},
        variables=(Variable("API_TOKEN", None, True, ("config.py:7",)),),
    )
    found = proposal(app, hints)
    assert found.entry["environment"] == {"MODE": "live"}
    assert found.entry["secrets"]["API_TOKEN"] == "{{ vault_my_shop_api_token }}"
    assert "ansible.builtin.password" in found.entry["secrets"]["SECRET_KEY"]
    assert [question.text for question in found.questions if question.must] == [
        "what is API_TOKEN? The app does not start without it (config.py:7): set vault_my_shop_api_token, or write the "
        "value here"
    ]


def test_a_secret_with_a_default_in_the_code_gets_a_real_one() -> None:
    found = proposal(replace(APP, variables=(Variable("SECRET_KEY", "dev"), Variable("MAIL_SERVER"))))
    assert list(found.entry["secrets"]) == ["SECRET_KEY"]
    assert "instead of the default that the code shows" in found.comments["secrets.SECRET_KEY"]
    assert "MAIL_SERVER" in found.notes[-1]


@pytest.mark.parametrize(
    ("name", "own"),
    [("SECRET_KEY", True), ("MY_SHOP_SECRET_KEY", True), ("SECURITY_PASSWORD_SALT", True), ("JWT_SECRET_KEY", True),
     ("AWS_SECRET_KEY", False), ("GOOGLE_CLIENT_SECRET", False), ("JWT_AUTH_ISSUER", False),
     ("CSRF_TIME_LIMIT", False)],
)  # fmt: skip
def test_which_secrets_may_be_any_value(name: str, own: bool) -> None:
    assert is_own_secret(name, "My Shop") is own


def test_what_it_writes_into_its_own_folder_is_asked_first() -> None:
    failed = ((Candidate("shop"), Error("OSError", "Read-only file system: 'logs'", "shop.py:9", read_only=True)),)
    found = proposal(replace(APP, written={"logs": "folder"}), writes=True, failed=failed)
    assert "QUESTION, to be answered first: where is it to write logs?" in questions(found)
    assert "(shop.py:9)" in questions(found)
    logged = proposal(streams=("LOG_TO_STDOUT",))
    assert logged.entry["environment"] == {"LOG_TO_STDOUT": "1"}


@pytest.mark.parametrize(("libraries", "file"), [({"pymongo"}, False), ({"psycopg2", "sqlalchemy"}, True)])
def test_a_file_is_proposed_for_a_database_where_the_app_may_have_one(libraries: set[str], file: bool) -> None:
    told = questions(proposal(replace(APP, variables=(Variable("DATABASE_URL"),), libraries=frozenset(libraries))))
    assert "which database is it to use?" in told
    assert ("a file that is kept" in told) is file


def test_other_django_projects_of_a_repository_are_named() -> None:
    known = Django("source_final/manage.py", elsewhere=("source_step_1/manage.py", "source_step_2/manage.py"))
    told = questions(proposal(replace(APP, kind="django"), Hints(django=known)))
    assert "source_final/manage.py was taken, and source_step_1, source_step_2 have another one" in told
    assert "which Django project" not in questions(proposal(replace(APP, kind="flask"), Hints(django=known)))


def test_what_was_compiled_here_needs_a_compiler_where_it_is_released() -> None:
    found = propose(replace(SUBJECT, compiled=("markupsafe 2.1.1", "uwsgi 2.0.22")), Hints(), Found(APP))
    (question,) = found.questions
    assert question.must
    assert "uwsgi 2.0.22, markupsafe 2.1.1: no wheel fits this Python" in question.text
    (bare,) = propose(replace(SUBJECT, compiled=("markupsafe 2.1.1",)), Hints(), Found(APP)).questions
    assert not bare.must
    assert "needs gcc and python3-dev" in question.text


@pytest.mark.parametrize("writes", [True, False])
def test_links_that_it_makes_into_its_release_are_those_of_a_generation(writes: bool) -> None:
    app = replace(
        APP,
        written={"app/build/a.css": "link", "bangs.json": "file"},
        written_at={"app/build/a.css": "app/__init__.py:224"},
    )
    found = proposal(app, leads=("bangs.json",), anew=("app/build/",), writes=writes)
    assert found.entry["data"] == {"paths": ["bangs.json"], "built": ["app/build"]}
    assert "links into its own release in app/build (app/__init__.py:224)" in found.comments["data.built"]
    assert not found.questions
    flow.check(found, render.text(found))


def test_static_files_are_collected_into_no_folder_of_a_generation() -> None:
    known = Django("manage.py", settings=(("site.settings", "manage.py"),))
    app = replace(APP, kind="django", static_root="static", written={"static/build/a.css": "link"})
    found = proposal(app, Hints(django=known), anew=("static/build/",))
    assert found.entry["data"] == {"built": ["static/build"]}
    assert "where are its static files to be collected?" in questions(found)
    flow.check(found, render.text(found))


def test_its_life_is_asked_about() -> None:
    hints = Hints(
        processes=(Process("worker", "rq worker", "Procfile"),),
        migrations=(("migrations", "flask db upgrade"),),
        sessions=("shop.py:1",),
    )
    app = replace(
        APP,
        databases=("sqlite:///app.db",),
        variables=(Variable("DATABASE_URL"),),
        peers=("localhost:6379",),
        debug=True,
        other_host=400,
        has_secret_key=False,
    )
    found = proposal(app, hints)
    told = questions(found)
    assert found.entry["environment"] == {"DATABASE_URL": "sqlite:///{data}/my-shop.db"}
    assert found.entry["prepare"] == ["flask db upgrade"]
    assert found.entry["processes"] == {"worker": "rq worker"}
    for words in ("it called localhost:6379 here", "which names do users ask for?",
                  "debug mode", "where does its SECRET_KEY come from?"):  # fmt: skip
        assert words in told
    assert told.count("first") == 1


@pytest.mark.parametrize(
    ("files", "entry"),
    [
        ({"shop/app.db"}, {"data": {"paths": ["shop/app.db"]}}),
        (set(), {"environment": {"DATABASE_URL": "sqlite:///{data}/my-shop.db"}}),
    ],
)
def test_a_database_that_the_project_ships_is_copied_to_the_data_and_not_begun_anew(
    files: set[str], entry: dict[str, object]
) -> None:
    app = replace(APP, databases=("sqlite:///shop/app.db",), variables=(Variable("DATABASE_URL"),))
    found = propose(replace(SUBJECT, there=There(frozenset(files))), Hints(), Found(app))
    assert {key: found.entry.get(key) for key in entry} == entry


@pytest.mark.parametrize(("files", "words"), [({".env"}, "is shipped, as git tracks it"), (set(), "is not shipped.")])
def test_whether_a_file_of_values_is_shipped_is_told_as_it_is(files: set[str], words: str) -> None:
    app = replace(APP, variables=(Variable("DEBUG"),))
    found = propose(replace(SUBJECT, there=There(frozenset(files))), Hints(kept={"DEBUG": ".env"}), Found(app))
    assert words in questions(found)


@pytest.mark.parametrize("name", ["REDIS_URL", "CELERY_BROKER", "CELERY_BROKER_URL", "RABBITMQ_HOST"])
def test_a_process_whose_queue_nobody_knows_is_a_question(name: str) -> None:
    hints = Hints(
        processes=(Process("worker", "rq worker mail", "Procfile"), Process("clock", "python clock.py", "Procfile"))
    )
    app = replace(APP, variables=(Variable(name, "redis://"),), libraries=frozenset({"rq"}))
    found = propose(SUBJECT, hints, Found(app))
    assert "what runs its tasks" not in questions(
        propose(SUBJECT, replace(hints, processes=hints.processes[:1]), Found(app))
    )
    assert found.entry["processes"] == {"clock": "python clock.py"}
    assert f"Nothing says {name}" in questions(found)
    assert "add processes: {worker: rq worker mail}" in questions(found)
    known = propose(SUBJECT, hints, Found(replace(app, required={name: "x"})))
    assert known.entry["processes"] == {"worker": "rq worker mail", "clock": "python clock.py"}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("celery --app shop flower --broker=redis://redis:6379/0", "redis is a name that only a compose file"),
        ("rq worker -u redis://:pass@queue", "queue is a name that only a compose file"),
        ("rq worker -u redis://localhost:6379", ""),
        ("rq worker -u redis://queue.example.com/0", ""),
        ("celery -A shop worker --logfile=logs/celery.log", "logs/celery.log is in the release, which is read-only"),
        ("celery -A shop worker --pidfile logs/celery.pid", "leave --pidfile out"),
        ("celery -A shop worker --logfile=/var/log/shop/celery.log", ""),
        ("celery -A shop worker --pidfile= --loglevel=info", ""),
        ("celery -A shop worker --logfile={data}/celery.log", ""),
    ],
)
def test_a_process_that_is_written_for_another_place_is_a_question(command: str, words: str) -> None:
    found = propose(SUBJECT, Hints(processes=(Process("worker", command, "docker-compose.yml"),)), Found(APP))
    assert found.entry.get("processes") == (None if words else {"worker": command})
    assert words in questions(found)


def test_commands_and_processes_are_proposed() -> None:
    hints = Hints(
        processes=(
            Process("Worker_1", "celery -A shop worker", "Procfile"),
            Process("beat", "celery -A shop beat", "Procfile"),
            Process("mail", "MODE=mail python -m shop.mail --to $TO", "Procfile"),
        ),
        prepares=(Command("flask db upgrade", "boot.sh"),),
        migrations=(("migrations", "flask db upgrade --directory migrations"),),
        before=(Command("flask translate compile", "Procfile"),),
    )
    found = proposal(replace(APP, databases=("sqlite:///instance/shop.db",)), hints)
    assert found.entry["prepare"] == [{"run": "flask db upgrade", "each_host": True}]
    assert found.entry["processes"] == {
        "worker1": "celery -A shop worker",
        "beat": "celery -A shop beat -s {data}/celerybeat-schedule",
        "mail": "sh -c 'MODE=mail python -m shop.mail --to $TO'",
    }
    text = render.text(found)
    flow.check(found, text)
    assert "one for the whole fleet" in text
    assert "Procfile runs `flask translate compile` before the server: what for?" in questions(found)


@pytest.mark.parametrize(
    ("databases", "origin", "prepared"),
    [
        (("sqlite:///db.sqlite3",), "manage.py", ["python manage.py migrate --noinput"]),
        (("postgresql",), "manage.py", ["python manage.py migrate --noinput"]),
        ((), "manage.py", []),
        (("postgresql",), "Procfile", []),
    ],
)
def test_a_django_project_has_the_tables_of_djangos_own_apps(
    databases: tuple[str, ...], origin: str, prepared: list[str]
) -> None:
    site = Candidate("site.wsgi", "application", origin)
    found = proposal(replace(APP, kind="django", databases=databases), Hints(candidates=(site,)))
    runs = [command["run"] if isinstance(command, dict) else command for command in found.entry.get("prepare", [])]
    assert runs == prepared
    flow.check(found, render.text(found))


def test_the_name_that_its_settings_allow_is_what_checks_and_load_ask_for() -> None:
    found = proposal(replace(APP, kind="django", host="shop.example.com", other_host=400))
    assert found.entry["host"] == "shop.example.com"
    assert "QUESTION: which names do users ask for? It answers 400 to any but shop.example.com" in questions(found)
    flow.check(found, render.text(found))
    assert "host" not in proposal(replace(APP, host="localhost")).entry


@pytest.mark.parametrize(("status", "first"), [(400, True), (404, False)])
def test_an_app_that_refuses_every_name_of_users_does_not_go_live_so(status: int, first: bool) -> None:
    found = proposal(replace(APP, kind="django", pages=(Page("/", 302, 3.0),), other_host=status))
    (question,) = [item for item in found.questions if "which names do users ask for?" in item.text]
    assert question.must is first


def test_a_project_that_allows_no_name_is_asked_for_one_first() -> None:
    app = replace(APP, kind="django", host="localhost", pages=(Page("/", 400, 3.0),), weighed=())
    found = proposal(app)
    assert [question.text for question in found.questions if question.must and "ALLOWED_HOSTS" in question.text]
    assert found.entry["health"] == "/"  # no 400 that would pass


def test_what_is_installed_may_lack_its_migrations() -> None:
    subject = replace(SUBJECT, is_tree=False)
    found = propose(subject, Hints(migrations=(("migrations", "flask db upgrade"),)), Found(APP))
    assert "prepare" not in found.entry
    assert "does flask db upgrade work with what is installed of the project" in questions(found)


def test_workers_that_nobody_declares_are_asked_about() -> None:
    assert "what runs its tasks? The app imports rq" in questions(proposal(replace(APP, libraries=frozenset({"rq"}))))


@pytest.mark.parametrize(
    ("library", "name", "service"),
    [("redis", "REDIS_HOST", "Redis"), ("redis", "SNAP_REDIS_URL", "Redis"), ("psycopg2", "DB_HOST", "PostgreSQL"),
     ("pymongo", "MONGODB_HOST", "MongoDB"), ("elasticsearch", "ELASTICSEARCH_URL", "Elasticsearch")],
)  # fmt: skip
def test_a_service_that_it_would_call_later_is_asked_about(library: str, name: str, service: str) -> None:
    app = replace(APP, libraries=frozenset({library}), variables=(Variable(name, "localhost"),))
    assert f"where is its {service}? It has called none here" in questions(proposal(app))
    assert f"{name} (localhost) says where" in questions(proposal(app))
    assert "where is its" not in questions(proposal(app, Hints(given={name: "10.1.2.3"})))
    assert "where is its" not in questions(proposal(replace(app, libraries=frozenset())))
    assert "where is its" not in questions(proposal(replace(app, variables=(Variable("REDIS_PREFIX", "x"),))))


def test_an_app_that_calls_a_peer_while_it_is_imported_is_proposed_with_a_question() -> None:
    stand = Imported("shop", "app", peers=("localhost:6379",), error=Error("ConnectionError", "no", "shop.py:3"),
                     candidate=Candidate("shop", "", "shop.py holds app"))  # fmt: skip
    found = proposal(None, unreached=stand)
    assert found.entry["entry_point"] == "shop:app"
    assert "to be answered first: can the host reach localhost:6379?" in questions(found)


def test_a_privileged_port_is_left_to_the_proxy() -> None:
    found = proposal(hints=Hints(listen="0.0.0.0:80", listen_origin="Dockerfile's EXPOSE"))
    assert found.entry["listen"] == "0.0.0.0:8000"
    assert proposal(hints=Hints(listen="127.0.0.1:5000", listen_origin="Procfile")).entry["listen"] == "127.0.0.1:5000"


def test_folders_of_modules_are_on_the_path() -> None:
    assert propose(SUBJECT, Hints(), Found(APP), "src").entry["environment"] == {"PYTHONPATH": "src"}


@pytest.mark.parametrize(
    ("project", "name"),
    [("My Shop", "my-shop"), ("flask_realworld_example_app", "flask-realworld-example"), ("007", "app"),
     ("x-trial", "x"),      ("wheels", "wheels-app"), ("---", "app")],
)  # fmt: skip
def test_a_name_that_hosts_take(project: str, name: str) -> None:
    assert name_for(project) == name


@pytest.mark.parametrize("kind", ["django", "flask"])
def test_a_database_beside_the_code_is_kept(kind: str) -> None:
    site = proposal(replace(APP, kind=kind, databases=("sqlite:///db.sqlite3",)))
    assert site.entry["data"] == {"paths": ["db.sqlite3"]}
    assert "database" not in questions(site)


@pytest.mark.parametrize(
    ("default", "value"),
    [("/tmp/notes.db", "{data}/notes.db"), ("sqlite:////tmp/notes.db", "sqlite:///{data}/notes.db")],
)
def test_a_variable_that_is_its_database_by_default_leads_to_the_data(default: str, value: str) -> None:
    app = replace(APP, written={"/tmp/notes.db": "sqlite"}, variables=(Variable("NOTES_AT", default),))
    found = proposal(app)
    assert found.entry["environment"] == {"NOTES_AT": value}
    assert "database" not in questions(found)


def test_a_database_elsewhere_is_asked_about() -> None:
    told = questions(proposal(replace(APP, databases=("sqlite:////opt/shop/app.db",))))
    assert "first: where is it to keep its database? sqlite:////opt/shop/app.db is nothing that a host keeps" in told


def test_a_database_that_nobody_knows_is_asked_about_first() -> None:
    hints = Hints(prepares=(Command("alembic upgrade head", "boot.sh"),))
    app = replace(APP, variables=(Variable("DATABASE_URL"),))
    told = questions(proposal(app, hints))
    assert "to be answered first: which database is it to use? The code reads DATABASE_URL" in told
    assert 'environment: {DATABASE_URL: "sqlite:///{data}/my-shop.db"}' in told
    for value in ("sqlite:///{data}/shop.db", "postgresql://shop:word@db/shop"):  # of which one becomes a secret
        assert "which database" not in questions(proposal(app, replace(hints, given={"DATABASE_URL": value})))


def test_what_it_writes_beside_its_code_leads_to_its_data() -> None:
    app = replace(APP, written={"logs/shop.log": "file", "app.db": "sqlite", "cache": "file"})
    told = propose(SUBJECT, Hints(), Found(app, leads=("app.db", "logs/")))
    assert told.entry["data"] == {"paths": ["app.db", "logs/"]}
    assert "it tries to write cache into its own folder" in questions(told)
    assert "logs" not in questions(told)
    named = replace(app, variables=(Variable("DATABASE_URL"),))
    assert propose(SUBJECT, Hints(), Found(named, leads=("app.db", "logs/"))).entry["data"] == {"paths": ["logs/"]}


@pytest.mark.parametrize("writes", [True, False])
def test_what_a_package_writes_into_the_folder_that_it_runs_in_has_to_be_named_by_its_settings(writes: bool) -> None:
    failed = ((APP.candidate, Error("OSError", "Read-only file system: 'uploads'", "till/store.py:9")),)
    found = proposal(replace(APP, written={"./uploads": "folder"}), writes=writes, failed=failed)
    (question,) = found.questions
    assert question.must is writes
    assert "where is it to write uploads? It names no folder for that" in question.text
    assert "name a folder in the app's data (`{data}`, data.folders), or take the project as it is" in question.text


@pytest.mark.parametrize("tree", [True, False])
@pytest.mark.parametrize("name", ["shop.db", "db/shop.db"])
@pytest.mark.parametrize("seen", ["written", "databases", "both"])
def test_a_database_in_the_folder_that_a_package_runs_in_is_asked_about_first(tree: bool, name: str, seen: str) -> None:
    app = replace(
        APP,
        written={f"./{name}": "sqlite"} if seen != "databases" else {},
        databases=(f"sqlite:///./{name}",) if seen != "written" else (),
    )
    found = propose(replace(SUBJECT, is_tree=tree), Hints(), Found(app))
    (question,) = found.questions
    assert question.must
    assert f"where is it to write {name}? It names no folder for that" in question.text
    assert "data" not in found.entry
    flow.check(found, render.text(found))
    named = replace(app, variables=(Variable("SHOP_DB", name),))
    led = propose(replace(SUBJECT, is_tree=tree), Hints(), Found(named))
    assert led.entry["environment"] == {"SHOP_DB": "{data}/shop.db"}
    assert not any(question.must for question in led.questions)


def test_a_database_above_the_project_leads_nowhere() -> None:
    found = proposal(replace(APP, databases=("sqlite:///../shop.db",)))
    assert "data" not in found.entry
    assert "to be answered first: where is it to keep its database?" in questions(found)


def test_a_database_that_is_in_the_data_already_is_no_question() -> None:
    hints = Hints(given={"SHOP_FILE": "{data}/shop.db"})
    app = replace(
        APP,
        databases=("sqlite:///{data}/shop.db",),
        variables=(Variable("SHOP_FILE"),),
        setup="init-db",
        made=("{data}/shop.db",),
    )
    found = proposal(app, hints)
    assert found.questions == ()
    assert "data" not in found.entry
    assert found.entry["prepare"] == [{"run": "flask init-db", "creates": "{data}/shop.db"}]
    flow.check(found, render.text(found))


def test_what_it_writes_into_its_instance_folder_is_kept_by_itself() -> None:
    written = {"instance": "folder", "instance/data.db": "sqlite"}
    failed = ((Candidate("shop"), Error("OSError", "Read-only file system: 'instance'", "shop.py:9", read_only=True)),)
    app = replace(APP, written=written, databases=("sqlite:///instance/data.db",))
    told = questions(proposal(app, writes=True, failed=failed))
    assert "instance" not in told
    assert "SQLite" not in told
    more = questions(proposal(replace(app, written={**written, "logs": "folder"}), writes=True, failed=failed))
    assert "to be answered first: where is it to write logs?" in more


@pytest.mark.parametrize(
    "app",
    [
        replace(APP, databases=("sqlite:////tmp/shop.db",), written={"/tmp/shop.db": "sqlite"}),
        replace(APP, written={"/tmp/shop.db": "sqlite"}),
    ],
)
def test_a_database_that_a_host_would_lose_is_asked_about_first(app: Imported) -> None:
    told = questions(proposal(app))
    assert "to be answered first: where is it to keep its database?" in told
    assert "/tmp/shop.db is lost with each generation: lead it into the app's data" in told
    named = proposal(replace(app, variables=(Variable("DATABASE_URL"),)))
    assert named.entry["environment"] == {"DATABASE_URL": "sqlite:///{data}/my-shop.db"}
    assert "first" not in questions(named)


NO_SECRET = replace(APP, has_secret_key=False)


def test_a_secret_key_is_asked_for_where_the_code_uses_the_session() -> None:
    assert "SECRET_KEY" not in questions(proposal(NO_SECRET))
    told = questions(proposal(NO_SECRET, Hints(sessions=("shop/views.py:3",))))
    assert "where does its SECRET_KEY come from? It sets none, and shop/views.py:3 uses the session" in told


def test_a_secret_key_that_the_code_takes_from_a_variable_of_its_prefix_is_made() -> None:
    hints = Hints(sessions=("shop/views.py:3",), prefixes=("SHOP",))
    found = proposal(NO_SECRET, hints)
    assert list(found.entry["secrets"]) == ["SHOP_SECRET_KEY"]
    assert "SECRET_KEY" not in questions(found)
    assert "secrets" not in proposal(replace(APP, has_secret_key=True), hints).entry


def test_what_can_be_left_to_the_host_is_no_question() -> None:
    found = proposal()
    assert found.questions == ()
    assert "concurrency: N says how many" in " ".join(found.notes)


LACKING = Page("/list", 500, error="OperationalError: no such table: post")


@pytest.mark.parametrize(
    ("made", "variables", "creates"),
    [("instance/shop.sqlite", {}, "{data}/instance/shop.sqlite"),
     ("shop.db", {"DATABASE_URL": "sqlite:///shop.db"}, "{data}/shop.db")],
)  # fmt: skip
def test_the_command_that_makes_its_tables_is_run_where_there_are_none(
    made: str, variables: dict[str, str], creates: str
) -> None:
    app = replace(
        APP,
        setup="init-db",
        made=(made,),
        written={made: "sqlite"},
        databases=tuple(variables.values()),
        variables=tuple(Variable(name, default) for name, default in variables.items()),
    )
    found = proposal(app)
    assert found.entry["prepare"] == [{"run": "flask init-db", "creates": creates}]
    assert found.questions == ()
    flow.check(found, render.text(found))


def test_what_migrates_a_django_project_without_its_program_is_asked_about() -> None:
    app = replace(APP, kind="django", setup="django-admin migrate --noinput", made=("{data}/shop.db",))
    found = proposal(app)
    assert "prepare" not in found.entry
    assert "which command makes its tables? `django-admin migrate --noinput` did so here" in questions(found)


def test_tables_that_a_command_makes_elsewhere_are_asked_about() -> None:
    """On a server that all hosts share, and that may hold something, a first setup is nothing for each release."""
    found = proposal(replace(APP, setup="init-db", databases=("postgresql://***@db/shop",)))
    assert "prepare" not in found.entry
    assert "which command makes its tables? `flask init-db` did so here: is it right for" in questions(found)


def test_a_page_that_lacks_a_table_is_told_with_it() -> None:
    told = questions(proposal(replace(APP, pages=(*APP.pages, LACKING))))
    assert "which command makes its tables? GET /list fails with OperationalError: no such table: post. Nothing" in told
    migrated = proposal(replace(APP, pages=(*APP.pages, LACKING)), Hints(prepares=(Command("flask db upgrade", "x"),)))
    assert "which command makes its tables" not in questions(migrated)


def test_a_file_of_settings_says_where_a_database_is() -> None:
    app = replace(APP, databases=("sqlite:////tmp/shop.db",), variables=(Variable("SHOP_SETTINGS_FILE_PATH"),))
    assert "lead it into the app's data by a file that SHOP_SETTINGS_FILE_PATH names" in questions(proposal(app))


def test_a_folder_that_has_to_be_there_is_made_and_named() -> None:
    app = replace(APP, required={"PAGES": "{data}/pages"}, variables=(Variable("PAGES"),))
    found = proposal(app, folders=("pages",), repositories=("pages",))
    assert found.entry["environment"] == {"PAGES": "{data}/pages"}
    assert found.entry["data"] == {"folders": ["pages"]}
    assert found.entry["prepare"] == [{"run": "git init {data}/pages", "each_host": True}]
    assert "is git on the host?" in questions(found)
    assert not any(question.must for question in found.questions)
    flow.check(found, render.text(found))


def test_a_database_in_memory_goes_to_the_data_where_a_variable_names_it() -> None:
    app = replace(APP, databases=("sqlite:///:memory:",), variables=(Variable("DATABASE_URL"),))
    assert proposal(app).entry["environment"] == {"DATABASE_URL": "sqlite:///{data}/my-shop.db"}


def test_a_database_that_a_variable_leads_to_the_data_is_no_file_in_its_folder() -> None:
    app = replace(APP, databases=("sqlite:///shop/shop.db",), variables=(Variable("DATABASE_URL"),),
                  written={"shop/shop.db": "sqlite"})  # fmt: skip
    found = proposal(app)
    assert found.entry["environment"] == {"DATABASE_URL": "sqlite:///{data}/my-shop.db"}
    assert "shop.db" not in questions(found)


def test_what_a_person_gives_is_in_the_entry_and_no_secret_of_it_is() -> None:
    hints = Hints(
        given={"API_URL": "https://api", "API_TOKEN": "hunter22", "DATABASE_URL": "postgresql://a:hunter22@db/a"}
    )
    found = proposal(replace(APP, required={"API_TOKEN": "hunter22"}), hints)
    text = render.text(found)
    assert found.entry["environment"] == {"API_URL": "https://api"}
    assert found.entry["secrets"] == {
        "API_TOKEN": "{{ vault_my_shop_api_token }}", "DATABASE_URL": "{{ vault_my_shop_database_url }}",
    }  # fmt: skip
    assert "hunter22" not in text
    assert sum(question.must for question in found.questions) == 2
    flow.check(found, text)


def test_what_a_person_gives_is_a_secret_by_any_part_of_its_name_or_value() -> None:
    given = {"DBPASS": "hunter22", "BROKER": "Endpoint=x;AccountKey=hunter22", "KEY_FOLDER": "{data}/keys"}
    found = proposal(hints=Hints(given=given))
    assert found.entry["environment"] == {"KEY_FOLDER": "{data}/keys"}
    assert list(found.entry["secrets"]) == ["DBPASS", "BROKER"]
    assert "hunter22" not in render.text(found)


def test_secrets_in_the_code_are_told_with_their_places() -> None:
    hints = Hints(written=(("SECRET_KEY", "app.py:3"), ("URL", "db.py:9")))
    told = questions(proposal(hints=hints))
    assert "where SECRET_KEY (app.py:3), URL (db.py:9) is written?" in told
    read = replace(APP, variables=(Variable("SECRET_KEY", "dev"),))
    assert "SECRET_KEY (app.py:3)" not in questions(proposal(read, hints))


def test_an_app_whose_import_takes_too_long_is_asked_about() -> None:
    error = Error("TooLong", "the import took longer than 60 s")
    stand = replace(APP, error=error, pages=(), weighed=(), stage="import")
    found = proposal(None, unreached=stand)
    assert "what does its import wait for? Here, without a network, the import took longer than 60 s" in questions(
        found
    )
    assert "can the host reach" not in questions(found)
    assert [question.must for question in found.questions].count(True) == 1
    flow.check(found, render.text(found))


def test_an_app_that_answers_to_nothing_is_asked_about_first() -> None:
    found = proposal(replace(APP, rules=0))
    assert "what gives the app its pages? shop:app answers to no address" in questions(found)
    assert any(question.must for question in found.questions)
    assert "what gives the app its pages" not in questions(proposal(replace(APP, rules=2)))


DJANGO = Django("manage.py", (("site.settings", "manage.py"),))
SITE = replace(
    APP,
    kind="django",
    settings_module="site.settings",
    commands={"migrate": (), "collectstatic": ()},
    static_root="staticfiles",
)


def with_tree(app: Imported, hints: Hints, *files: str) -> Proposal:
    there = There(frozenset(files), frozenset(["flask", "celery"]))
    found = propose(replace(SUBJECT, there=there), hints, Found(app))
    flow.check(found, render.text(found))
    return found


def test_a_command_that_is_not_there_is_a_question() -> None:
    app = replace(APP, commands={"db": (), "db migrate": (), "db reset": ()})
    hints = Hints(
        processes=(Process("worker", "work --all", "Procfile"), Process("tasks", "celery -A shop worker", "Procfile")),
        prepares=(Command("cmd migrate", "bin/start"),),
        migrations=(("db", "flask db upgrade --directory db"),),
    )
    found = with_tree(app, hints)
    assert "prepare" not in found.entry
    assert found.entry["processes"] == {"tasks": "celery -A shop worker"}
    text = questions(found)
    assert "instead of `flask db upgrade --directory db` (db/ holds migrations)? As it is written, `flask" in text
    assert "`flask --help` lists no flask db upgrade" in text
    assert "flask db has migrate, reset" in text
    assert "instead of `cmd migrate` (bin/start)? As it is written, cmd is no program" in text
    assert "what runs the process worker (Procfile)?" in text


@pytest.mark.parametrize("collects", ["", "Dockerfile's RUN"])
def test_static_files_are_collected_on_each_host_where_they_may_be_written(collects: str) -> None:
    found = with_tree(SITE, Hints(django=DJANGO, collects=collects), "manage.py")
    assert found.entry["data"] == {"paths": ["staticfiles/"]}
    assert found.entry["prepare"] == [{"run": "python manage.py collectstatic --noinput", "each_host": True}]


def test_the_variable_for_static_files_leads_to_the_data() -> None:
    app = replace(SITE, static_root="/srv/static", variables=(Variable("STATIC_ROOT", "/srv/static"),))
    found = with_tree(app, Hints(django=DJANGO), "manage.py")
    assert found.entry["environment"]["STATIC_ROOT"] == "{data}/static"
    assert "data" not in found.entry
    assert found.entry["prepare"][-1]["each_host"]


@pytest.mark.parametrize(("root", "words"), [("", "say no STATIC_ROOT"), ("/srv/static", "STATIC_ROOT is /srv/static")])
def test_static_files_without_a_place_are_a_question(root: str, words: str) -> None:
    found = with_tree(replace(SITE, static_root=root), Hints(django=DJANGO, collects="Procfile"), "manage.py")
    assert "prepare" not in found.entry
    assert words in questions(found)
    assert "each_host: true" in questions(found)


def test_commands_of_django_name_its_manage_py_where_it_is() -> None:
    hints = Hints(django=replace(DJANGO, manage="src/manage.py"), prepares=(Command("python manage.py migrate", "x"),))
    found = with_tree(replace(SITE, static_root=None), hints, "src/manage.py")
    assert found.entry["prepare"] == ["python src/manage.py migrate"]


@pytest.mark.parametrize(
    ("module", "others", "question", "must"),
    [
        ("site.settings", (), False, False),
        ("site.settings.live", ("site.settings.dev",), False, False),
        ("site.settings.live", ("site.settings.office",), True, False),
        ("site.settings.dev", ("site.settings.live",), True, True),
    ],
)
def test_the_settings_that_a_project_ran_with_are_named(
    module: str, others: tuple[str, ...], question: bool, must: bool
) -> None:
    app = replace(SITE, settings_module=module, static_root=None)
    found = with_tree(app, Hints(django=Django("manage.py", ((module, "manage.py"),), others)), "manage.py")
    assert found.entry["environment"] == {"DJANGO_SETTINGS_MODULE": module}
    asked = [item for item in found.questions if "with which settings" in item.text]
    assert (bool(asked), any(item.must for item in asked)) == (question, must)


@pytest.mark.parametrize(("ms", "must"), [(60.0, False), (900.0, False), (4450.0, True)])
def test_a_limit_that_is_guessed_is_bounded(ms: float, must: bool) -> None:
    found = proposal(replace(APP, weighed=(Weighed("/", 2, ms, 0.0),)))
    assert found.entry["limits"]["p95_ms"] == min(2000, 20 * ms)
    assert ("how long may users wait?" in questions(found)) == (ms > 100)
    assert any(question.must for question in found.questions) == must


@pytest.mark.parametrize(
    ("name", "default", "given", "asked"),
    [
        ("FLASK_CONFIG", "development", "", True),
        ("APP_SETTINGS", "shop.config.DevelopmentConfig", "", True),
        ("FLASK_CONFIG", "development", "production", False),
        ("FLASK_CONFIG", "production", "", False),
        ("SHOP_DEVICE", "dev", "", False),
    ],
)
def test_a_configuration_for_the_work_on_an_app_is_asked_about_first(
    name: str, default: str, given: str, asked: bool
) -> None:
    hints = Hints(given={name: given} if given else {})
    found = proposal(replace(APP, variables=(Variable(name, default),)), hints)
    assert any("which configuration" in question.text for question in found.questions if question.must) == asked


def test_values_of_a_file_that_is_not_shipped_are_asked_for_by_their_names() -> None:
    app = replace(APP, variables=(Variable("MAIL_SERVER"), Variable("MODE", "live"), Variable("SECRET_KEY")))
    found = proposal(app, Hints(kept={"MAIL_SERVER": ".env", "SECRET_KEY": ".env", "UNUSED": ".env"}))
    assert "which values do hosts have for MAIL_SERVER?" in questions(found)


def test_what_an_example_shows_is_named_first() -> None:
    app = replace(APP, variables=(Variable("ALPHA"), Variable("MAIL_SERVER")))
    found = proposal(app, Hints(examples={"MAIL_SERVER": ("mail.example.com", ".env.example")}))
    assert any("does without: MAIL_SERVER, ALPHA" in note for note in found.notes), found.notes


@pytest.mark.parametrize(
    ("variables", "asked"), [((), True), ((Variable("DJANGO_SECRET_KEY", "django-insecure-x"),), False)]
)
def test_a_secret_that_the_entry_makes_is_not_asked_for(variables: tuple[Variable, ...], asked: bool) -> None:
    found = proposal(replace(SITE, has_secret_key=False, variables=variables, static_root=None))
    assert ("is the one that startproject wrote" in questions(found)) == asked


def test_a_file_of_settings_is_no_folder_to_keep_things_in() -> None:
    found = proposal(replace(APP, variables=(Variable("SHOP_SETTINGS_FILE_PATH"),)))
    assert "where is it to keep" not in questions(found)


def test_migrations_that_one_command_runs_are_not_asked_for_because_of_another() -> None:
    hints = Hints(
        prepares=(Command("sh -c 'yes | python x.py migrate'", "Procfile"), Command("./manage.py migrate", "x"))
    )
    found = with_tree(APP, replace(hints, django=DJANGO), "manage.py")
    assert found.entry["prepare"] == ["./manage.py migrate"]
    assert "instead of" not in questions(found)


def test_settings_that_nothing_names_are_a_guess_that_is_asked_about_first() -> None:
    known = Django("manage.py", (), ("site.settings.dev", "site.settings.live"))
    assert known.chosen == ("site.settings.live", "a guess")
    found = with_tree(replace(SITE, settings_module="site.settings.live", static_root=None), Hints(django=known))
    assert found.entry["environment"] == {"DJANGO_SETTINGS_MODULE": "site.settings.live"}
    assert any("with which settings do hosts run?" in item.text for item in found.questions if item.must)


def test_what_an_image_gives_the_libraries_of_its_app_is_carried_or_asked_about() -> None:
    given = {
        "PROMETHEUS_MULTIPROC_DIR": ("/tmp/counts", "docker/Dockerfile"),
        "OTEL_SERVICE_NAME": ("shop", "docker/Dockerfile"),
        "PATH": ("/opt/venv/bin:$PATH", "docker/Dockerfile"),
        "FLASK_THING": ("1", ".flaskenv"),
        "MODE": ("live", "docker/Dockerfile"),
    }
    hints = Hints(variables=given, hooks={"deploy/server.py": ("child_exit",)})
    found = proposal(replace(APP, variables=(Variable("MODE"),)), hints)
    assert found.entry["environment"] == {"MODE": "live", "PROMETHEUS_MULTIPROC_DIR": "/tmp"}
    told = questions(found)
    assert "QUESTION: does a library need OTEL_SERVICE_NAME? docker/Dockerfile gives it a value" in told
    assert "QUESTION: are the hooks of deploy/server.py needed (child_exit)?" in told
    flow.check(found, render.text(found))


def test_what_an_image_gives_code_that_did_not_run_here_is_asked_about_with_its_place() -> None:
    given = dict.fromkeys(("SHOP_PREFIX", "OTEL_SERVICE_NAME", "SHOP_MODE"), ("1", "docker/Dockerfile"))
    hints = Hints(variables=given, asked={"SHOP_PREFIX": "shop/links.py:90", "SHOP_MODE": "shop/__init__.py:3"})
    found = proposal(replace(APP, variables=(Variable("SHOP_MODE"),)), hints)
    told = questions(found)
    assert (
        "QUESTION: which value do hosts have for SHOP_PREFIX (shop/links.py:90)? docker/Dockerfile gives it one" in told
    )
    assert "QUESTION: does a library need OTEL_SERVICE_NAME? docker/Dockerfile gives it a value" in told
    assert found.entry["environment"] == {"SHOP_MODE": "1"}


@pytest.mark.parametrize(
    ("libraries", "reason"),
    [
        ({"flask", "flask_socketio", "socketio", "engineio"}, "flask-socketio keeps a client at one worker"),
        ({"engineio"}, "python-engineio keeps a client at one worker"),
        ({"flask", "apscheduler"}, "apscheduler runs jobs inside of the web process, in each worker"),
    ],
)
def test_what_is_right_with_one_worker_alone_gets_one(libraries: set[str], reason: str) -> None:
    found = proposal(replace(APP, libraries=frozenset(libraries)), Hints(timeout=120))
    assert found.entry["settings"] == {"workers": 1, "timeout": 120}
    text = render.text(found)
    flow.check(found, text)
    assert reason in " ".join(text.replace("#", "").split())
    assert ("its jobs run in candidates too" in questions(found)) == ("apscheduler" in libraries)
    assert not any(question.must for question in found.questions)


def test_a_module_of_the_project_is_no_library() -> None:
    """Which of the modules that it loaded are libraries says what was installed."""
    app = replace(APP, libraries=frozenset({"flask", "schedule"}))
    for modules, settings in (({"flask"}, None), ({"flask", "schedule"}, {"workers": 1})):
        there = There(frozenset(["schedule.py"]), frozenset(), frozenset(modules))
        found = propose(replace(SUBJECT, there=there), Hints(), Found(app))
        assert found.entry.get("settings") == settings


def test_settings_for_the_work_on_an_app_are_carried_and_asked_about() -> None:
    hints = Hints(
        variables={"APP_SETTINGS": ("shop.config.DevelopmentConfig", "compose.yml"), "OTHER": ("1", "compose.yml")},
        asked={"APP_SETTINGS": "shop.py:3"},
    )
    stand = replace(APP, stage="import", variables=(), pages=(), weighed=())
    found = propose(SUBJECT, hints, Found(None, unreached=stand, cannot="it fails"))
    assert found.entry["environment"] == {"APP_SETTINGS": "shop.config.DevelopmentConfig"}
    assert "is APP_SETTINGS=shop.config.DevelopmentConfig right on hosts? compose.yml has it" in questions(found)
    live = Hints(variables={"APP_SETTINGS": ("shop.Live", "compose.yml")})
    assert "right on hosts" not in questions(proposal(replace(APP, variables=(Variable("APP_SETTINGS"),)), live))
