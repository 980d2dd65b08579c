# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is Headcount's own, what is somebody else's and in an app's way, and that the latter is never touched."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import (
    aside,
    former,
    generations,
    ledger,
    lock,
    names,
    store,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import clashes as _clashes
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed, Untouched
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import ownership as _ownership
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout, installed_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import (
    ABSENT,
    Completed,
    Systemd,
    UnitState,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.remove import remove
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.stage import next_number, stage

ETC = "etc/systemd/system"
FIX = "take them away, or give the app another `name`"
NAMES = "units of somebody else's have the names that shop needs"


def running(fragment: str = "", main_pid: int = 0, load: str = "loaded") -> UnitState:
    return UnitState(load, "active", "running", "success", main_pid, 0, 0, "", "", fragment)


def nobody(command: Sequence[str], timeout_seconds: float) -> Completed:
    return Completed(1, "", "not found")


def put(root: Path, path: str, text: str = "theirs\n") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def link(root: Path, path: str, target: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target)


def found(root: Path, states: dict[str, UnitState] | None = None, runner: Any = nobody, app: str = "shop") -> list[str]:
    layout = Layout(app, str(root))
    return _clashes.clashes(layout, states or {}, {"name": app}, _clashes.Host.read(str(root), runner))


def deployed(root: Path, *numbers: int) -> Layout:
    """An app of which these generations are on disk, the last of them live."""
    layout = Layout("shop", str(root))
    os.makedirs(layout.units, exist_ok=True)
    os.makedirs(layout.state, exist_ok=True)
    for number in numbers:
        store.begin(layout, number, "0" * 16)
        store.write(layout, number, {"shop.socket": "[Socket]\n"}, {"number": number})
        store.finish(layout, number)
        store.link_units(layout, number)
        Path(layout.environment(number)).touch()
    store.activate(layout, numbers[-1])
    store.link_public(layout)
    ledger.append(layout.ledger, "promoted", to=numbers[-1])
    return layout


class TestUnits:
    @pytest.mark.parametrize(
        ("path", "what"),
        [
            (f"{ETC}/shop.socket", "not active"),
            (f"{ETC}/shop@1.service", "not active"),
            (f"{ETC}/shop@8000.socket", "not active"),
            (f"{ETC}/shop@.service", "a template"),
            (f"{ETC}/shop-trial@.socket", "a template"),
            (f"{ETC}/shop-trial@3.service", "not active"),
            ("run/systemd/transient/shop@7.service", "made by systemd-run, not active"),
            ("run/systemd/generator/shop.socket", "made by a generator, not active"),
            ("usr/lib/systemd/system/shop.socket", "not active"),
            ("usr/local/lib/systemd/system/shop@.service", "a template"),
            ("etc/systemd/system.control/shop.socket", "not active"),
        ],
    )
    def test_a_file_with_a_name_that_the_app_needs(self, tmp_path: Path, path: str, what: str) -> None:
        put(tmp_path, path)
        assert found(tmp_path) == [f"{NAMES}: /{path} ({what}); {FIX}"]

    @pytest.mark.parametrize(
        "path",
        [
            f"{ETC}/shop.service",
            f"{ETC}/shop@blue.service",
            f"{ETC}/shop-worker@1.service",
            f"{ETC}/shoppe.socket",
            f"{ETC}/shop@1.timer",
            f"{ETC}/my-shop.socket",
        ],
    )
    def test_a_name_that_the_app_does_not_need(self, tmp_path: Path, path: str) -> None:
        put(tmp_path, path)
        assert found(tmp_path, {os.path.basename(path): running(f"/{path}")}) == []

    def test_links_and_masks(self, tmp_path: Path) -> None:
        link(tmp_path, f"{ETC}/shop.socket", "/dev/null")
        link(tmp_path, f"{ETC}/shop@.service", "/srv/old/shop@.service")
        assert found(tmp_path) == [
            f"{NAMES}: /{ETC}/shop.socket (masked, not active), "
            f"/{ETC}/shop@.service (a link to /srv/old/shop@.service, a template); {FIX}"
        ]

    def test_what_runs_from_a_template(self, tmp_path: Path) -> None:
        put(tmp_path, "usr/lib/systemd/system/user@.service")

        def dpkg(command: Sequence[str], timeout_seconds: float) -> Completed:
            assert command[:2] == ["dpkg-query", "-S"]
            return Completed(1, "systemd: /lib/systemd/system/user@.service\n", "no path found")

        states = {
            "user@1000.service": running("/usr/lib/systemd/system/user@.service", 4),
            "user@0.service": ABSENT,
        }
        assert found(tmp_path, states, dpkg, "user") == [
            "units of somebody else's have the names that user needs: /usr/lib/systemd/system/user@.service "
            f"(of the package systemd, a template, user@1000.service runs); {FIX}"
        ]

    def test_no_package_manager_is_asked_where_nothing_is_packaged(self, tmp_path: Path) -> None:
        def never(command: Sequence[str], timeout_seconds: float) -> Completed:
            raise AssertionError(command)

        put(tmp_path, f"{ETC}/shop.socket")
        assert found(tmp_path, runner=never)

    def test_one_that_runs_without_a_file(self, tmp_path: Path) -> None:
        states = {"shop@2.service": running(main_pid=7, load="not-found"), "shop@blue.service": running(main_pid=8)}
        assert found(tmp_path, states) == [f"{NAMES}: shop@2.service (runs, and its file is gone); {FIX}"]

    def test_its_own_are_not_in_its_way(self, tmp_path: Path) -> None:
        deployed(tmp_path, 1, 2)
        own = ("shop.socket", "shop@1.service", "shop@2.service", "shop@2.socket")
        assert found(tmp_path, {unit: running(f"/{ETC}/{unit}") for unit in own}) == []

    def test_numbers_that_are_used_up_are_not_needed_any_more(self, tmp_path: Path) -> None:
        deployed(tmp_path, 3, 4)
        put(tmp_path, f"{ETC}/shop@2.service")
        assert found(tmp_path) == []
        put(tmp_path, f"{ETC}/shop@5.service")
        assert found(tmp_path) == [f"{NAMES}: /{ETC}/shop@5.service (not active); {FIX}"]

    def test_a_public_socket_that_was_edited_is_in_nobodys_way(self, tmp_path: Path) -> None:
        """Its name is the app's by the ledger: heal moves the file aside. Before that nothing overwrites it."""
        layout = deployed(tmp_path, 1)
        os.unlink(layout.unit("shop.socket"))
        put(tmp_path, f"{ETC}/shop.socket")
        assert found(tmp_path, {"shop.socket": running(f"/{ETC}/shop.socket")}) == []
        with pytest.raises(_ownership.Foreign, match=r"shop\.socket is not Headcount's and is not touched"):
            store.link_public(layout)
        store.unlink_public(layout)
        assert (tmp_path / ETC / "shop.socket").read_text(encoding="utf-8") == "theirs\n"

    @pytest.mark.parametrize("how", ["never live", "removed", "masked", "a link", "a package's"])
    def test_a_public_socket_of_somebody_else_is_in_the_way(self, tmp_path: Path, how: str) -> None:
        layout = deployed(tmp_path, 1)
        os.unlink(layout.unit("shop.socket"))
        if how == "never live":
            os.unlink(layout.ledger)
        elif how == "removed":
            ledger.append(layout.ledger, "removed")
        if how == "masked":
            link(tmp_path, f"{ETC}/shop.socket", "/dev/null")
        elif how == "a link":
            link(tmp_path, f"{ETC}/shop.socket", "/srv/shop.socket")
        else:
            put(tmp_path, "usr/lib/systemd/system/shop.socket" if how == "a package's" else f"{ETC}/shop.socket")
        assert len(found(tmp_path)) == 1
        assert aside.save_aside(layout, "shop.socket") is None

    def test_a_public_socket_without_a_file_is_the_apps_once_it_was_live(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        os.unlink(layout.unit("shop.socket"))
        states = {"shop.socket": running(load="not-found")}
        assert found(tmp_path, states) == []
        ledger.append(layout.ledger, "removed")
        assert found(tmp_path, states) == [f"{NAMES}: shop.socket (runs, and its file is gone); {FIX}"]

    def test_what_runs_without_its_generations_is_not_taken_for_a_first_deployment(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        states = {unit: running(f"/{ETC}/{unit}") for unit in ("shop.socket", "shop@1.service")}
        os.rename(layout.generations, tmp_path / "moved")
        assert found(tmp_path) == []
        assert found(tmp_path, states) == [
            f"generation 1 of shop is live by the ledger, but {layout.generations} is missing, and no other good one "
            "is on this host: what runs is left alone; put it back, or stop shop.socket and 'shop@*' and roll out again"
        ]


class TestNames:
    """Names that the ledger proves, whatever lies there."""

    @pytest.mark.parametrize(
        ("unit", "own"),
        [
            ("shop@1.service", True),
            ("shop@1.socket", True),
            ("shop-trial@1.service", True),
            ("shop@2.service", False),
            ("shop@.service", False),
            ("shopper@1.service", False),
        ],
    )
    def test_of_instances(self, tmp_path: Path, unit: str, own: bool) -> None:
        layout = deployed(tmp_path, 1)
        for one in layout.instance_units(1):
            put(tmp_path, f"opt/headcount/shop/generations/1/{one}")
        if not os.path.lexists(layout.unit(unit)):
            put(tmp_path, f"{ETC}/{unit}")
        else:
            os.unlink(layout.unit(unit))
            put(tmp_path, f"{ETC}/{unit}")
        assert names.edited(layout, unit) is own
        assert names.owns(layout, unit, running(f"/{ETC}/{unit}")) is own
        assert names.owns(layout, unit, running("/usr/lib/systemd/system/shop@.service")) is False

    def test_a_generation_that_could_not_be_staged_proves_nothing(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        store.begin(layout, 2, "0" * 16)
        put(tmp_path, "opt/headcount/shop/generations/2/shop@2.service")
        put(tmp_path, f"{ETC}/shop@2.service")
        ledger.append(layout.ledger, "failed", generation=2)
        assert names.edited(layout, "shop@2.service") is False
        ledger.append(layout.ledger, "staged", generation=2)
        assert names.edited(layout, "shop@2.service") is True
        ledger.append(layout.ledger, "removed")
        assert names.edited(layout, "shop@2.service") is False

    def test_an_edit_is_moved_aside_and_never_over_another(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        path = f"{ETC}/shop.socket"
        for text in ("first\n", "second\n"):
            os.unlink(tmp_path / path) if os.path.lexists(tmp_path / path) else None
            put(tmp_path, path, text)
            said = aside.save_aside(layout, "shop.socket", lambda: 0.0)
        saved = f"{tmp_path / path}.headcount-saved-19700101T000000Z"
        assert said == f"moved {tmp_path / path}, which somebody edited, to {saved}+"
        assert [Path(one).read_text(encoding="utf-8") for one in (saved, f"{saved}+")] == ["first\n", "second\n"]


class TestOwnership:
    @pytest.mark.parametrize(
        ("target", "fragment", "own"),
        [
            ("/opt/headcount/shop/generations/1/shop@1.service", f"/{ETC}/shop@1.service", True),
            ("/opt/headcount/shop/generations/1/shop@1.service", "", True),
            ("/opt/headcount/shop/generations/1/shop@1.service", "/run/systemd/transient/shop@1.service", False),
            ("/opt/headcount/shop-two/generations/1/shop@1.service", f"/{ETC}/shop@1.service", False),
            ("/opt/headcount/shop/../../../srv/shop@1.service", f"/{ETC}/shop@1.service", False),
            ("/srv/shop@1.service", f"/{ETC}/shop@1.service", False),
            (None, f"/{ETC}/shop@1.service", False),
            (None, "/usr/lib/systemd/system/shop@.service", False),
            (None, "/opt/headcount/shop/generations/1/shop@1.service", True),
        ],
    )
    def test_by_where_the_unit_file_leads(self, tmp_path: Path, target: str | None, fragment: str, own: bool) -> None:
        if target is None:
            put(tmp_path, f"{ETC}/shop@1.service")
        else:
            link(tmp_path, f"{ETC}/shop@1.service", target)
        assert _ownership.owns(Layout("shop", str(tmp_path)), "shop@1.service", running(fragment)) is own

    @pytest.mark.parametrize(
        ("folder", "own"),
        [("/opt/headcount/shop/releases/0123", True), ("/opt/headcount/shop/releases/0123 (deleted)", True),
         ("/srv/shop", False), ("/opt/headcount/shopper", False)],
    )  # fmt: skip
    def test_by_where_its_process_works_when_the_file_is_gone(self, tmp_path: Path, folder: str, own: bool) -> None:
        link(tmp_path, "proc/7/cwd", folder)
        state = running(main_pid=7, load="not-found")
        assert _ownership.owns(Layout("shop", str(tmp_path)), "shop@1.service", state) is own

    def test_a_generation_removed_takes_its_own_units_alone(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1, 2)
        os.unlink(layout.unit("shop@1.service"))
        theirs = put(tmp_path, f"{ETC}/shop@1.service")
        drop_in = put(tmp_path, f"{ETC}/shop@1.service.d/theirs.conf")
        store.remove(layout, 1)
        assert theirs.exists()
        assert drop_in.exists()
        assert sorted(path.name for path in (tmp_path / ETC).glob("shop*@1*")) == [
            "shop@1.service",
            "shop@1.service.d",
        ]

    def test_units_are_linked_where_all_their_names_are_free_or_not_at_all(self, tmp_path: Path) -> None:
        layout = Layout("shop", str(tmp_path))
        theirs = put(tmp_path, f"{ETC}/shop-trial@1.socket")
        with pytest.raises(_ownership.Foreign):
            store.link_units(layout, 1)
        assert [path.name for path in (tmp_path / ETC).iterdir()] == [theirs.name]


class TestDropIns:
    @pytest.mark.parametrize(
        "directory",
        [f"{ETC}/shop.socket.d", f"{ETC}/shop@.service.d", "usr/lib/systemd/system/shop-trial@.socket.d"],
    )
    def test_for_every_generation(self, tmp_path: Path, directory: str) -> None:
        put(tmp_path, f"{directory}/x.conf")
        put(tmp_path, f"{directory}/x.conf.disabled")
        assert found(tmp_path) == [
            f"drop-ins of somebody else's would change every generation of shop: /{directory}/x.conf; take them away, "
            "and declare what they are for"
        ]

    @pytest.mark.parametrize("kind", ["service", "socket"])
    def test_for_apps_whose_names_begin_alike_would_change_the_candidate_alone(self, tmp_path: Path, kind: str) -> None:
        """What is meant for shop-api and shop-worker: systemd applies it to shop-trial@N, and not to shop@N."""
        put(tmp_path, f"{ETC}/shop-.{kind}.d/x.conf")
        put(tmp_path, f"{ETC}/shop-api@.{kind}.d/y.conf")
        assert found(tmp_path) == [
            "drop-ins for all units whose names begin with shop- would change the candidate of shop, shop-trial@N, and "
            f"not what users get then: /{ETC}/shop-.{kind}.d/x.conf; name those units one by one, or give the app "
            "another `name`"
        ]

    @pytest.mark.parametrize("directory", [f"{ETC}/shop@.service.d", f"{ETC}/system.control/x"])
    def test_an_empty_folder_changes_nothing(self, tmp_path: Path, directory: str) -> None:
        (tmp_path / directory).mkdir(parents=True)
        assert found(tmp_path) == []

    def test_for_all_services_are_noted_and_compared(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        first = put(tmp_path, f"{ETC}/service.d/all.conf")
        put(tmp_path, "usr/lib/systemd/system/shop-.service.d/prefix.conf")
        put(tmp_path, f"{ETC}/other-.service.d/others.conf")
        files = _clashes.UnitFiles.read(str(tmp_path))
        noted = _clashes.shared_drop_ins(layout, files)
        assert sorted(noted) == [f"/{ETC}/service.d/all.conf"]
        twin = Layout("shop-api", str(tmp_path))
        assert sorted(_clashes.shared_drop_ins(twin, files)) == [
            f"/{ETC}/service.d/all.conf",
            "/usr/lib/systemd/system/shop-.service.d/prefix.conf",
        ]
        assert _clashes.drop_in_problems(layout, 1, {"drop_ins": noted}, files) == []
        assert _clashes.drop_in_problems(layout, 1, {}, files) == []
        first.write_text("[Service]\nNice=5\n", encoding="utf-8")
        put(tmp_path, f"{ETC}/socket.d/new.conf")
        files = _clashes.UnitFiles.read(str(tmp_path))
        assert _clashes.drop_in_problems(layout, 1, {"drop_ins": noted}, files) == [
            f"/{ETC}/service.d/all.conf was edited since generation 1 was tried",
            f"/{ETC}/socket.d/new.conf was added since generation 1 was tried",
        ]

    @pytest.mark.parametrize(
        "directory",
        [
            f"{ETC}/shop@.service.d",
            "usr/lib/systemd/system/shop.socket.d",
            "etc/systemd/system.control/shop@1.service.d",
        ],
    )
    def test_for_what_is_live_are_drift(self, tmp_path: Path, directory: str) -> None:
        layout = deployed(tmp_path, 1)
        put(tmp_path, f"{directory}/x.conf")
        files = _clashes.UnitFiles.read(str(tmp_path))
        assert _clashes.drop_in_problems(layout, 1, {}, files) == [f"/{directory}/x.conf overrides the unit"]


class TestFolders:
    def test_of_another_tool(self, tmp_path: Path) -> None:
        put(tmp_path, "opt/headcount/shop/current/app.py")
        put(tmp_path, "opt/headcount/shop/releases/20260101/app.py")
        put(tmp_path, "var/lib/headcount/shop/data.db")
        where = tmp_path / "opt/headcount/shop"
        state = tmp_path / "var/lib/headcount/shop"
        assert found(tmp_path) == [
            f"{where} is not Headcount's (it holds current, releases): move it away, or give the app another `name`",
            f"{state} is not Headcount's (it holds data.db): move it away, or give the app another `name`",
        ]
        assert installed_apps(str(tmp_path)) == []

    def test_that_are_files(self, tmp_path: Path) -> None:
        put(tmp_path, "opt/headcount/shop")
        assert found(tmp_path) == [
            f"{tmp_path}/opt/headcount/shop is not Headcount's (it is no folder): move it away, or give the app "
            "another `name`"
        ]

    def test_of_its_own_at_any_point_of_a_run_that_was_killed(self, tmp_path: Path) -> None:
        layout = Layout("shop", str(tmp_path))
        put(tmp_path, "var/lib/headcount/shop/settings.json")
        put(tmp_path, "var/lib/headcount/shop/lock")
        put(tmp_path, "opt/headcount/shop/releases/0123/.unfinished")
        (tmp_path / "opt/headcount/shop/generations/2").mkdir(parents=True)
        put(tmp_path, "opt/headcount/shop/generations/1/generation.json")
        os.symlink("generations/1", layout.live)
        assert found(tmp_path) == []

    def test_what_a_removed_app_left_of_somebody_else(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        put(tmp_path, "opt/headcount/shop/notes.txt")
        assert found(tmp_path) == []  # it is in nobody's way
        run = Run("a1", "anna", "control1", "2026-11-22T10:00:00Z")
        app = AppOnHost("shop", run, str(tmp_path), Systemd(lambda *_: Completed(0, "", "")))
        left = [f"{layout.home}/notes.txt"]
        empty: dict[str, object] = {"former": "", "kept": {}, "gone": [], "others": {}, "ended": []}
        assert remove(app) == {"removed": True, "left": left, **empty}
        assert ledger.read(layout.ledger)[-1]["account"] == "hc-shop"
        assert os.listdir(layout.home) == ["notes.txt"]
        assert found(tmp_path) == [
            f"{layout.home} is not Headcount's (it holds notes.txt): move it away, or give the app another `name`"
        ]

    def test_generations_and_releases_of_somebody_else_are_not_counted_and_not_removed(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        put(tmp_path, "opt/headcount/shop/generations/7/theirs")
        put(tmp_path, "opt/headcount/shop/releases/theirs/app.py")
        assert generations.numbers(layout) == [1]
        assert store.unused_releases(layout) == []
        run = Run("a1", "anna", "control1", "2026-11-22T10:00:00Z")
        assert next_number(AppOnHost("shop", run, str(tmp_path))) == 8


class TestSteps:
    RUN = Run("a1", "anna", "control1", "2026-11-22T10:00:00Z")

    def test_nothing_is_staged_and_nothing_is_written(self, tmp_path: Path) -> None:
        put(tmp_path, f"{ETC}/shop.socket")
        app = AppOnHost("shop", self.RUN, str(tmp_path), Systemd(nobody))
        with pytest.raises(Untouched, match=r"shop\.socket \(not active\)"):
            stage(app, {"app": {"name": "shop", "user": None}, "release": {"id": "0" * 16}})
        assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()) == [
            f"{ETC}/shop.socket"
        ]
        assert not (tmp_path / "var").exists()

    def test_a_former_service_that_is_not_to_be_taken_over_is_known_before_anything_is_laid_down(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = AppOnHost("shop", self.RUN, str(tmp_path), Systemd(nobody))
        monkeypatch.setattr(former, "read", lambda *_: former.Former("old.service", problem="it runs celery"))
        declared = {"name": "shop", "user": None, "former": "old.service", "listen": "127.0.0.1:8000"}
        with pytest.raises(Untouched, match="former: it runs celery"):
            stage(app, {"app": declared, "release": {"id": "0" * 16}})
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

    def test_an_app_that_is_there_has_it_in_its_ledger(self, tmp_path: Path) -> None:
        layout = deployed(tmp_path, 1)
        put(tmp_path, f"{ETC}/shop@.service")
        app = AppOnHost("shop", self.RUN, str(tmp_path), Systemd(nobody))
        with pytest.raises(Untouched):
            stage(app, {"app": {"name": "shop", "user": None}, "release": {"id": "0" * 16}})
        assert ledger.read(layout.ledger)[-1]["event"] == "failed"
        assert "shop@.service" in ledger.read(layout.ledger)[-1]["cause"]

    def test_an_app_that_is_not_headcounts_is_not_removed(self, tmp_path: Path) -> None:
        put(tmp_path, "opt/headcount/shop/theirs")
        app = AppOnHost("shop", self.RUN, str(tmp_path), Systemd(nobody))
        with pytest.raises(StepFailed, match="is not Headcount's and is not touched"):
            remove(app)
        assert (tmp_path / "opt/headcount/shop/theirs").exists()

    def test_a_host_that_cannot_be_written_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        layout = deployed(tmp_path, 1)

        def read_only(path: str, *_: object) -> int:
            raise OSError(errno.EROFS, "Read-only file system", path)

        app = AppOnHost("shop", self.RUN, str(tmp_path), Systemd(nobody))
        monkeypatch.setattr(lock.os, "open", read_only)
        with pytest.raises(StepFailed) as failed, app.alone("rollback"):
            pass
        words = f"Read-only file system: {layout.lock}: {layout.state} has to be writable: Headcount keeps its lock"
        assert failed.value.cause.startswith(words)

    def test_commands_that_run_with_the_app_end_with_it(self, tmp_path: Path) -> None:
        deployed(tmp_path, 1)
        units = ["headcount-run-shop-41", "headcount-run-shop-x-42", "headcount-prepare-shop"]
        called: list[list[str]] = []

        def systemd(command: Sequence[str], timeout_seconds: float) -> Completed:
            called.append(list(command))
            wanted = command[command.index("--") + 1 :] if "show" in command and "--" in command else []
            shown = [unit for unit in units if any(fnmatch(f"{unit}.service", pattern) for pattern in wanted)]
            loaded = "LoadState=loaded\nActiveState=active"
            return Completed(0, "\n\n".join(f"Id={unit}.service\n{loaded}" for unit in shown), "")

        removed = remove(AppOnHost("shop", self.RUN, str(tmp_path), Systemd(systemd)))
        ended = ["headcount-prepare-shop.service", "headcount-run-shop-41.service"]
        assert removed["ended"] == ended
        assert any(command[-3:] == ["stop", *ended] for command in called)


@pytest.mark.parametrize(("name", "live", "user", "told"), [
    ("till", True, "kept", True),
    ("till", True, None, False),
    ("till", False, "kept", False),
    ("shop", True, "kept", False),
])  # fmt: skip
def test_an_app_does_not_get_the_account_of_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, live: bool, user: str | None, told: bool
) -> None:
    """Declared in another inventory, so that nobody sees both: each could read the other's secrets."""
    monkeypatch.setattr(_clashes, "account_problem", lambda *_, **__: None)
    monkeypatch.setattr(_clashes.unmet, "unmet", lambda *_: [])
    put(tmp_path, "opt/headcount/shop/generations/1/generation.json", json.dumps({"app": {"user": "kept"}}))
    if live:
        link(tmp_path, "opt/headcount/shop/live", "generations/1")
    asked = {"name": name, "user": user}
    found = _clashes.clashes(Layout(name, str(tmp_path)), {}, asked, _clashes.Host.read(str(tmp_path), nobody))
    sentence = "kept is the account of shop on this host, which could then read its secrets: leave `user` out"
    assert (sentence in found) is told
