# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where cgroups are, and what a running unit's cgroup says, on captured and constructed trees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _cgroups as cgroups
from ansible_collections.headcount.gunicorn.plugins.module_utils import _procfs as procfs

HOSTS = Path(__file__).resolve().parents[2] / "fixtures" / "hosts"
MIB = 1024 * 1024


def tree(name: str, directory: Path) -> str:
    document = json.loads((HOSTS / f"{name}.json").read_text(encoding="utf-8"))
    for file, text in document["files"].items():
        path = directory / file.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return str(directory)


def active_unit() -> tuple[int, str]:
    unit = json.loads((HOSTS / "debian13-slice-active.json").read_text(encoding="utf-8"))["unit"]
    return unit["pid"], unit["control_group"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("-.slice", ["-.slice"]),
        ("system.slice", ["-.slice", "system.slice"]),
        ("a-b-c.slice", ["-.slice", "a.slice", "a-b.slice", "a-b-c.slice"]),
        ("shop\\x2dfront.slice", ["-.slice", "shop\\x2dfront.slice"]),
    ],
)
def test_slices_nest_at_dashes(name: str, expected: list[str]) -> None:
    assert cgroups.slice_names(name) == expected


def test_the_chain_goes_from_the_slice_to_the_visible_root(tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    groups = cgroups.chain("memory", "app-shop.slice", cgroups.layout(root), root)
    assert [group.path for group in groups] == ["/app.slice/app-shop.slice", "/app.slice", "/"]


def test_a_container_that_keeps_the_hosts_namespace_is_at_its_own_root(tmp_path: Path) -> None:
    root = tree("debian13-container-host-cgroupns", tmp_path)
    trees = cgroups.layout(root)
    path = cgroups.memberships(1, root)["memory"]
    assert path.startswith("/libpod_parent/libpod-")
    group = cgroups.locate("memory", path, trees, root)
    assert group is not None
    assert (group.path, group.directory) == ("/", "/sys/fs/cgroup/memory")


def test_the_path_of_a_tree_that_is_mounted_from_above_the_namespace(tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    pid, control_group = active_unit()
    path = cgroups.memberships(pid, root)["name=systemd"]
    assert path == "/../../web.slice/web-shop.slice/shop.service"
    group = cgroups.locate("name=systemd", path, cgroups.layout(root), root)
    assert group is not None
    assert group.directory == "/sys/fs/cgroup/systemd" + control_group


@pytest.mark.parametrize("by_path", [False, True])
def test_memory_of_a_unit_under_version_1(by_path: bool, tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    memory = cgroups.unit_memory(active_unit()[int(by_path)], root)
    assert memory is not None
    directory = tmp_path / "sys/fs/cgroup/memory/web.slice/web-shop.slice/shop.service"
    assert memory.current_mib == int((directory / "memory.usage_in_bytes").read_text()) / MIB
    assert memory.peak_mib == int((directory / "memory.max_usage_in_bytes").read_text()) / MIB
    assert memory.peak_mib > 4.0
    assert memory.peak_source == "cgroup v1 memory.max_usage_in_bytes"
    assert (memory.max_mib, memory.high_mib, memory.oom_kills, memory.under_oom) == (250.0, None, 0, False)
    assert memory.version == 1


@pytest.mark.parametrize("unit", [4242, "/app.slice/app-shop.slice/shop@3.service"])
def test_memory_of_a_unit_under_version_2(unit: int | str, tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    memory = cgroups.unit_memory(unit, root)
    assert memory is not None
    assert memory.to_dict() == {
        "cgroup": "/app.slice/app-shop.slice/shop@3.service",
        "version": 2,
        "current_mib": 160.0,
        "peak_mib": 200.0,
        "peak_source": "cgroup v2 memory.peak",
        "high_mib": 460.0,
        "max_mib": 512.0,
        "anon_mib": 80.0,
        "inactive_file_mib": 40.0,
        "oom_kills": 1,
        "under_oom": None,
    }


def test_no_peak_before_linux_5_19(tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    (tmp_path / "sys/fs/cgroup/app.slice/app-shop.slice/shop@3.service/memory.peak").unlink()
    memory = cgroups.unit_memory(4242, root)
    assert memory is not None
    assert (memory.peak_mib, memory.peak_source) == (None, "none")


def test_a_parents_figures_are_not_the_units(tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    pid, control_group = active_unit()
    assert cgroups.memberships(pid, root)["cpuacct"] == "/"
    assert cgroups.unit_cpu_seconds(pid, root) is None
    assert cgroups.unit_cpu_seconds(control_group, root) is None
    assert cgroups.memberships(pid, root)["devices"] == "/web.slice"
    assert cgroups.unit_group("devices", pid, root) is None


def test_cpu_seconds_of_a_unit_under_version_2(tmp_path: Path) -> None:
    assert cgroups.unit_cpu_seconds(4242, tree("v2-slices-nested", tmp_path)) == 2.5


def test_cpu_seconds_of_a_unit_under_version_1_with_accounting(tmp_path: Path) -> None:
    root = tree("v1-bare-metal-hyperthreads", tmp_path)
    paths = "".join(f"{n}:/system.slice/a.service\n" for n in ("4:memory", "2:cpu,cpuacct", "1:name=systemd"))
    (tmp_path / "proc/77").mkdir()
    (tmp_path / "proc/77/cgroup").write_text(paths, encoding="utf-8")
    directory = tmp_path / "sys/fs/cgroup/cpu,cpuacct/system.slice/a.service"
    directory.mkdir()
    (directory / "cpuacct.usage").write_text("1500000000\n", encoding="utf-8")
    assert cgroups.unit_cpu_seconds(77, root) == 1.5
    assert cgroups.unit_memory(77, root) is None  # no such directory in the memory tree


def test_processes_of_a_unit_include_those_of_groups_below(tmp_path: Path) -> None:
    assert cgroups.unit_pids(4242, tree("v2-slices-nested", tmp_path)) == [4242, 4243, 4244]


def test_processes_of_a_captured_unit(tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    pid, control_group = active_unit()
    pids = cgroups.unit_pids(pid, root)
    assert len(pids) == 2
    assert pids[0] == pid
    assert cgroups.unit_pids(control_group, root) == pids


@pytest.mark.parametrize("unit", [999999, "/system.slice/gone.service", "", "/"])
def test_a_unit_that_is_gone_has_nothing(unit: int | str, tmp_path: Path) -> None:
    root = tree("v2-slices-nested", tmp_path)
    assert cgroups.unit_memory(unit, root) is None
    assert cgroups.unit_cpu_seconds(unit, root) is None
    assert cgroups.unit_pids(unit, root) == []
    assert cgroups.reset_peak(unit, root) is False
    with cgroups.PeakMeter(unit, root) as meter:
        assert (meter.reset(), meter.read(), meter.source) == (False, None, "none")


def test_the_peak_is_read_and_reset_under_version_1(tmp_path: Path) -> None:
    root = tree("debian13-slice-active", tmp_path)
    pid = active_unit()[0]
    file = tmp_path / "sys/fs/cgroup/memory/web.slice/web-shop.slice/shop.service/memory.max_usage_in_bytes"
    with cgroups.PeakMeter(pid, root) as meter:
        assert meter.read() == int(file.read_text()) / MIB
        assert meter.reset() is True
        assert meter.since_reset is True
    assert file.read_text().startswith("0\n")
    assert cgroups.reset_peak(pid, root) is True
    assert file.read_text() == "0\n"


def test_a_shared_reset_does_not_exist_under_version_2(tmp_path: Path) -> None:
    assert cgroups.reset_peak(4242, tree("v2-slices-nested", tmp_path)) is False


@pytest.mark.parametrize(
    ("text", "cpus", "canonical"),
    [
        ("0-3", {0, 1, 2, 3}, "0-3"),
        ("0 2-3", {0, 2, 3}, "0,2-3"),
        ("7,5", {5, 7}, "5,7"),
        ("", set(), ""),
        ("max", set(), ""),
    ],
)
def test_cpu_lists(text: str, cpus: set[int], canonical: str) -> None:
    assert procfs.parse_cpu_list(text) == cpus
    assert procfs.format_cpu_list(cpus) == canonical


def test_cpu_seconds_of_processes_with_awkward_names(tmp_path: Path) -> None:
    (tmp_path / "proc/5").mkdir(parents=True)
    stat = "5 (a ) R b) S 1 5 5 0 -1 4194560 1 0 0 0 150 50 20 30 20 0 1 0 1 1 1"
    (tmp_path / "proc/5/stat").write_text(stat, encoding="utf-8")
    assert procfs.process_cpu_seconds([5, 6], str(tmp_path), ticks=100) == 2.5
