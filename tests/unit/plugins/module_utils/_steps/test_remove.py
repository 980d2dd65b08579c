# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a removal looks at before anything goes, what it says of what stays, and how it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    datafolders,
    generations,
    ledger,
    leftover,
    store,
    takeover,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed, Untouched
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import remove as _remove
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.remove import (
    former_words,
    mounted,
    remove,
)

RUN = Run("a1", "anna", "control1", "2026-11-26T07:00:00Z")


@pytest.fixture
def app(tmp_path: Path) -> AppOnHost:
    """An app with one generation, live, and data that is its own."""
    layout = Layout("shop", str(tmp_path))
    for folder in (layout.units, layout.state, f"{layout.data}/photos"):
        os.makedirs(folder)
    store.begin(layout, 1, "0" * 16)
    store.write(layout, 1, {"shop.socket": "[Socket]\n"}, {"number": 1})
    store.finish(layout, 1)
    store.link_units(layout, 1)
    store.activate(layout, 1)
    store.link_public(layout)
    ledger.append(layout.ledger, datafolders.MADE, folders=[layout.data])
    ledger.append(layout.ledger, "promoted", to=1)
    return AppOnHost("shop", RUN, str(tmp_path), Systemd(lambda *_: Completed(0, "", "")))


def mount(root: Path, point: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    line = f"36 35 98:0 /photos {point} rw - ext4 /dev/sda1 rw\n"
    (root / "proc/self/mountinfo").write_text(line, encoding="utf-8")


@pytest.mark.parametrize("at", ["", "/photos"])
def test_nothing_goes_where_something_is_mounted_at_the_data_or_below_and_the_ledger_says_so(
    app: AppOnHost, tmp_path: Path, at: str
) -> None:
    point = f"{app.layout.data}{at}"
    mount(tmp_path, point)
    with pytest.raises(Untouched) as caught:
        remove(app, everything=True)
    said = f"nothing was removed: {point} is a mount, and what is on it is not Headcount's to remove: `umount {point}`"
    assert caught.value.cause == f"{said} first"
    assert mounted(app.layout, [app.layout.data]) == f"{said} first"
    assert generations.live(app.layout) == 1
    assert os.path.isdir(f"{app.layout.data}/photos")
    last = ledger.read(app.layout.ledger)[-1]
    assert (last["event"], last["phase"], last["cause"]) == ("failed", "remove", f"{said} first")


@pytest.mark.parametrize("at", ["", "/photos"])
def test_a_mount_of_data_that_stays_is_in_nobodys_way(app: AppOnHost, tmp_path: Path, at: str) -> None:
    mount(tmp_path, f"{app.layout.data}{at}")
    assert remove(app)["gone"] == []


def test_a_mount_among_the_releases_is_in_the_way_of_every_removal(app: AppOnHost, tmp_path: Path) -> None:
    mount(tmp_path, f"{app.layout.releases}/0123")
    with pytest.raises(Untouched, match=f"umount {app.layout.releases}/0123"):
        remove(app)


def test_what_cannot_be_removed_is_told_in_words_and_the_next_run_goes_on(
    app: AppOnHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise PermissionError(1, "Operation not permitted", f"{path}/kept")

    with monkeypatch.context() as patched:
        patched.setattr(_remove, "remove_tree", fail)
        with pytest.raises(StepFailed, match=f"Operation not permitted: {app.layout.data}/kept"):
            remove(app, everything=True)
    assert ledger.read(app.layout.ledger)[-1]["event"] == "failed"
    assert remove(app, everything=True)["gone"] == [app.layout.data]
    assert not os.path.exists(app.layout.data)
    assert ledger.read(app.layout.ledger)[-1]["event"] == "removed"


def test_what_is_not_headcounts_is_told_before_and_after_with_its_place(app: AppOnHost) -> None:
    layout = app.layout
    for path in ("backup/a.tar", "live.bak", "releases/my.key", "generations/9/theirs"):
        target = os.path.join(layout.home, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    theirs = [f"{layout.home}/{path}" for path in ("backup", "generations/9", "live.bak", "releases/my.key")]
    assert leftover.left(layout) == theirs
    assert remove(app)["left"] == theirs
    assert leftover.left(layout) == theirs
    assert leftover.words(theirs) == (
        f"{', '.join(theirs)}: not Headcount's, and left; move it away before the app is to come back, which is "
        "refused as long as it is there"
    )
    assert leftover.words([]) == ""


def test_drop_ins_of_others_are_told(app: AppOnHost) -> None:
    names = ("shop.socket.d", "shop@.service.d", "shop-trial@.socket.d", "shop-api.service.d", "socket.d")
    for name in names:
        os.makedirs(app.layout.unit(name))
    assert remove(app)["left"] == sorted(app.layout.unit(name) for name in names[:3])


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        (
            takeover.RETIRED,
            "shop.service, which the app was taken over from, is disabled: `systemctl enable --now shop.socket "
            "shop.service` brings it back",
        ),
        (takeover.GIVEN_BACK, ""),
    ],
)
def test_the_service_before_it_is_told_and_has_its_files_again(app: AppOnHost, phase: str, words: str) -> None:
    path = app.layout.unit("shop.socket")
    saved, enabled = f"{path}.{takeover.SAVED}", ("shop.socket", "shop.service")
    moved = {path: saved} if phase == takeover.RETIRED else {}
    for file in moved.values():
        Path(file).write_text("theirs")
    takeover.Record("shop.service", "shared", "0.0.0.0:80", phase, enabled=enabled, moved=moved).write(app.layout)
    assert remove(app)["former"] == words
    assert not os.path.exists(app.layout.former)
    if moved:
        assert Path(path).read_text() == "theirs"
        assert not os.path.exists(saved)


@pytest.mark.parametrize(("state", "by_links"), [("disabled", False), ("static", True)])
def test_one_that_nothing_enables_is_told_with_its_links(
    app: AppOnHost, monkeypatch: pytest.MonkeyPatch, state: str, by_links: bool
) -> None:
    link = "/etc/systemd/system/multi-user.target.wants/old.service"
    links = {"old.service": {link: "../old.service"}}
    record = takeover.Record(
        "old.service", "joined", "0.0.0.0:80", takeover.RETIRED, enabled=("old.service",), links=links
    )
    record.write(app.layout)
    monkeypatch.setattr(app.systemd, "properties", lambda *_: {"UnitFileState": state})
    commands = (
        f"mkdir -p {os.path.dirname(link)}; ln -s ../old.service {link}; systemctl daemon-reload; "
        "systemctl start old.service"
    )
    assert (f"`{commands}` brings it back" in remove(app)["former"]) is by_links


@pytest.mark.parametrize("phase", [takeover.RETIRING, takeover.RETIRED, takeover.GIVEN_BACK, takeover.JOINING])
def test_who_still_may_is_told_that_nobody_would_serve_its_users(app: AppOnHost, phase: str) -> None:
    assert former_words(app.layout) == ""
    takeover.Record("old.service", "joined", "0.0.0.0:80", phase, enabled=("old.service",)).write(app.layout)
    before = Path(app.layout.former).read_bytes()
    words = former_words(app.layout)
    assert ("headcount-rollback shop --to-former" in words) is (phase in {takeover.RETIRING, takeover.RETIRED})
    assert Path(app.layout.former).read_bytes() == before


def test_a_takeover_that_was_cut_short_is_gone_back_from_first(app: AppOnHost, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed: list[bool] = []
    monkeypatch.setattr(_remove, "resume", lambda *_: resumed.append(True) or [])
    takeover.Record("old.service", "joined", "0.0.0.0:80").write(app.layout)
    assert remove(app)["former"] == ""
    assert resumed == [True]


def test_an_app_that_is_not_there_is_not_called_somebody_elses(tmp_path: Path) -> None:
    gone = AppOnHost("bar", RUN, str(tmp_path), Systemd(lambda *_: Completed(0, "", "")))
    with pytest.raises(Untouched, match="/opt/headcount/bar does not exist: the app is not on this host"):
        remove(gone)


def test_what_somebody_wrote_for_a_unit_is_kept_where_systemd_does_not_read_it_and_named(app: AppOnHost) -> None:
    layout, said = app.layout, []
    app.say = said.append
    unit = "shop@1.service"
    assert os.path.islink(layout.unit(unit))
    theirs = Path(f"{layout.unit(unit)}.d/hand.conf")
    theirs.parent.mkdir()
    theirs.write_text("[Service]\nNice=5\n")
    remove(app)
    assert not theirs.parent.exists()
    (kept,) = Path(layout.units).glob("shop@1.*")
    assert kept.name.startswith("shop@1.service.d.headcount-saved-")
    assert (kept / "hand.conf").read_text() == "[Service]\nNice=5\n"
    assert said == [f"moved {theirs.parent}, which is somebody's and changed a unit that is gone, to {kept}"]
