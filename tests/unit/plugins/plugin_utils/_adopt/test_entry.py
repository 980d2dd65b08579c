# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The entry of a Gunicorn that runs already."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.checks import app_name
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.given import declared
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._adopt import entry
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.proposal import questions_text
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.render import text
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.templates import read

RUNNING: dict[str, Any] = {
    "unit": "gunicorn.service",
    "sockets": [],
    "user": "deploy",
    "login": True,
    "folder": "/srv/shop",
    "entry_point": "shop.wsgi:app",
    "settings": {"workers": 3, "timeout": 120, "limit_request_line": 8190, "bind": ["0.0.0.0:8000"]},
    "config": "/srv/shop/gunicorn.conf.py",
    "unread": ["_own", "certfile"],
    "hooks": ["post_fork", "helper"],
    "listen": ["0.0.0.0:8000"],
    "environment": {"MODE": "live", "GREETING": "{{ hello }}"},
    "secrets": {"DATABASE_URL": "postgres://a:hunter2@db/x"},
    "workers": 3,
    "worker_mib": 90.0,
    "git": "https://git.example.com/shop.git",
    "commit": "a" * 40,
    "shared": False,
    "fronts": [{"name": "shop.example.com", "https": True, "buffers": True, "paths": ["/"]}],
}


def adopted(**changes: Any) -> entry.Adopted:
    return entry.entries("web1", [{**RUNNING, **changes}], declared(2, 2048).to_dict())[0]


def test_it_is_taken_as_it_is_written() -> None:
    one = adopted()
    written = yaml.safe_load(text(one.proposal))["headcount_apps"]
    assert written == [one.proposal.entry]
    assert normalise_apps(written, "web1")[1] == []
    assert written[0] == {
        "name": "shop",
        "source": {"git": "https://git.example.com/shop.git", "version": "a" * 40},
        "entry_point": "shop.wsgi:app",
        "listen": "0.0.0.0:8000",
        "former": "gunicorn.service",
        "buffering_proxy": True,
        "host": "shop.example.com",
        "scheme": "https",
        "environment": {"MODE": "live"},
        "secrets": {"DATABASE_URL": "{{ vault_shop_database_url }}", "GREETING": "{{ vault_shop_greeting }}"},
        "settings": {"timeout": 120},
        "gunicorn": {"limit_request_line": 8190},
        "memory": {"worker_mib": 90.0},
    }


def test_no_secret_is_anywhere_but_in_its_own_file(tmp_path: Any) -> None:
    one = adopted()
    shown = text(one.proposal) + "\n".join([*one.comparison, *questions_text(one.proposal.questions), one.summary])
    assert "hunter2" not in shown
    file = tmp_path / "shop.secrets.yml"
    file.write_text(entry.secrets_text(one.secrets), encoding="utf-8")
    read = DataLoader().load_from_file(str(file))
    assert read == {"vault_shop_database_url": "postgres://a:hunter2@db/x", "vault_shop_greeting": "{{ hello }}"}


def test_their_workers_stand_beside_the_plans() -> None:
    table = "\n".join(adopted().comparison)
    rows = {
        line.split()[1 if line.lstrip()[0] == "*" else 0]: line.split() for line in table.splitlines() if line.strip()
    }
    assert rows["worker_class"][2] == "sync"
    assert rows["workers"][2] == "3"
    assert rows["timeout"][2:4] == ["120", "120"]
    assert adopted().summary == (
        "web1: gunicorn.service runs shop.wsgi:app: 3 sync workers, 90 MiB a worker, on 0.0.0.0:8000 as deploy, "
        "behind nginx for shop.example.com"
    )


def test_a_plan_for_fewer_requests_than_it_holds_says_so() -> None:
    told = "requests can be in flight, and gunicorn.service holds 500 (500 sync workers)"
    assert told in "\n".join(adopted(workers=500).comparison)
    assert told not in "\n".join(adopted().comparison)


def test_what_it_decides_as_it_runs_is_asked() -> None:
    questions = "\n".join(questions_text(adopted().proposal.questions))
    assert "defines post_fork: what of it" in questions
    assert "decides certfile as it runs" in questions
    assert "as deploy: what did it write below /srv/shop" in questions


@pytest.mark.parametrize(
    ("changes", "question"),
    [
        ({"git": "", "commit": ""}, "source: web1:/srv/shop is no checkout of git"),
        (
            {"git": ""},
            "source: web1:/srv/shop is a checkout of git at aaaaaaaaaaaa that has no remote",
        ),
        ({"listen": ["0.0.0.0:8000", "unix:/run/a.sock"]}, "it listens on 0.0.0.0:8000, unix:/run/a.sock"),
        ({"shared": True}, "former: gunicorn.service runs further programs"),
        ({"hosts": "cron.service is the host's own", "shared": True}, "former: cron.service is the host's own"),
        ({"starts": "gunicorn.service is to start queue too"}, "former: gunicorn.service is to start queue too"),
        ({"settings": {"certfile": "/a.pem"}}, "former: gunicorn.service speaks TLS with its users (certfile)"),
        ({"listen": ["unix:@shop"]}, "listen: unix:@shop has no file, and an app has one or a port"),
        ({"hooks": ["ssl_context"]}, "former: gunicorn.service speaks TLS with its users (ssl_context)"),
        ({"entry_point": ""}, "entry_point: its command line does not name the app"),
    ],
)
def test_what_has_to_be_answered_first(changes: dict[str, Any], question: str) -> None:
    asked = [one for one in adopted(**changes).proposal.questions if one.must]
    assert [question in one.text for one in asked] == [True]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "shop"),
        ({"unit": "Web_Shop.service"}, "web-shop"),
        ({"unit": "shop2.service"}, "shop2"),
        ({"unit": "gunicorn3.service"}, "shop"),
        ({"unit": "gunicorn@blue.service", "entry_point": "wsgi:app"}, "shop"),
        ({"unit": "gunicorn.service", "entry_point": "app:app", "folder": "/"}, "app"),
        ({"unit": "a-very-long-name-for-a-service-of-ours.service"}, "a-very-long-name-for-a"),
        *(
            ({"unit": f"{unit}.service"}, "shop")
            for unit in ("cron", "crond", "atd", "ssh", "user@1000", "getty@tty1", "dbus", "monit", "inetd", "circusd")
        ),
        ({"unit": "puppet.service", "hosts": "puppet.service is the host's own"}, "shop"),
        ({"unit": "atlas.service"}, "atlas"),
        ({"unit": "atlas@8091.service"}, "atlas-8091"),
        ({"unit": "atlas@a_b.service"}, "atlas-a-b"),
    ],
)
def test_what_it_is_called(changes: dict[str, Any], name: str) -> None:
    assert entry.app_name_of({**RUNNING, **changes}) == name


@pytest.mark.parametrize(
    ("unit", "why"),
    [
        (
            "0x0.service",
            "name: the app is called x0 (as 0x0.service, as far as a name goes: lower-case",
        ),
        ("a-very-long-name-for-a-service-of-ours.service", "name: the app is called a-very-long-name-for-a (as a-very"),
        ("Web_Shop.service", ""),
        ("gunicorn.service", ""),
        ("shop@1.service", ""),
    ],
)
def test_a_name_that_lost_some_of_its_services_says_why(unit: str, why: str) -> None:
    one = adopted(unit=unit)
    asked = [line for line in questions_text(one.proposal.questions) if "name: the app is called" in line]
    assert [why in line for line in asked] == [True] * bool(why)
    assert ("as far as a name goes" in text(one.proposal)) is bool(why)
    named = entry.entries("web1", [{**RUNNING, "unit": unit}], declared(2, 2048).to_dict(), "mine")[0]
    assert "name: the app is called" not in "\n".join(questions_text(named.proposal.questions))


def test_two_that_would_be_called_alike() -> None:
    found = entry.entries("web1", [RUNNING, RUNNING], declared(2, 2048).to_dict())
    assert [one.name for one in found] == ["shop", "shop-2"]


def test_threads_make_it_gthread() -> None:
    now = entry.current({**RUNNING, "settings": {"threads": "4"}, "workers": 0})
    assert (now["worker_class"], now["workers"]) == ("gthread", 1)


def test_why_there_is_no_plan() -> None:
    settings = {"threads": 4, "max_requests": 2000, "preload_app": True, "keepalive": 2}
    one = adopted(listen=["unix:/run/headcount/a.sock"], settings=settings, workers=5)
    line, today = one.comparison
    assert line.startswith("no plan yet: headcount_apps[0].listen")
    assert today == (
        "Today it has worker_class gthread, threads 4, max_requests 2000, preload_app True, workers 5; the plan "
        "decides these anew."
    )
    assert "# Today it has worker_class gthread, threads 4" in text(one.proposal)


def test_below_a_prefix_it_is_asked_there() -> None:
    one = adopted(environment={"SCRIPT_NAME": "/bin/"})
    assert (one.proposal.entry["health"], one.proposal.entry["load"]) == ({"path": "/bin/"}, {"paths": ["/bin/"]})
    assert "no plan" not in one.comparison[0]
    assert "health" not in adopted(environment={"SCRIPT_NAME": "/a b"}).proposal.entry


@pytest.mark.parametrize(
    ("reach", "declared", "question"),
    [
        ({"mode": "0777", "everybody": True, "groups": [], "users": {}}, {}, ""),
        ({"mode": "0770", "everybody": False, "groups": ["www-data"], "users": {}}, {"listen_group": "www-data"}, ""),
        (
            {"mode": "0770", "everybody": False, "groups": ["www-data", "ops"], "users": {"deploy": "deploy"}},
            {"listen_group": "www-data"},
            "the group ops, deploy may connect to /run/a.sock today, and the group www-data does then",
        ),
        (
            {"mode": "0700", "everybody": False, "groups": [], "users": {"deploy": "deploy"}},
            {"listen_group": "deploy"},
            "deploy may connect to /run/a.sock today, and the group deploy does then: is the proxy's account in it?",
        ),
        ({"mode": "0600", "everybody": False, "groups": [], "users": {}}, {"listen_mode": "0600"}, ""),
        (
            {"mode": "0660", "everybody": False, "groups": ["4711"], "users": {}},
            {},
            "the group 4711 may connect to /run/a.sock today, and no group is to that the entry could name",
        ),
    ],
)
def test_whom_a_unix_socket_lets_in(reach: dict[str, Any], declared: dict[str, str], question: str) -> None:
    one = adopted(listen=["unix:/run/a.sock"], reach=reach)
    found = {key: value for key, value in one.proposal.entry.items() if key in ("listen_group", "listen_mode")}
    assert found == declared
    assert yaml.safe_load(text(one.proposal))["headcount_apps"] == [one.proposal.entry]
    assert normalise_apps([one.proposal.entry], "web1")[1] == []
    asked = [item.text for item in one.proposal.questions if item.text.startswith("listen_group")]
    assert [question in words for words in asked] == ([True] if question else [])


def test_every_setting_that_is_left_out_is_named() -> None:
    settings = {"certfile": "/etc/x.pem", "umask": 7, "accesslog": "/var/log/a", "port": 8000, "keyfile": None}
    settings |= {"logconfig_dict": {"version": 1}, "tomorrow": "7", "preload_app": True}
    one = adopted(settings=settings, options=["tomorrow"])
    (words,) = [item.text for item in one.proposal.questions if "leaves out" in item.text]
    assert words == (
        "gunicorn: the entry leaves out accesslog (the journal has it; gunicorn.accesslog: '-' has requests there "
        "too); certfile (Headcount asks and tries apps over plain HTTP/1.1; let the proxy in front do that); "
        "logconfig_dict (gunicorn.logconfig_dict); tomorrow (Headcount knows no such setting); umask (the unit does "
        "that; sandbox.umask of the app): is any of it still wanted?"
    )


def test_data_that_the_app_could_not_write_is_asked_before_it_is_refused() -> None:
    one = adopted(secrets={"DATABASE_URL": "sqlite:////srv/shop/data/app.db"}, environment={"UPLOADS": "/srv/up"})
    asked = [item.text for item in one.proposal.questions if item.must]
    assert asked == [
        'data: DATABASE_URL is a SQLite database where the app cannot write: DATABASE_URL: "sqlite:///{data}/app.db", '
        "or data: {outside: [/srv/shop/data]}",
        'data: UPLOADS is a path where the app cannot write: UPLOADS: "{data}/up", or data: {outside: [/srv/up]}',
    ]


def test_each_secret_has_a_variable_of_its_own_and_reads_as_it_was(tmp_path: Any) -> None:
    secrets = {"DB_PASS": "a", "DB-PASS": "b", "db_pass": "\U0001f511 \x7f", "{{ x }}": "d"}
    one = adopted(secrets=secrets, environment={})
    assert sorted(one.secrets.values()) == sorted(secrets.values())
    references = one.proposal.entry["secrets"]
    assert {one.secrets[name[3:-3]] for name in references.values()} == {"a", "b", "\U0001f511 \x7f"}
    file = tmp_path / "shop.secrets.yml"
    file.write_text(entry.secrets_text(one.secrets), encoding="utf-8")
    assert DataLoader().load_from_file(str(file)) == one.secrets


@pytest.mark.parametrize("odd", ["\n    prepare: [id]\n    #", "\r", "\x1b[31m", "\u2028", "\x85", "\x00", "\u202e"])
def test_no_text_of_a_host_adds_to_the_entry_or_reaches_the_terminal(odd: str) -> None:
    told = f"x{odd}x"
    one = adopted(
        unit=f"{told}.service", user=told, folder=f"/srv/{told}", config=f"/srv/{told}", entry_point=told, git=told,
        listen=[f"unix:/{told}"], settings={"worker_class": told, told: "1"}, options=[told], unread=[f"{told} x"],
        environment={"A": told, told: "1"}, fronts=[{"name": told}],
    )  # fmt: skip
    written = read(text(one.proposal))["headcount_apps"]
    assert written == [one.proposal.entry]
    assert "prepare" not in written[0]
    shown = [*text(one.proposal).split("\n"), one.summary, *one.comparison, *questions_text(one.proposal.questions)]
    assert [line for line in shown if not line.isprintable()] == []
    (_, *table) = adopted(settings={"worker_class": told}).comparison
    assert all(line.isprintable() for line in table)


def test_a_setting_with_a_secret_is_left_out_and_named() -> None:
    one = adopted(settings={"statsd_host": "user:hunter2@h", "statsd_prefix": "shop"})
    assert one.proposal.entry["gunicorn"] == {"statsd_prefix": "shop"}
    assert [item.text for item in one.proposal.questions if "leaves out statsd_host" in item.text] != []
    assert "hunter2" not in text(one.proposal)


def test_many_that_would_be_called_alike() -> None:
    running = [{**RUNNING, "unit": "a-very-long-name-for-a-service.service"}] * 120
    names = [one.name for one in entry.entries("web1", running, declared(2, 2048).to_dict())]
    assert len(set(names)) == len(names)
    assert [app_name(name) for name in names] == names


def questions(**changes: Any) -> str:
    return "\n".join(questions_text(adopted(**changes).proposal.questions))


INSTALLED: dict[str, Any] = {"name": "Otter-Wiki", "version": "2.10.0", "origin": "index", "beside": []}


@pytest.mark.parametrize(
    ("owner", "source", "question"),
    [
        (
            {},
            {"pip": "Otter-Wiki==2.10.0"},
            "QUESTION: source: Otter-Wiki 2.10.0, which web1 has installed from an index",
        ),
        ({"origin": "system"}, {"pip": "Otter-Wiki==2.10.0"}, "as a package of its distribution"),
        (
            {"beside": ["a==1", "b==2", "c==3", "d==4", "e==5", "f==6"]},
            {"pip": "Otter-Wiki==2.10.0"},
            "beside Otter-Wiki somebody installed a==1, b==2, c==3, d==4, e==5 and 1 more: does the app need any",
        ),
        (
            {"origin": "git", "url": "https://git.example.com/w.git", "commit": "b" * 40, "subdirectory": "web"},
            {"git": "https://git.example.com/w.git", "version": "b" * 40, "subdirectory": "web"},
            "QUESTION",
        ),
        (
            {"origin": "file", "url": "file:///tmp/w-1-py3-none-any.whl"},
            {"wheel": "../w-1-py3-none-any.whl"},
            "QUESTION, to be answered first: source: Otter-Wiki 2.10.0, which web1 has installed from file:///tmp/w-1",
        ),
        (
            {"origin": "folder", "folder": "/srv/w"},
            {"path": "../shop"},
            "to be answered first: source: Otter-Wiki, which was installed from web1:/srv/w, is no checkout of git",
        ),
        (
            {"version": "odd version"},
            {"path": "../shop"},
            "to be answered first: source: Otter-Wiki, which was installed",
        ),
    ],
)
def test_the_source_of_one_that_is_installed(owner: dict[str, Any], source: dict[str, str], question: str) -> None:
    changes = {"installed": {**INSTALLED, **owner}, "git": "", "commit": "", "code": owner.get("folder", "/srv/shop")}
    one = adopted(**changes)
    assert one.proposal.entry["source"] == source
    assert question in questions(**changes)
    assert normalise_apps([{**one.proposal.entry, "secrets": {}}], "web1")[1] == []


def kept(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    things = [
        {
            "folder": False,
            "files": 1,
            "bytes": 2048,
            "newest": 0.0,
            "database": False,
            "names": [],
            "how": "beside",
            **one,
        }
        for one in found
    ]
    return {"kept": {"found": things, "settings": [], "more": 0, "cut": False, **more}}


def test_what_lies_beside_the_code_is_declared_and_has_to_be_brought_along() -> None:
    changes = kept(
        {"path": "/srv/shop/shop.db", "how": "open", "database": True, "newest": 1764160000.0},
        {"path": "/srv/shop/uploads", "folder": True, "files": 3},
        {"path": "/srv/shop/v1.d", "folder": True},
    )
    one = adopted(**changes)
    assert one.proposal.entry["data"] == {"paths": ["shop.db", "uploads", "v1.d/"]}
    assert normalise_apps([{**one.proposal.entry, "secrets": {}}], "web1")[1] == []
    assert (
        "to be answered first: data: it keeps web1:/srv/shop/shop.db (a database, open for writing, 2 KiB, written "
        "2025-11-26 12:26Z), web1:/srv/shop/uploads (3 files, 2 KiB), web1:/srv/shop/v1.d (1 file, 2 KiB) beside its "
        "code, where a release has only what the project has; the app finds them in /var/lib/hc-shop (data.paths), "
        "which is empty at first: bring what is to last there"
    ) in questions(**changes)
    assert "what else did it write below /srv/shop" in questions(**changes)


def test_what_lies_elsewhere_stays_there() -> None:
    changes = kept(
        {"path": "/srv/data/shop.db", "how": "open", "database": True},
        {"path": "/srv/data/deep", "how": "variable", "folder": True, "files": 0, "names": ["DEEP"]},
        {"path": "/srv/media", "how": "unit", "folder": True, "files": 0, "names": ["ReadWritePaths"]},
    )
    changes["environment"] = {"DB_PATH": "/srv/data/shop.db"}
    one = adopted(**changes)
    assert one.proposal.entry["data"] == {"outside": ["/srv/data", "/srv/media"]}
    assert normalise_apps([{**one.proposal.entry, "secrets": {}}], "web1")[1] == []
    assert (
        "QUESTION: data.outside: it keeps web1:/srv/data/shop.db (a database, open for writing, 2 KiB), "
        "web1:/srv/data/deep (named by DEEP), web1:/srv/media (ReadWritePaths of the unit), left where it is: let the "
        "app's account in beside deploy"
    ) in questions(**changes)
    assert "DB_PATH" not in questions(**changes)


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (
            {"path": "/srv/shop/instance", "folder": True, "database": True},
            "(with a database, 1 file, 2 KiB): Flask's own",
        ),
        ({"path": "/srv/venv/var/shop-instance", "folder": True}, "): Flask's own folder for data"),
        (
            {"path": "/srv/shop/uploads", "how": "link", "names": ["/srv/media"], "files": 0},
            "(to /srv/media): no release has a link out",
        ),
        (
            {"path": "/home/deploy/shop.db", "how": "open"},
            "(open for writing, 2 KiB): a place that no app is given",
        ),
        ({"path": "/srv/x.db", "how": "open"}, ": a place that no app is given"),
        ({"path": "/tmp/x.db", "how": "open"}, ": lost with the next generation or boot"),
        ({"path": "/var/log/shop/app.txt", "how": "open"}, ": a log; "),
        ({"path": "/srv/venv/notes.db", "how": "open"}, ": a place that no app is given"),
    ],
)
def test_what_no_entry_can_declare_is_asked(thing: dict[str, Any], words: str) -> None:
    changes = {**kept(thing), "program": ["/srv/venv/bin/gunicorn"]}
    assert words in questions(**changes)
    assert "data" not in adopted(**changes).proposal.entry


def test_what_was_not_told_is_said() -> None:
    asked = questions(**kept(settings=[".env", "local.py"], more=3, cut=True))
    assert "source: web1:/srv/shop has .env, local.py, which git does not track and a release lacks" in asked
    assert "the entry lacks 3 things more that it keeps and part of what lies beside the code" in asked


def test_a_module_alone_is_what_gunicorn_takes_it_for() -> None:
    assert adopted(entry_point="radicale").proposal.entry["entry_point"] == "radicale:application"


def test_a_folder_of_the_account_is_asked_about() -> None:
    changes = kept({"path": "/var/lib/radicale", "how": "owned", "folder": True, "files": 0})
    assert (
        "QUESTION: data: web1:/var/lib/radicale (a folder), of deploy, may have data of it: name it where it has "
        "(data.outside: [/var/lib/radicale])"
    ) in questions(**changes)
    assert "data" not in adopted(**changes).proposal.entry
