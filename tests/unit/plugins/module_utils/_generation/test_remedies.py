# SPDX-License-Identifier: GPL-3.0-or-later
"""What an app was refused, by logs as they are, and what is to be declared for it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.remedies import (
    Refusal,
    refusals,
    remedies,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

LAYOUT = Layout("shop")
RELEASE = "/opt/headcount/shop/releases/0123456789abcdef"
APP: dict[str, Any] = {"name": "shop", "user": None}


TREE = {"source": {"as": "tree"}}


def told(*lines: str, **changes: Any) -> list[str]:
    return remedies(lines, {**APP, **changes}, LAYOUT, lambda path: path != "/dev/none")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/uploads'",
            f"it writes to {RELEASE}/tree/uploads, in its release, which is read-only: `data: {{paths: [uploads]}}`",
        ),
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/shop/static/uploads/a.png'",
            "`data: {paths: [shop/static/uploads]}`",
        ),
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/css/a.css' -> '{RELEASE}/tree/build/a.1.css'",
            f"it makes a link, or moves a file, to {RELEASE}/tree/build/a.1.css, in its release, which is read-only: "
            "`data: {built: [build]}` gives each generation that folder for itself, for what the app makes of its own "
            "code. `data.paths` would keep a link into this release",
        ),
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/css/a.css' -> '{RELEASE}/tree/a.1.css'",
            "have that made before the code is shipped. `data.paths` would keep a link into this release",
        ),
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/shop/static/gen/a.css'",
            f"it writes to {RELEASE}/tree/shop/static/gen/a.css, in its release, which is read-only: "
            "`data: {built: [shop/static/gen]}` gives each generation that folder for itself",
        ),
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/shop/translations/es/LC_MESSAGES/messages.mo'",
            "read-only: `data: {built: [shop/translations]}` gives each generation that folder for itself",
        ),
        (
            f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/shop/static/thumbs/a.png'",
            "`data: {paths: [shop/static/thumbs]}` has that lead to the app's data, which keeps what users give; what "
            "the app makes of its own code is `data: {built: [shop/static/thumbs]}`",
        ),
        (f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/db.sqlite3'", "`data: {paths: [db.sqlite3]}`"),
        (
            f"OSError: [Errno 30] Read-only file system: b'{RELEASE}/venv/lib/python3.11/site-packages/wiki/pages'",
            "`data: {paths: [wiki/pages]}`",
        ),
        (
            "PermissionError: [Errno 13] Permission denied: '/opt/headcount/shop/generations/3/release/tree/.data'",
            "`data: {paths: [.data]}`",
        ),
        ("mkdir: cannot create directory ‘/srv/media’: Read-only file system", "`data: {outside: [/srv/media]}`"),
        ("OSError: [Errno 30] Read-only file system: '/srv/media/a.png'", "`data: {outside: [/srv/media]}`"),
        (
            "OSError: [Errno 30] Read-only file system: '/var/log/shop/shop.log'",
            "`data: {logs: true}` gives it /var/log/hc-shop, `{logs}` in `environment`",
        ),
        ("OSError: [Errno 30] Read-only file system: '/var/cache/shop'", "`data: {cache: true}`"),
        ("OSError: [Errno 30] Read-only file system: '/etc/shop/state'", "have it write to its data, `{data}`"),
        ("PermissionError: [Errno 13] Permission denied: '/home/anna/x'", "no app comes into the homes of people"),
        ("sqlite3.OperationalError: unable to open database file", "SQLite could not write its database where it is"),
        ("OperationalError: attempt to write a readonly database", "which is /var/lib/hc-shop/app.db"),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/proc/meminfo'",
            "/proc/meminfo is hidden from it: `sandbox: {proc: all}` shows it",
        ),
        (
            "FileNotFoundError: [Errno 2] No such file or directory: '/dev/nvidia0'",
            "/dev/nvidia0 is hidden from it: `sandbox: {devices: [/dev/nvidia0]}` shows it",
        ),
    ],
)
def test_what_was_refused_has_the_line_to_declare(line: str, words: str) -> None:
    (found,) = told(line)
    assert words in found


@pytest.mark.parametrize(
    "line",
    [
        "FileNotFoundError: [Errno 2] No such file or directory: '/srv/shop/settings.toml'",
        "FileNotFoundError: [Errno 2] No such file or directory: '/dev/none'",
        "PermissionError: [Errno 13] Permission denied: '/etc/shadow'",
        f"could not write {RELEASE}/tree/__pycache__/app.pyc: Read-only file system",
        "Permission denied (publickey).",
        "everything is well",
    ],
)
def test_what_no_line_would_change_has_none(line: str) -> None:
    assert told(line) == []


def test_a_folder_that_is_declared_is_a_matter_of_rights() -> None:
    (words,) = told(
        "PermissionError: [Errno 13] Permission denied: '/srv/media/a.png'", data={"outside": [{"path": "/srv/media"}]}
    )
    assert words == "its account hc-shop may not write to /srv/media/a.png: see whose it is (`ls -la /srv/media/a.png`)"


def test_each_is_told_once_and_not_too_many() -> None:
    lines = [f"OSError: [Errno 30] Read-only file system: '{RELEASE}/tree/{name}'" for name in ("a", "a", "b", "c")]
    assert [words.partition("paths: ")[2][:3] for words in told(*lines)] == ["[a]", "[b]"]


def test_the_path_of_a_rename_is_where_it_leads() -> None:
    assert refusals(["OSError: [Errno 30] Read-only file system: '/tmp/a' -> '/srv/b'"]) == [
        Refusal("/srv/b", "read-only")
    ]


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("/usr/bin/sh: 1: cannot create /etc/shop.migrated: Read-only file system", "/etc/shop.migrated"),
        ("/usr/bin/sh: 1: cannot create out.txt: Read-only file system", "out.txt"),
        ("/usr/bin/bash: line 1: /etc/shop.migrated: Read-only file system", "/etc/shop.migrated"),
        ("bash: line 1: out.txt: Read-only file system", "out.txt"),
        ("/usr/bin/touch: cannot touch '/etc/shop.migrated': Read-only file system", "/etc/shop.migrated"),
        ("/usr/bin/tee: /etc/shop.migrated: Read-only file system", "/etc/shop.migrated"),
        ("Read-only file system @ rb_sysopen - /etc/shop.migrated", "/etc/shop.migrated"),
    ],
)
def test_the_path_is_what_was_refused_and_not_the_program_that_says_so(line: str, path: str) -> None:
    assert refusals([line]) == [Refusal(path, "read-only")]


def test_a_program_that_names_no_path_leaves_none() -> None:
    assert refusals(["/usr/bin/convert: unable to open image: Read-only file system"]) == []


def test_a_path_in_the_working_directory_is_in_the_release() -> None:
    line = "OSError: [Errno 30] Read-only file system: 'celerybeat-schedule'"
    words = (
        "it writes to celerybeat-schedule in its working directory, which is its release and read-only: give it a path "
        "below `{data}`, which is /var/lib/hc-shop"
    )
    assert told(line) == [words]
    (both,) = told(line, **TREE)
    assert both.startswith(f"{words}; or `data: {{paths: [celerybeat-schedule]}}` has that lead to the app's data")
    assert both.endswith("what the app makes of its own code is `data: {built: [celerybeat-schedule]}`")
    assert told("OSError: [Errno 30] Read-only file system: './static/gen/a.css'", **TREE)[0].endswith(
        "or `data: {built: [static/gen]}` gives each generation that folder for itself, for what the app makes of its "
        "own code"
    )
    assert told("PermissionError: [Errno 13] Permission denied: 'wkhtmltopdf'", **TREE) == [], "a program"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("OperationalError: attempt to write a readonly database", "`data: {outside: [FOLDER]}`"),
        ("OSError: [Errno 30] Read-only file system: '/srv/media/a.png'", "`data: {outside: [/srv/media]}`"),
    ],
)
def test_what_a_former_service_keeps_is_not_begun_anew(line: str, words: str) -> None:
    (said,) = told(line, former="old.service")
    assert words in said
    assert "old.service" in said
    assert "begins empty" in said
    assert "sqlite:///" not in said
    assert "or have it write" not in said
