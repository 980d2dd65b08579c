# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""systemd is not made to read its unit files again where its generators have no room."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import reloads
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import Untouched
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.reloads import Manager, NoRoom
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.run import Run
from ansible_collections.headcount.gunicorn.plugins.module_utils._host import boot, exporting
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.app import AppOnHost
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps.stage import stage

RUN = Run("a1", "anna", "control1", "2026-11-22T10:00:00Z")
PIDS = "sys/fs/cgroup/pids"
GENERATORS = [f"systemd-{name}-generator" for name in ("fstab", "getty", "sysv", "gpt-auto")]
NEED = 10
"""Four generators, and six beside them."""


def host(root: Path, most: int, there: int = 13, own: str = "max", kernel: int = 30000) -> str:
    """A container of Debian with a limit of its own: process 1 has the group init.scope."""
    files = {
        "proc/self/mountinfo": f"30 1 0:26 /lab/one /{PIDS} rw - cgroup cgroup rw,pids",
        "proc/1/cgroup": "8:pids:/lab/one/init.scope",
        "proc/loadavg": "0.10 0.20 0.30 2/310 4711",
        "proc/sys/kernel/threads-max": str(kernel),
        "proc/sys/kernel/pid_max": "32768",
        f"{PIDS}/pids.max": str(most),
        f"{PIDS}/pids.current": str(there),
        f"{PIDS}/init.scope/pids.max": own,
        f"{PIDS}/init.scope/pids.current": "1",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    for name in GENERATORS:
        program(root, f"usr/lib/systemd/system-generators/{name}")
    return str(root)


def program(root: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)


class Units:
    """Answers for systemctl; `changed`: units that are not in memory as they are on disk."""

    def __init__(self, *changed: str) -> None:
        self.changed, self.reloads = changed, 0

    def __call__(self, command: Sequence[str], timeout_seconds: float) -> Completed:
        self.reloads += "daemon-reload" in command
        need = "yes" if command[-1] in self.changed else "no"
        return Completed(0, f"LoadState=loaded\nNeedDaemonReload={need}\n", "")


def test_as_many_as_it_takes_and_some_to_spare(tmp_path: Path) -> None:
    spare = 13 + NEED + reloads.SPARE
    assert not reloads.no_room_to_reload(host(tmp_path, spare))
    said = reloads.no_room_to_reload(host(tmp_path, spare - 1))
    assert f"take {NEED} processes and threads, and 10 are to spare, but only 19 more" in said
    assert "(/sys/fs/cgroup/pids/pids.max is 32, and 13 are there)" in said
    assert "/etc/fstab" in said
    assert "allow more, and run this again" in said


def test_a_generator_of_others_may_have_processes_of_its_own(tmp_path: Path) -> None:
    root = host(tmp_path, 1000)
    program(tmp_path, "etc/systemd/system-generators/zfs-mount-generator")
    assert reloads.needed(root) == NEED + reloads.OTHERS


def test_one_that_another_folder_replaces_and_one_that_is_masked_count_once_and_not_at_all(tmp_path: Path) -> None:
    root = host(tmp_path, 1000)
    program(tmp_path, f"etc/systemd/system-generators/{GENERATORS[0]}")
    (tmp_path / "etc/systemd/system-generators/masked-generator").symlink_to("/dev/null")
    assert reloads.needed(root) == NEED


def test_systemd_has_a_limit_of_its_own(tmp_path: Path) -> None:
    assert not reloads.no_room_to_reload(host(tmp_path, 74, own=str(1 + NEED)))
    said = reloads.no_room_to_reload(host(tmp_path, 74, own=str(NEED)))
    limit = "/sys/fs/cgroup/pids/init.scope/pids.max is 10, and 1 are there"
    assert f"take {NEED} processes and threads, but only 9 more may be begun ({limit})" in said
    assert "systemctl set-property --runtime init.scope TasksMax=infinity" in said


def test_what_the_reload_would_leave_systemd_of_a_limit_that_was_lowered(tmp_path: Path) -> None:
    said = reloads.no_room_to_reload(host(tmp_path, 53, own="307"))
    assert "init.scope/pids.max, once it is set anew, is 7, and 1 are there" in said


@pytest.mark.parametrize("file", ["etc/systemd/system.conf", "run/systemd/transient/init.scope.d/50-TasksMax.conf"])
def test_a_limit_that_somebody_set_stays(tmp_path: Path, file: str) -> None:
    root = host(tmp_path, 53, own="307")
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("[Manager]\n#DefaultTasksMax=9\n", encoding="utf-8")
    assert reloads.no_room_to_reload(root)
    (tmp_path / file).write_text("[X]\nDefaultTasksMax=307\n", encoding="utf-8")
    assert not reloads.no_room_to_reload(root)


def test_the_kernel_has_no_more(tmp_path: Path) -> None:
    assert "kernel.threads-max is 315, and 310 are there" in reloads.no_room_to_reload(host(tmp_path, 900, kernel=315))


def test_a_host_that_tells_nothing_is_reloaded(tmp_path: Path) -> None:
    units = Units()
    Manager(units, root=str(tmp_path)).reload()
    assert units.reloads == 1


def test_systemd_is_not_even_asked(tmp_path: Path) -> None:
    units = Units()
    with pytest.raises(NoRoom, match="no room for systemd to read"):
        Manager(units, root=host(tmp_path, 20)).reload()
    assert units.reloads == 0


def test_a_step_is_refused_before_it_changes_anything(tmp_path: Path) -> None:
    with pytest.raises(Untouched, match="no room for systemd to read") as caught:
        reloads.fail_if_no_room(Manager(Units(), root=host(tmp_path, 20)), "promote")
    assert caught.value.phase == "promote"
    reloads.fail_if_no_room(Systemd(Units()), "promote")


def test_nothing_is_staged_and_nothing_is_written(tmp_path: Path) -> None:
    units = Units()
    app = AppOnHost("shop", RUN, str(tmp_path), Manager(units, root=host(tmp_path, 20)))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Untouched, match="no room for systemd to read"):
        stage(app, {"app": {"name": "shop", "user": None}, "release": {"id": "0" * 16}})
    assert sorted(tmp_path.rglob("*")) == before
    assert units.reloads == 0


def test_the_units_of_the_host_itself_are_not_written(tmp_path: Path) -> None:
    manager = Manager(Units(), root=host(tmp_path, 20))
    before = sorted(tmp_path.rglob("*"))
    for install in (boot.install, lambda *where: exporting.install("127.0.0.1:9877", *where)):
        with pytest.raises(NoRoom):
            install(str(tmp_path), manager)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_has_systemctl_reload_by_itself_is_not_asked_for(tmp_path: Path) -> None:
    manager = Manager(Units(), root=host(tmp_path, 20))
    for change in (manager.enable, manager.disable):
        change()
        with pytest.raises(NoRoom):
            change("old.service")


def test_units_that_systemd_has_as_they_are_need_no_reload(tmp_path: Path) -> None:
    manager = Manager(Units("b.socket"), root=host(tmp_path, 20))
    reloads.reload_for(manager, "a.service")
    with pytest.raises(NoRoom):
        reloads.reload_for(manager, "a.service", "b.socket")


def test_a_way_back_goes_on_without_and_says_so(tmp_path: Path) -> None:
    manager = Manager(Units("b.socket"), root=host(tmp_path, 20))
    assert "systemd has not read b.socket again" in reloads.try_reload(manager, "b.socket")
    assert reloads.try_reload(manager, "a.service") == ""
    assert reloads.try_reload(manager) == ""


def test_where_there_is_room_all_is_read(tmp_path: Path) -> None:
    units = Units("b.socket")
    assert reloads.try_reload(Manager(units, root=host(tmp_path, 100)), "b.socket") == ""
    assert units.reloads == 1
