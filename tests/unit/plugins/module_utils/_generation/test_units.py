# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import units
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

LAYOUT = Layout("shop")


def app(**changes: Any) -> dict[str, Any]:
    return {
        "name": "shop",
        "entry_point": "shop.wsgi:create_app()",
        "listen": "0.0.0.0:8000",
        "user": None,
        "slice": "system.slice",
        "health": {"path": "/healthz", "status": [200], "contains": None, "timeout_seconds": 2, "boot_seconds": 30},
        **changes,
    }


def plan(**values: Any) -> dict[str, Any]:
    settings = {
        "worker_class": "gthread",
        "workers": 2,
        "threads": 8,
        "worker_connections": None,
        "preload_app": False,
        "backlog": 2048,
        "keepalive": 2,
        "timeout": 30,
        "graceful_timeout": 30,
        "max_requests": 0,
        "max_requests_jitter": 0,
        "limit_nofile": 4096,
        "memory_high_mib": 180,
        "memory_max_mib": 200,
        "gunicorn_version": "==27.0.1",
        **values,
    }
    return {
        "settings": {
            key: {"value": value, "winner": "cores", "reason": f"because of {key}", "origin": "derived"}
            for key, value in settings.items()
        }
    }


def executed(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    exec(compile(text, "gunicorn.conf.py", "exec"), values)
    return values


def test_the_configuration_is_python_that_says_what_was_planned() -> None:
    values = executed(units.gunicorn_conf(app(), plan(), 7))
    assert values["workers"] == 2
    assert values["worker_class"] == "gthread"
    assert values["wsgi_app"] == "shop.wsgi:create_app()"
    assert values["worker_tmp_dir"] == "/dev/shm"
    assert "worker_connections" not in values, "what has no value is left to Gunicorn"


def test_each_number_has_its_reason_beside_it() -> None:
    assert "# because of workers\nworkers = 2" in units.gunicorn_conf(app(), plan(), 7)


def test_a_reason_of_several_lines_stays_a_comment() -> None:
    odd = plan()
    odd["settings"]["workers"]["reason"] = "first\nimport os"
    assert "os" not in executed(units.gunicorn_conf(app(), odd, 7))


@pytest.mark.parametrize("trial", [True, False])
def test_freed_memory_is_kept_as_planned_by_candidate_and_generation_alike(trial: bool) -> None:
    text = units.service({**app()}, plan(malloc_trim_threshold_mib=64), 7, LAYOUT, trial)
    (line,) = [line for line in text.splitlines() if "MALLOC" in line]
    assert {"MALLOC_MMAP_THRESHOLD_=33554432", "MALLOC_TRIM_THRESHOLD_=67108864"} <= set(line.split("=", 1)[1].split())
    for older in (plan(), plan(malloc_trim_threshold_mib=0)):
        assert "MALLOC" not in units.service(app(), older, 7, LAYOUT, trial)


def test_threads_take_turns_as_planned() -> None:
    before = sys.getswitchinterval()
    try:
        executed(units.gunicorn_conf(app(), plan(switch_interval_ms=1.0), 7))["post_worker_init"](Worker())
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)
    for older in (plan(), plan(switch_interval_ms=0)):
        assert "setswitchinterval" not in units.gunicorn_conf(app(), older, 7)


class Worker:
    """One of Gunicorn's, which answers with the address that it sees."""

    def wsgi(self, environ: dict[str, str], start_response: object) -> str:
        return environ["REMOTE_ADDR"]


def test_what_is_asked_on_the_private_socket_has_an_address_where_users_have_one() -> None:
    worker = Worker()
    executed(units.gunicorn_conf(app(), plan(), 7))["post_worker_init"](worker)
    assert worker.wsgi({"REMOTE_ADDR": ""}, None) == "127.0.0.1"
    assert worker.wsgi({"REMOTE_ADDR": "10.0.0.5"}, None) == "10.0.0.5"
    on_a_socket = executed(units.gunicorn_conf(app(listen="unix:/run/shop.sock", recorder=False), plan(), 7))
    assert "post_worker_init" not in on_a_socket


@pytest.mark.parametrize("trial", [True, False])
def test_a_start_does_not_make_the_shared_socket_block(trial: bool) -> None:
    assert "NonBlocking=yes" in units.service(app(), plan(), 7, LAYOUT, trial).splitlines()


@pytest.mark.parametrize(
    ("version", "known"), [("==27.0.1", True), (">=25.3,<26", True), ("==25.0.3", False), ("==23.0.0", False)]
)
def test_the_control_socket_is_switched_off_where_there_is_one(version: str, known: bool) -> None:
    text = units.gunicorn_conf(app(), plan(gunicorn_version=version), 7)
    assert ("control_socket_disable = True" in text) is known


def test_a_preloaded_gevent_app_is_patched_first() -> None:
    text = units.gunicorn_conf(app(), plan(worker_class="gevent", preload_app=True), 7)
    assert text.index("gevent.monkey.patch_all()") < text.index("wsgi_app")
    assert "monkey" not in units.gunicorn_conf(app(), plan(worker_class="gevent"), 7)


@pytest.mark.parametrize(
    ("declared", "lines"),
    [
        ({}, ["SocketMode=0666"]),
        ({"listen_group": "www-data"}, ["SocketMode=0660", "SocketGroup=www-data"]),
        ({"listen_mode": "0600"}, ["SocketMode=0600"]),
    ],
)
def test_the_public_unix_socket_is_for_the_group_of_the_proxy(declared: dict[str, str], lines: list[str]) -> None:
    text = units.public_socket(app(listen="unix:/run/shop.sock", **declared), plan(), 7, LAYOUT)
    assert [line for line in text.splitlines() if line.startswith(("SocketMode=", "SocketGroup="))] == lines


def test_one_rename_of_live_moves_what_boots() -> None:
    text = units.public_socket(app(), plan(), 7, LAYOUT)
    assert "Service=shop@7.service" in text
    assert "Wants=shop@7.service" in text
    assert "ListenStream=0.0.0.0:8000" in text
    assert "Backlog=2048" in text


def test_a_unix_socket_is_open_to_the_proxy() -> None:
    text = units.public_socket(app(listen="unix:/run/shop.sock"), plan(), 7, LAYOUT)
    assert "ListenStream=/run/shop.sock" in text
    assert "SocketMode=0666" in text


def test_the_candidate_never_has_the_public_socket() -> None:
    trial = units.service(app(), plan(), 7, LAYOUT, trial=True)
    assert "Sockets=shop-trial@7.socket" in trial
    assert " shop.socket" not in trial
    assert "Restart=no" in trial
    real = units.service(app(), plan(), 7, LAYOUT, trial=False)
    assert "Sockets=shop.socket shop@7.socket" in real
    assert "Restart=always" in real


def test_both_have_the_same_limits() -> None:
    for trial in (True, False):
        text = units.service(app(), plan(), 7, LAYOUT, trial)
        for line in ("LimitNOFILE=4096", "MemoryHigh=180M", "MemoryMax=200M", "MemorySwapMax=0", "User=hc-shop"):
            assert line in text.splitlines()


def test_a_drain_is_never_cut_short() -> None:
    text = units.service(app(), plan(graceful_timeout=45), 7, LAYOUT, trial=False)
    assert "TimeoutStopSec=55" in text


def test_only_the_candidate_has_the_hub_monitor() -> None:
    gevent = plan(worker_class="gevent")
    assert "GEVENT_MONITOR_THREAD_ENABLE=1" in units.service(app(), gevent, 7, LAYOUT, trial=True)
    assert "GEVENT_MONITOR_THREAD_ENABLE" not in units.service(app(), gevent, 7, LAYOUT, trial=False)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", 'KEY="plain"'),
        ('say "hi"', 'KEY="say \\"hi\\""'),
        ("a\\b", 'KEY="a\\\\b"'),
        ("$HOME `x`", 'KEY="\\$HOME \\`x\\`"'),
        ("two\nlines", 'KEY="two\nlines"'),
    ],
)
def test_environment_values_are_quoted(value: str, line: str) -> None:
    assert units.environment_file({"KEY": value}, {}) == f"# secrets:\n{line}\n"


def test_no_secret_is_in_a_rendered_file() -> None:
    files = units.render({**app(), "environment": {"A": "visible?"}, "secrets": {"B": "hunter2"}}, plan(), 7, LAYOUT)
    assert not [name for name, text in files.items() if "hunter2" in text or "visible?" in text]
    assert set(files) == {
        "gunicorn.conf.py",
        "data.sh",
        "recorder.py",
        "shop.socket",
        "shop@7.socket",
        "shop@7.service",
        "shop-trial@7.socket",
        "shop-trial@7.service",
    }


def test_requests_are_counted_unless_it_is_declared_that_they_are_not() -> None:
    declared = app(limits={"p95_ms": 250})
    text = units.gunicorn_conf(declared, plan(workers=3), 7)
    assert "_recorder.start(_folder, workers=3, threads=True, limits_ms=(None, 250, None))" in text
    assert "threads=False" in units.gunicorn_conf(declared, plan(worker_class="gevent"), 7)
    without = app(recorder=False)
    assert "_recorder" not in units.gunicorn_conf(without, plan(), 7)
    assert "recorder.py" not in units.render(without, plan(), 7, LAYOUT)
    assert units.render(declared, plan(), 7, LAYOUT)["recorder.py"].startswith("# SPDX-License-Identifier")


def test_what_was_counted_outlives_a_master_but_not_a_candidate() -> None:
    assert "RuntimeDirectoryPreserve=restart\n" in units.service(app(), plan(), 7, LAYOUT, trial=False)
    assert "RuntimeDirectoryPreserve" not in units.service(app(), plan(), 7, LAYOUT, trial=True)


def test_another_user_comes_to_the_release_by_the_apps_own_group() -> None:
    own = units.service(app(), plan(), 7, LAYOUT, trial=False)
    assert "User=hc-shop\nGroup=hc-shop\n" in own
    assert "SupplementaryGroups" not in own
    for trial in (True, False):
        other = units.service(app(user="web"), plan(), 7, LAYOUT, trial=trial)
        assert "User=web\nGroup=web\nSupplementaryGroups=hc-shop\n" in other


@pytest.mark.parametrize("trial", [False, True])
def test_shared_memory_goes_with_no_account_but_its_own(trial: bool) -> None:
    """RemoveIPC= takes away what else runs as the account has: a database under it would lose its memory."""
    own = units.service(app(), plan(), 7, LAYOUT, trial=trial)
    others = units.service(app(user="postgres"), plan(), 7, LAYOUT, trial=trial)
    assert "RemoveIPC=yes\n" in own
    assert "RemoveIPC" not in others
    assert "KeyringMode=private\n" in others


@pytest.mark.parametrize(("form", "folder"), [("tree", "release/tree"), ("package", "release"), (None, "release")])
@pytest.mark.parametrize("trial", [True, False])
def test_a_tree_is_where_its_processes_work(form: str | None, folder: str, trial: bool) -> None:
    source = {"kind": "path", "value": "shop", **({"as": form} if form else {})}
    text = units.service(app(source=source), plan(), 3, LAYOUT, trial=trial)
    assert f"\nWorkingDirectory=/opt/headcount/shop/generations/3/{folder}\n" in text
