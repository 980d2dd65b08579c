# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where cgroups are, on captured and constructed trees."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import cgroups
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import procfs
from host_trees import active_unit, tree


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
    groups = cgroups.chain("memory", "app-shop.slice", cgroups.read_trees(root), root)
    assert [group.path for group in groups] == ["/app.slice/app-shop.slice", "/app.slice", "/"]


def test_a_container_that_keeps_the_hosts_namespace_is_at_its_own_root(tmp_path: Path) -> None:
    root = tree("debian13-container-host-cgroupns", tmp_path)
    trees = cgroups.read_trees(root)
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
    group = cgroups.locate("name=systemd", path, cgroups.read_trees(root), root)
    assert group is not None
    assert group.directory == "/sys/fs/cgroup/systemd" + control_group


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
