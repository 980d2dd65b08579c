# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
from __future__ import annotations

import ipaddress

import pytest
import yaml
from headcount_scripts import labmodel
from headcount_scripts.console import ScriptError
from headcount_scripts.labmodel import Host, HostSpec, Lab


def _lab() -> Lab:
    hosts = [
        Host("small", 1.0, 512, "bookworm", (0,), "10.100.0.11", "image:bookworm-1"),
        Host("large", 2.0, 1024, "trixie", (0, 1), "10.100.0.12", "image:trixie-1"),
    ]
    return Lab("t", "10.100.0.0/24", hosts=hosts)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a", HostSpec("a", 1.0, 512, "bookworm")),
        ("a:2", HostSpec("a", 2.0, 512, "bookworm")),
        ("a:1.5:1g", HostSpec("a", 1.5, 1024, "bookworm")),
        ("web-1:2:1.5G:trixie", HostSpec("web-1", 2.0, 1536, "trixie")),
        ("a:1:512:debian13", HostSpec("a", 1.0, 512, "trixie")),
        ("a:1:256MiB:12", HostSpec("a", 1.0, 256, "bookworm")),
    ],
)
def test_parse_host(text: str, spec: HostSpec) -> None:
    assert labmodel.parse_host(text) == spec


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a:b"], "cores 'b': write a number from 0.1, like 1, 2 or 1.5"),
        (["a:0"], "cores '0': write a number from 0.1, like 1, 2 or 1.5"),
        (["a:nan"], "cores 'nan': write a number from 0.1, like 1, 2 or 1.5"),
        (["a:1:much"], "memory 'much': write a size like 512m or 1.5g"),
        (["a:1:64m"], "memory '64m': a lab host needs at least 128m"),
        (["a:1:1g:sid"], "suite 'sid': the lab has images of bullseye, bookworm, trixie, forky"),
        (["a:1:1g:trixie:x"], "host 'a:1:1g:trixie:x': write NAME:CORES:MEMORY:SUITE, like small:1:512m:bookworm"),
        (["a", "b", "a:2"], "host 'a' is given twice"),
        (
            ["Web_1"],
            "host 'Web_1': allowed are 1 to 25 lower-case letters, digits and dashes, beginning with a letter",
        ),
    ],
)
def test_parse_hosts_says_what_is_wrong(texts: list[str], message: str) -> None:
    with pytest.raises(ScriptError) as error:
        labmodel.parse_hosts(texts)
    assert str(error.value) == message
    assert error.value.code == 2


@pytest.mark.parametrize(
    ("cores", "machine", "load", "keep", "cpus"),
    [
        (1, [0, 1], {}, (), (0,)),
        (2, [0, 1], {0: 1}, (), (0, 1)),
        (2, [0, 1, 2, 3], {0: 1}, (), (1, 2)),
        (1, [0, 1, 2, 3], {0: 1, 1: 1, 2: 1}, (), (3,)),
        (1, [0, 1], {0: 4, 1: 4}, (), (0,)),
        (1.5, [0, 1, 2, 3], {}, (), (0, 1)),
        (0.5, [2, 3], {}, (), (2,)),
        (2, [0, 1, 2, 3], {1: 1}, (3,), (0, 3)),
        (1, [0, 1, 2, 3], {}, (2, 3), (2,)),
    ],
)
def test_pick_cpus(
    cores: float, machine: list[int], load: dict[int, float], keep: tuple[int, ...], cpus: tuple[int, ...]
) -> None:
    assert labmodel.pick_cpus(cores, machine, load, keep) == cpus


def test_pick_cpus_of_too_few() -> None:
    with pytest.raises(ScriptError, match=r"^4 cores were asked for, and this machine has 2; ask for fewer$"):
        labmodel.pick_cpus(4, [0, 1], {})


def test_eight_hosts_spread_over_a_machine_of_two() -> None:
    pinned: list[tuple[int, ...]] = []
    for _ in range(8):
        pinned.append(labmodel.pick_cpus(1, [0, 1], labmodel.cpu_load(pinned)))
    assert labmodel.cpu_load(pinned) == {0: 4.0, 1: 4.0}


def test_pick_subnet_is_the_same_for_the_same_seed_and_avoids_what_is_taken() -> None:
    first = labmodel.pick_subnet("a", [])
    assert labmodel.pick_subnet("a", ["192.168.0.0/16", "fe80::/64"]) == first
    second = labmodel.pick_subnet("a", [first])
    assert second != first
    assert ipaddress.ip_network(second).subnet_of(ipaddress.IPv4Network("10.0.0.0/8"))
    assert labmodel.pick_subnet("b", []) != first


def test_pick_subnet_of_a_full_machine() -> None:
    with pytest.raises(ScriptError, match="no /24 network between"):
        labmodel.pick_subnet("a", ["10.0.0.0/8"])


def test_pick_address_is_the_lowest_free() -> None:
    assert labmodel.pick_address("10.100.7.0/24", []) == "10.100.7.11"
    assert labmodel.pick_address("10.100.7.0/24", ["10.100.7.11", "10.100.7.13"]) == "10.100.7.12"


def test_mac_goes_with_the_address() -> None:
    assert labmodel.mac("10.132.125.11") == "02:00:0a:84:7d:0b"


@pytest.mark.parametrize(("cores", "quota"), [(1.0, -1), (2.0, -1), (1.5, 150_000), (0.25, 25_000)])
def test_quota(cores: float, quota: int) -> None:
    assert labmodel.quota_us(cores) == quota


@pytest.mark.parametrize(("suite", "unified"), [("trixie", True), ("bookworm", True), ("forky", True)])
def test_a_host_starts_its_own_systemd(suite: str, unified: bool) -> None:
    assert labmodel.first_command(suite, unified) == ["/sbin/init"]


@pytest.mark.parametrize("suite", ["bullseye", "bookworm", "trixie"])
def test_a_host_on_version_1_takes_the_machines_named_tree_off_its_own(suite: str) -> None:
    shell, option, script = labmodel.first_command(suite, False)
    assert (shell, option) == ("/bin/sh", "-c")
    taken, started = script.split(" && ")
    assert taken.startswith("if [ $(grep -c ' /sys/fs/cgroup/systemd ' /proc/mounts) -gt 1 ]; then")
    assert taken.endswith("umount /sys/fs/cgroup/systemd; fi")
    assert started == "exec /sbin/init"


def test_a_systemd_without_version_1_gets_the_tree_of_version_2_alone() -> None:
    shell, option, script = labmodel.first_command("forky", False)
    assert (shell, option) == ("/bin/sh", "-c")
    steps = script.split(" && ")
    assert steps[-1] == "exec /sbin/init"
    memory, unmounted, mounted = (
        next(index for index, step in enumerate(steps) if step.startswith(begin))
        for begin in ("mount --bind /sys/fs/cgroup/memory", "umount -R", "mount -t cgroup2")
    )
    assert memory < unmounted < mounted


def test_each_suite_that_is_special_is_one_of_the_lab() -> None:
    special = {*labmodel.BASE_ALONE, *labmodel.NOT_OUT, *labmodel.UNIFIED_ALONE, *labmodel.MORE_PACKAGES}
    assert special <= set(labmodel.SUITES)


def test_lab_survives_its_file() -> None:
    assert Lab.from_json(_lab().to_json()) == _lab()


def test_unknown_host_is_told_with_those_there_are() -> None:
    with pytest.raises(ScriptError, match=r"^the lab 't' has no host 'web'; it has: small, large$"):
        _lab().host("web")


def test_inventory() -> None:
    ssh = '-o UserKnownHostsFile="/a b/known" -o IdentitiesOnly=yes -o ConnectTimeout=10'
    text = labmodel.inventory(_lab(), "/a b/key", "/a b/known", "/run/x/%%h")
    assert yaml.safe_load(text) == {
        "lab": {
            "hosts": {"small": {"ansible_host": "10.100.0.11"}, "large": {"ansible_host": "10.100.0.12"}},
            "vars": {
                "headcount_lab_name": "t",
                "ansible_user": "ansible",
                "ansible_become": True,
                "ansible_ssh_private_key_file": "/a b/key",
                "ansible_ssh_common_args": ssh,
                "ansible_control_path": "/run/x/%%h",
            },
        },
        "bookworm": {"hosts": {"small": None}},
        "trixie": {"hosts": {"large": None}},
    }


def test_ssh_config_checks_host_keys() -> None:
    text = labmodel.ssh_config(_lab(), "/k", "/known")
    assert text.count("StrictHostKeyChecking yes") == 2
    assert text.startswith("Host small 10.100.0.11\n  HostName 10.100.0.11\n")
