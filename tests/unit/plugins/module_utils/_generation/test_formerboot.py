# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What has a boot start a former service is known, taken away, and put back as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import formerboot, formerlinks
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

UNIT = "old.service"
ETC = "/etc/systemd/system"
WANTS = f"{ETC}/multi-user.target.wants/{UNIT}"


class Units:
    """A systemd that says of units what is told, and counts how often it has read them anew."""

    def __init__(self, **told: dict[str, str]) -> None:
        self.told = {name.replace("_", "."): properties for name, properties in told.items()}
        self.reloads = 0

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        return {name: self.told.get(unit, {}).get(name, "") for name in names}

    def reload(self) -> None:
        self.reloads += 1


class Disk:
    """The unit files of a host below a folder of the test's."""

    def __init__(self, root: Path) -> None:
        self.root, self.layout = root, Layout("shop", str(root))
        self.file(f"{ETC}/{UNIT}")

    def file(self, path: str, text: str = "[Service]\n") -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def link(self, path: str, target: str) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)

    def problem(self, **told: str) -> str:
        own = {"UnitFileState": "enabled", "FragmentPath": f"{ETC}/{UNIT}", **told}
        targets = {
            "grp_target": {"FragmentPath": f"{ETC}/grp.target"},
            "multi-user_target": {"Names": "default.target"},
        }
        return formerboot.problem(self.layout, UNIT, Units(old_service=own, **targets))


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


LINKS = {
    WANTS: f"../{UNIT}",  # made by hand
    f"{ETC}/graphical.target.requires/{UNIT}": f"{ETC}/{UNIT}",
    f"{ETC}/web.service": f"{ETC}/{UNIT}",
    f"{ETC}/a.target.upholds/web.service": f"{ETC}/{UNIT}",
}


def _tree(root: Path) -> dict[str, str]:
    """All names below a folder, and where those lead that are links."""
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else "" for path in sorted(root.rglob("*"))
    }


def test_every_link_is_taken_away_and_put_back_as_it_was(disk: Disk) -> None:
    for path, target in LINKS.items():
        disk.link(path, target)
    disk.link(f"{ETC}/multi-user.target.wants/other.service", "../other.service")
    before, units = _tree(disk.root), Units()
    found = formerboot.links(disk.layout, [UNIT])
    assert found == LINKS
    formerlinks.take_away(disk.layout, units, found)
    assert set(before) - set(_tree(disk.root)) == {
        *(path.lstrip("/") for path in LINKS),
        "etc/systemd/system/graphical.target.requires",
        "etc/systemd/system/a.target.upholds",
    }
    assert formerlinks.put_back(disk.layout, units, found) == []
    assert _tree(disk.root) == before
    assert units.reloads == 2


def test_what_cannot_be_put_back_is_told(disk: Disk) -> None:
    disk.file(WANTS)
    assert formerlinks.put_back(disk.layout, Units(), {WANTS: f"../{UNIT}"}) == [
        f"{WANTS} is not the link to ../{UNIT} that it was: put it back by hand"
    ]


@pytest.mark.parametrize("state", ["enabled", "disabled", "static", "indirect", ""])
def test_one_whose_links_are_all_is_taken(disk: Disk, state: str) -> None:
    disk.link(WANTS, f"../{UNIT}")
    assert disk.problem(UnitFileState=state, WantedBy="multi-user.target") == ""


def test_what_belongs_to_the_same_service_may_start_it(disk: Disk) -> None:
    assert formerboot.problem(disk.layout, UNIT, Units(old_service={"RequiredBy": "old.socket"}), ["old.socket"]) == ""


def test_a_link_below_another_name_of_a_target_counts(disk: Disk) -> None:
    disk.link(f"{ETC}/default.target.wants/{UNIT}", f"../{UNIT}")
    assert disk.problem(WantedBy="multi-user.target") == ""


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        (
            {"UnitFileState": "generated", "SourcePath": "/etc/init.d/old"},
            "old.service is made from /etc/init.d/old anew at each boot, which would start it again; give it a",
        ),
        ({"UnitFileState": "linked-runtime"}, "systemd calls the unit file of old.service linked-runtime, which could"),
        ({"UnitFileState": "masked"}, "systemd calls the unit file of old.service masked"),
        ({"UnitFileState": "of-a-new-kind"}, "systemd calls the unit file of old.service of-a-new-kind"),
        ({"FragmentPath": f"/run/systemd/system/{UNIT}"}, f"/run/systemd/system/{UNIT} is gone with the next boot"),
        (
            {"FragmentPath": f"{ETC}/gone.service"},
            f"{ETC}/gone.service is gone, so that old.service could not be given",
        ),
        ({"WantedBy": "multi-user.target"}, "a unit file of multi-user.target has multi-user.target start old.service"),
    ],
)
def test_what_a_boot_starts_otherwise_is_refused(disk: Disk, told: dict[str, str], problem: str) -> None:
    assert disk.problem(**told).startswith(problem)


@pytest.mark.parametrize("linked", [True, False])
def test_a_target_that_names_it_in_its_own_file_is_refused(disk: Disk, linked: bool) -> None:
    disk.file(f"{ETC}/grp.target", f"[Unit]\nWants=a.service \\\n  {UNIT}\n")
    if linked:
        disk.link(f"{ETC}/grp.target.wants/{UNIT}", f"../{UNIT}")
    assert disk.problem(WantedBy="grp.target").startswith(
        f"{ETC}/grp.target has grp.target start old.service, and would go on doing so"
    )


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        (f"/usr/lib/systemd/system/multi-user.target.wants/{UNIT}", "take it away first"),
        (f"/run/systemd/system/multi-user.target.wants/{UNIT}", f"`systemctl disable --runtime {UNIT}` first"),
        (f"/run/systemd/generator.late/graphical.target.wants/{UNIT}", "take it away first"),
    ],
)
def test_a_link_that_is_not_an_admins_is_refused(disk: Disk, path: str, fix: str) -> None:
    disk.link(path, f"../{UNIT}")
    state = "enabled-runtime" if path.startswith("/run") else "enabled"
    assert disk.problem(UnitFileState=state) == f"{path} starts {UNIT}, and would go on doing so: {fix}"


def test_a_copy_in_the_place_of_a_link_is_refused(disk: Disk) -> None:
    disk.file(WANTS)
    assert disk.problem().startswith(f"{WANTS} starts {UNIT}")


def test_a_person_is_told_the_links_to_make(disk: Disk) -> None:
    assert formerlinks.by_hand([UNIT], {WANTS: f"../{UNIT}"}) == (
        f"mkdir -p {ETC}/multi-user.target.wants; ln -s ../{UNIT} {WANTS}; systemctl daemon-reload; "
        f"systemctl start {UNIT}"
    )
