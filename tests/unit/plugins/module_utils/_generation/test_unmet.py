# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an app declares that a host cannot give it is told before anything of it is laid down."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import clashes, outside, unmet
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.folders import Unsafe
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed

TAKEN = "03:00 Europe/Berlin"
SAID = "Failed to parse calendar specification '03:00 Mars': Invalid argument"

REFUSED = Completed(1, "", SAID)


class Analyze:
    """systemd-analyze of a host."""

    def __init__(self, wrong: Completed = REFUSED) -> None:
        self.wrong = wrong
        self.asked: list[list[str]] = []

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        self.asked.append(list(command))
        return Completed(0, "", "") if command[-1] == TAKEN else self.wrong


def processes(*schedules: str | None) -> dict[str, Any]:
    return {"processes": {f"p{index}": {"schedule": schedule} for index, schedule in enumerate(schedules)}}


def test_the_hosts_systemd_has_the_last_word_of_a_schedule(tmp_path: Path) -> None:
    runner = Analyze()
    (words,) = unmet.unmet(Layout("shop", str(tmp_path)), processes(TAKEN, None, "03:00 Mars"), runner)
    assert words.startswith("processes.p2.schedule: the systemd of this host does not take '03:00 Mars': ")
    assert runner.asked == [["systemd-analyze", "calendar", "--", each] for each in (TAKEN, "03:00 Mars")]


@pytest.mark.parametrize("failed", [Completed(127, "", "not found"), Completed(1, "", "Failed to connect to bus")])
def test_a_host_that_cannot_tell_refuses_nothing(tmp_path: Path, failed: Completed) -> None:
    assert unmet.unmet(Layout("shop", str(tmp_path)), processes("03:00 Mars"), Analyze(failed)) == []


def test_the_probe_finds_it_where_it_looks_for_clashes(tmp_path: Path) -> None:
    layout, host = Layout("shop", str(tmp_path)), clashes.Host(str(tmp_path), runner=Analyze())
    app = {"name": "shop", "user": None, **processes("03:00 Mars")}
    assert [words[:24] for words in clashes.clashes(layout, {}, app, host)] == ["processes.p0.schedule: t"]


def test_a_group_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unmet.grp, "getgrnam", lambda group: {"www-data": ()}[group])
    layout = Layout("shop", str(tmp_path))
    assert unmet.unmet(layout, {"listen_group": "www-data"}, Analyze()) == []
    assert unmet.unmet(layout, {"listen_group": "nosuch"}, Analyze()) == [
        "listen_group: there is no group nosuch on this host: install the proxy that brings it before, or name another "
        "one"
    ]


def test_a_folder_that_leads_into_another_apps_is_told(tmp_path: Path) -> None:
    layout, other = Layout("shop", str(tmp_path)), Layout("guest", str(tmp_path))
    os.makedirs(f"{other.data}/uploads")
    os.symlink(f"{other.data}/uploads", tmp_path / "media")
    app = {"data": {"outside": [{"path": str(tmp_path / "media"), "access": "write"}]}}
    assert outside.of_another_app(layout, app, ["guest", "shop"]) == [
        f"data.outside: {tmp_path}/media leads to {other.data}/uploads, which is the app guest's: name a folder that "
        "both are let into"
    ]
    assert outside.of_another_app(other, app, ["guest", "shop"]) == []


@pytest.mark.parametrize(
    ("whose", "access", "words"),
    [
        (
            "person",
            "write",
            "data.outside: hc-shop may not write to {path}, which belongs to person: let it in, to what is there and "
            "to what comes, by access lists (`setfacl -R -m u:hc-shop:rwX {path}; setfacl -R -d -m u:hc-shop:rwX "
            "{path}`), or by a group that has these rights there; that account is to be there first (`useradd --system "
            "--no-create-home --shell /usr/sbin/nologin hc-shop`)",
        ),
        (
            "root",
            "read",
            "data.outside: hc-shop may not read {path}, which belongs to root: let it in, to what is there and to what "
            "comes, by access lists (`setfacl -R -m u:hc-shop:rX {path}; setfacl -R -d -m u:hc-shop:rX {path}`), or by "
            "a group that has these rights there; that account is to be there first (`useradd --system "
            "--no-create-home --shell /usr/sbin/nologin hc-shop`); where nobody else uses it, `chown hc-shop: {path}` "
            "gives it to the app",
        ),
    ],
)
def test_a_folder_that_shuts_the_app_out_is_told_with_its_owner_before_it_is_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whose: str, access: str, words: str
) -> None:
    monkeypatch.setattr(outside, "owner", lambda _: whose)
    monkeypatch.setattr(outside, "may", lambda *_: False)
    monkeypatch.setattr(outside, "closed_above", lambda *_: "")
    missing = {"path": str(tmp_path / "missing"), "access": "write"}
    app = {"data": {"outside": [{"path": str(tmp_path), "access": access}, missing]}}
    assert unmet.unmet(Layout("shop", str(tmp_path)), app, Analyze()) == [words.format(path=tmp_path)]


def test_a_folder_that_would_be_made_where_the_app_can_swap_it_is_refused_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, media = Layout("shop", str(tmp_path)), tmp_path / "media"
    app = {"data": {"outside": [{"path": f"{media}/sub", "access": "write"}]}}
    monkeypatch.setattr(outside, "may", lambda *_: True)
    assert unmet.unmet(layout, app, Analyze()) == []
    words = f"data.outside: {media}/sub is missing, and root makes no folder there, as {media} "
    monkeypatch.setattr(outside, "hindrance", lambda _: Unsafe(str(media), "belongs to hc-shop", "hc-shop"))
    made = f"{words}belongs to hc-shop: make it as that account (`runuser -u hc-shop -- mkdir -p {media}/sub`)"
    assert unmet.unmet(layout, app, Analyze()) == [made]
    assert unmet.unmet(layout, {**app, "user": "web"}, Analyze()) == [f"{made} and let web in, or name another place"]
    monkeypatch.setattr(outside, "hindrance", lambda _: Unsafe(str(media), "can be written to by every account"))
    found = [f"{words}can be written to by every account: name another place, or make it by hand"]
    assert unmet.unmet(layout, app, Analyze()) == found
    (media / "sub").mkdir(parents=True)
    assert unmet.unmet(layout, app, Analyze()) == [], "one that is there is not made"


def test_a_missing_folder_in_another_that_the_app_is_given_is_refused(tmp_path: Path) -> None:
    paths = [{"path": f"{tmp_path}/m3", "access": "write"}, {"path": f"{tmp_path}/m3/up", "access": "write"}]
    found = unmet.unmet(Layout("shop", str(tmp_path)), {"data": {"outside": paths}}, Analyze())
    assert found == [
        f"data.outside: {tmp_path}/m3/up is missing, and lies in {tmp_path}/m3, which is made for the app: leave it "
        "out, and have the app make it"
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="asks as another account")
def test_a_folder_that_is_closed_to_an_account_that_is_not_there_yet_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srv/media").mkdir(parents=True)
    monkeypatch.setattr(outside, "closed_above", lambda path, _: "")
    app = {"user": "hc-no-such", "data": {"outside": [{"path": f"{tmp_path}/srv/media", "access": "read"}]}}
    assert unmet.unmet(Layout("shop", str(tmp_path)), app, Analyze()) == []
    (tmp_path / "srv/media").chmod(0o750)
    (words,) = unmet.unmet(Layout("shop", str(tmp_path)), app, Analyze())
    assert words.startswith(f"data.outside: hc-no-such may not read {tmp_path}/srv/media")
    (tmp_path / "srv/media").chmod(0o755)
    monkeypatch.setattr(outside, "closed_above", lambda path, _: "/srv")
    (words,) = unmet.unmet(Layout("shop", str(tmp_path)), app, Analyze())
    assert "; /srv has to let it pass too (`setfacl -m u:hc-no-such:x /srv`)" in words


def test_a_file_is_told_with_the_folder_that_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "app.db").touch()
    app = {"data": {"outside": [{"path": f"{tmp_path}/app.db", "access": "write"}]}}
    (words,) = unmet.unmet(Layout("shop", str(tmp_path)), app, Analyze())
    assert words == (
        f"data.outside: {tmp_path}/app.db is no folder: name the one that it is in ({tmp_path}), or move it to one of "
        "its own"
    )
