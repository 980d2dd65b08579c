# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a former service has in folders that its app is to use on: both are let in to what the other writes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from access_lists import let_in
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import inherited, inheritedpaths, unmet
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.inheritedpaths import Variables
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import bounds
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.rights import Who
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd

OLD = Who("deploy", 4002, 4002, frozenset({4002}), 0o022)
NEW = Who("hc-shop")
MAKE = "useradd --system --no-create-home --shell /usr/sbin/nologin hc-shop"


def systemctl(command: Sequence[str], timeout_seconds: float) -> Completed:
    return Completed(0, "", "")


@pytest.fixture
def media(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the old service's, and what it wrote there."""
    monkeypatch.setattr(inherited, "former_account", lambda *_: OLD)
    monkeypatch.setattr(inherited, "closed_above", lambda *_: "")
    monkeypatch.setattr(inherited.shutil, "which", lambda _: "/usr/bin/setfacl")
    folder = tmp_path / "media"
    (folder / "uploads").mkdir(parents=True)
    for name in ("uploads/a.png", "zebra.txt", "app.db", "app.db-wal"):
        (folder / name).touch()
    for path in (folder, *folder.rglob("*")):
        own(path, OLD.uid or 0)
    return folder


def own(path: Path, uid: int) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    os.chown(path, uid, uid)


def asked(folder: Path, access: str = "write", **more: Any) -> Variables:
    app = {"name": "shop", "data": {"outside": [{"path": str(folder), "access": access}]}, **more}
    return Variables(Layout("shop", str(folder.parent)), app, "old.service", Systemd(systemctl))


def open_to_both(folder: Path, files: bool = True, default: bool = True) -> None:
    """What the message says."""
    for path in (folder, *folder.rglob("*")):
        if files or path.is_dir():
            let_in(path, 4001, 4002, rights=7 if path.is_dir() else 6)
        if default and path.is_dir():
            let_in(path, 4001, 4002, rights=7, default=True)


def test_a_folder_that_lets_in_and_files_that_do_not(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Who("hc-shop", 4001, 4001, frozenset({4001}))
    monkeypatch.setattr(Who, "named", lambda *_: there)
    monkeypatch.setattr(inherited, "may", lambda *_: False)
    open_to_both(media, files=False)
    (words,) = asked(media).problems().values()
    assert words.startswith(
        "data.outside: hc-shop may not use 4 things that old.service has in "
        f"{media} (app.db, app.db-wal, zebra.txt and 1 more): let both in, to what is there and to what comes: "
        f"`setfacl -R -m u:hc-shop:rwX,u:deploy:rwX {media}` and `setfacl -R -d -m u:hc-shop:rwX,u:deploy:rwX {media}`"
    )
    assert "a copy that is made while old.service serves lacks what users write after that" in words
    open_to_both(media)
    assert asked(media).problems() == {}


def test_what_either_writes_from_now_on(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Who("hc-shop", 4001, 4001, frozenset({4001}))
    monkeypatch.setattr(Who, "named", lambda *_: there)
    open_to_both(media, default=False)
    (words,) = asked(media).problems().values()
    assert "what deploy writes from now on below" in words
    assert "hc-shop may not use" in words
    assert "deploy may not read, so that old.service could not be given its address back" in words
    for path in (media, media / "uploads"):
        let_in(path, 4001, rights=7, default=True)
    (words,) = asked(media).problems().values()
    assert "from now on" not in words
    assert "could not be given its address back" in words


def test_an_account_that_is_not_there_has_the_rights_of_everybody(media: Path) -> None:
    (words,) = asked(media).problems().values()
    assert "6 things" in words
    assert f": `{MAKE}`, then `setfacl -R -m" in words
    for path in (media, *media.rglob("*")):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    assert asked(media, "read").problems() == {}
    os.chmod(media / "app.db", 0o600)
    (words,) = asked(media, "read").problems().values()
    assert "hc-shop may not read what that old.service has" in words
    assert "u:hc-shop:rX," in words


def test_the_same_account_and_root_are_let_in_by_themselves(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Who, "named", lambda *_: OLD)
    assert asked(media).problems() == {}


def test_a_service_of_root_reads_everything(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherited, "former_account", lambda *_: Who("root", 0, 0, frozenset({0}), 0o022))
    (words,) = asked(media).problems().values()
    assert "address back" not in words
    assert "u:root" not in words


def test_the_way_to_it_is_closed(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherited, "closed_above", lambda *_: "/srv/private")
    for path in (media, *media.rglob("*")):
        os.chmod(path, 0o755 if path.is_dir() else 0o644)
    (words,) = asked(media, "read").problems().values()
    assert f"hc-shop does not come to {media}" in words
    assert words.endswith("`setfacl -m u:hc-shop:x /srv/private` lets it pass")


def test_a_walk_that_is_cut_short_says_so(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST", 2)
    found = asked(media)
    (words,) = found.problems().values()
    assert " (not all of it was looked at): let both in" in words
    assert found.told() == f"only 2 of what is below {media} were looked at"


def test_it_stops_in_time(media: Path) -> None:
    moments = iter(range(100))
    found = asked(media)
    found.bounds = inherited.Bounds(lambda: float(next(moments)))
    found.problems()
    assert found.cut == [str(media)]


def test_a_variable_that_names_what_the_app_may_not_read(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (inherited, inheritedpaths):
        monkeypatch.setattr(module, "HIDDEN", {})
    key = tmp_path / "key.json"
    key.touch()
    own(key, OLD.uid or 0)
    os.chmod(key, 0o600)
    values = {"KEY": str(key), "MODE": "live", "NONE": "/no/such/file", "DATABASE_URL": f"sqlite:///{media}/app.db"}
    first, second = asked(media).of_variables(values, "environment")
    assert first == (
        f"environment.KEY names {key}, which deploy may read for old.service, and hc-shop may not: let it in (`{MAKE}`,"
        f" then `setfacl -R -m u:hc-shop:rX {key}`)"
    )
    assert "DATABASE_URL names" in second
    assert "may write to for old.service" in second
    (secret,) = asked(media).of_variables({"KEY": str(key)}, "secrets")
    assert str(key) not in secret
    os.chmod(key, 0o644)
    assert asked(media).of_variables({"KEY": str(key)}, "environment") == []


def test_the_probe_asks_where_nothing_is_live(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout("shop", str(media.parent))
    app = {"data": {"outside": [{"path": str(media), "access": "write"}]}}
    monkeypatch.setattr(unmet.outside, "may", lambda *_: True)
    assert unmet.unmet(layout, app, systemctl) == []
    (words,) = unmet.unmet(layout, {**app, "former": "old.service"}, systemctl)
    assert words.startswith("data.outside: hc-shop may not use")
    monkeypatch.setattr(unmet.generations, "live", lambda _: 1)
    assert unmet.unmet(layout, {**app, "former": "old.service"}, systemctl) == []


def test_whom_a_service_works_as(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = "User=\nUMask=0027\nControlGroup=/system.slice/old.service"
    systemd = Systemd(lambda command, seconds: Completed(0, told, ""))
    monkeypatch.setattr(inherited, "unit_pids", lambda *_: [40, 41])
    for pid, uid in ((40, 0), (41, 4002)):
        status = tmp_path / "proc" / str(pid) / "status"
        status.parent.mkdir(parents=True)
        status.write_text(f"Name:\tpython3\nUmask:\t0002\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
    found = inherited.former_account("old.service", systemd, str(tmp_path))
    assert (found.uid, found.umask) == (4002, 0o002)
    monkeypatch.setattr(inherited, "unit_pids", lambda *_: [])
    found = inherited.former_account("old.service", systemd, str(tmp_path))
    assert (found.uid, found.umask) == (0, 0o027)


@pytest.fixture
def volume(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the old service's that a link in its open one leads to: the database that it keeps there."""
    monkeypatch.setattr(Who, "named", lambda *_: Who("hc-shop", 4001, 4001, frozenset({4001})))
    monkeypatch.setattr(inherited, "HIDDEN", {})
    open_to_both(media)
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o755)
    (folder / "live.db").touch(0o600)
    for path in (folder, folder / "live.db"):
        own(path, OLD.uid or 0)
    (media / "live.db").symlink_to(folder / "live.db")
    return folder


def test_a_link_that_leads_to_where_the_app_cannot_write(media: Path, volume: Path) -> None:
    (words,) = asked(media).problems().values()
    assert words == (
        f"data.outside: live.db in {media} leads to what is in {volume}, where deploy may write, and which the app's "
        f"units have read-only: declare {volume} in data.outside too"
    )
    os.chmod(volume / "live.db", 0o666)  # the units have it read-only all the same
    (media / "uploads/more").symlink_to(volume)
    (words,) = asked(media).problems().values()
    assert words.startswith(f"data.outside: live.db, uploads/more in {media} lead to what is in {volume}, where")


def test_where_a_link_leads_is_declared(media: Path, volume: Path) -> None:
    both = [{"path": str(media), "access": "write"}, {"path": str(volume), "access": "write"}]
    found = asked(media, data={"outside": both}).problems()
    assert list(found) == [str(volume)]
    assert "hc-shop may not use 2 things" in found[str(volume)]
    open_to_both(volume)
    assert asked(media, data={"outside": both}).problems() == {}
    both[1]["access"] = "read"
    (words,) = asked(media, data={"outside": both}).problems().values()
    assert words.endswith("have read-only: declare it in data.outside with access write")


def test_a_link_to_what_the_app_may_not_read(media: Path, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherited, "may", lambda *_: False)
    (words,) = asked(media, "read").problems().values()
    assert words == (
        f"data.outside: live.db in {media} leads to {volume}/live.db, which hc-shop may not read: let it in "
        f"(`setfacl -R -m u:hc-shop:r {volume}/live.db`)"
    )
    os.chmod(volume / "live.db", 0o644)
    assert asked(media, "read").problems() == {}


def test_a_link_to_what_the_units_hide(media: Path, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inherited, "HIDDEN", {str(volume): "ProtectHome="})
    for access in ("read", "write"):
        (words,) = asked(media, access).problems().values()
        assert f"leads to what is in {volume}, which ProtectHome= of the app's units hides: move that" in words


def test_links_that_are_in_nobodys_way(media: Path, volume: Path) -> None:
    (media / "live.db").unlink()
    own(volume / "live.db", 0)  # the old service may not use it either
    targets = {"foreign": volume / "live.db", "loop": media / "loop", "gone": media / "none", "null": Path("/dev/null")}
    for name, target in {**targets, "within": media / "app.db", "python3": Path("/usr/bin/env")}.items():
        (media / name).symlink_to(target)
    for number in range(2000):
        (media / f"chain{number}").symlink_to(f"chain{number + 1}")
    assert asked(media).problems() == {}


def test_the_same_account_cannot_write_there_either(media: Path, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Who, "named", lambda *_: OLD)
    (words,) = asked(media).problems().values()
    assert words.endswith(f"declare {volume} in data.outside too")


def test_where_a_link_leads_cannot_be_declared(media: Path, volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_WHOLE", "_LOST"):
        with monkeypatch.context() as patched:
            patched.setattr(inherited, name, (str(volume),))
            (words,) = asked(media).problems().values()
        assert "move that to a folder of its own, declare it in data.outside, and have the link lead there" in words


def test_links_to_many_places_are_counted(media: Path, volume: Path) -> None:
    for number in range(5):
        (volume / str(number)).mkdir()
        own(volume / str(number), OLD.uid or 0)
        (media / f"to{number}").symlink_to(volume / str(number))
    (words,) = asked(media).problems().values()
    assert words.endswith("; links to 3 more places")


def test_a_service_of_roots_reads_what_is_the_systems(
    media: Path, volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inherited, "former_account", lambda *_: Who("root", 0, 0, frozenset({0}), 0o022))
    (media / "live.db").unlink()
    (media / "python3").symlink_to("/usr/bin/env")
    assert asked(media).problems() == {}
