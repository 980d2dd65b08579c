# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a former service keeps where it goes with it is not thrown away unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import formerplaces
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState

HOST = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n22 21 0:20 / /run rw shared:2 - tmpfs tmpfs rw\n"
PRIVATE = HOST + "30 21 8:1 /tmp/systemd-private-1a-old.service-x/tmp /tmp rw shared:3 - ext4 /dev/sda1 rw\n"
EMPTY = (
    HOST
    + "30 21 0:40 / /home rw - tmpfs tmpfs rw\n31 30 8:1 /home/deploy/app /home/deploy/app rw - ext4 /dev/sda1 rw\n"
)
READ_ONLY = HOST + "30 21 0:40 / /tmp ro - tmpfs tmpfs rw\n"
STATE = UnitState("loaded", "active", "running", "success", 42, 0, 0, "/system.slice/old.service", "", "")


class Units:
    """A systemd that says of a unit what is told."""

    def __init__(self, **told: str) -> None:
        self.told = told

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        return {name: self.told.get(name, "") for name in names}


def _lost(root: Path, mounts: str, path: str, scratch: list[str], **told: str) -> tuple[str, str]:
    for pid, text in ((1, HOST), (42, mounts)):
        (root / f"proc/{pid}").mkdir(parents=True)
        (root / f"proc/{pid}/mountinfo").write_text(text)
    place = root / f"proc/42/root{path}"
    place.parent.mkdir(parents=True)
    place.write_text("kept")
    return formerplaces.lost("old.service", STATE, 42, scratch, Units(**told), str(root))


@pytest.mark.parametrize(
    ("mounts", "path", "told"),
    [
        (PRIVATE, "/tmp/e.db", {}),
        (EMPTY, "/home/deploy/e.sqlite3", {}),
        (HOST, "/run/old/e.db", {"RuntimeDirectory": "old", "RuntimeDirectoryPreserve": "no"}),
        (HOST, "/run/old/e.db", {"RuntimeDirectory": "old", "RuntimeDirectoryPreserve": "restart"}),
        (HOST, "/dev/shm/e.db", {"RemoveIPC": "yes"}),
    ],
)
def test_a_database_in_a_place_that_goes_with_it_is_refused(
    tmp_path: Path, mounts: str, path: str, told: dict[str, str]
) -> None:
    problem, note = _lost(tmp_path, mounts, path, [], **told)
    assert problem == (
        f"old.service keeps a database in {path}, which is gone when it is stopped: have it keep that in a folder of "
        f"the disk first (`/proc/$(systemctl show --value --property MainPID old.service)/root{path}` is where it is "
        f"now; declare the folder in data.outside), or say that it may be lost (`data: {{scratch: [{path}]}}`)"
    )
    assert note == ""


@pytest.mark.parametrize(
    ("mounts", "path", "told"),
    [
        (HOST, "/tmp/e.db", {}),
        (HOST, "/dev/shm/e.db", {}),
        (EMPTY, "/home/deploy/app/e.db", {}),
        (READ_ONLY, "/tmp/e.db", {}),
        (HOST, "/run/old/e.db", {"RuntimeDirectory": "old", "RuntimeDirectoryPreserve": "yes"}),
        (PRIVATE, "/tmp/tmp1a2b3c4d/upload.part", {}),
    ],
)
def test_what_outlives_it_or_was_made_to_be_thrown_away_is_not(
    tmp_path: Path, mounts: str, path: str, told: dict[str, str]
) -> None:
    assert _lost(tmp_path, mounts, path, [], **told) == ("", "")


def test_what_may_be_lost_is(tmp_path: Path) -> None:
    assert _lost(tmp_path, PRIVATE, "/tmp/e.db", ["/tmp/*.db"]) == ("", "")


def test_other_files_are_told(tmp_path: Path) -> None:
    assert _lost(tmp_path, PRIVATE, "/tmp/uploads/cat.png", []) == (
        "",
        "/tmp/uploads/cat.png of old.service is gone when it is stopped, as no other process sees that place (it is "
        "`/proc/$(systemctl show --value --property MainPID old.service)/root/tmp/uploads/cat.png`)",
    )
