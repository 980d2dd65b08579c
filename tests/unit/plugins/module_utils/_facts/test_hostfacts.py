# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Host facts on captured and constructed trees of /proc and /sys files (tests/unit/fixtures/hosts)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts import given, hostfacts, interpreter
from ansible_collections.headcount.gunicorn.plugins.module_utils._facts.hardware import fact_parts
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import procfs
from host_trees import HOSTS, captured, lay_out

DOCUMENTS = {path.stem: captured(path.stem) for path in sorted(HOSTS.glob("*.json"))}


def facts_of(name: str, directory: Path, slice_: str | None = None) -> hostfacts.HostFacts:
    document = DOCUMENTS[name]

    def answer(command: Sequence[str]) -> str | None:
        text: str | None = document["commands"].get(" ".join(command))
        return text

    found = document["local"]
    python, platform = interpreter.Python(**found["python"]), hostfacts.Platform(**found["platform"])
    local = hostfacts.Local(**{**found, "python": python, "platform": platform})
    return hostfacts.read(lay_out(document, directory), slice_ or document["slice"], answer, local)


def limit(limits: tuple[hostfacts.Considered, ...], name: str) -> hostfacts.Considered:
    return next(item for item in limits if item.name == name)


def test_every_tree_says_where_it_is_from() -> None:
    origins = {name: document["origin"] for name, document in DOCUMENTS.items()}
    assert sorted(name for name, origin in origins.items() if origin == "captured") == [
        "debian12-container-hybrid",
        "debian12-v2-container",
        "debian12-v2-slices-active",
        "debian12-v2-slices-inactive",
        "debian12-vm-v2",
        "debian13-container-host-cgroupns",
        "debian13-container-hybrid",
        "debian13-slice-active",
        "debian13-slice-inactive",
        "debian13-v2-container",
        "debian13-v2-slices-active",
        "debian13-v2-slices-inactive",
        "debian13-vm-v2",
        "vm-without-systemd-hybrid",
    ]
    assert set(origins.values()) == {"captured", "constructed"}
    assert all(document["how"] for document in DOCUMENTS.values())


CORES = [
    # tree, effective, limited by, physical, logical, of the host, CPUs
    ("debian12-container-hybrid", 1.0, "cpuset of cgroup /", 1, 1, 4, "0"),
    ("debian13-container-hybrid", 2.0, "cpuset of cgroup /", 2, 2, 4, "0-1"),
    ("debian13-container-host-cgroupns", 0.5, "CPU quota of cgroup /", 4, 4, 4, "0-3"),
    ("debian13-slice-active", 0.75, "CPU quota of cgroup /web.slice/web-shop.slice", 3, 3, 4, "0-2"),
    ("debian13-slice-inactive", 0.75, "CPUQuota of web-shop.slice", 3, 3, 4, "0-2"),
    ("debian12-v2-container", 0.5, "CPU quota of cgroup /", 2, 2, 2, "0-1"),
    ("debian12-v2-slices-active", 1.0, "cpuset of cgroup /app.slice/app-shop.slice", 1, 1, 2, "1"),
    ("debian12-v2-slices-inactive", 1.0, "AllowedCPUs of app-shop.slice", 1, 1, 2, "1"),
    ("debian12-vm-v2", 2.0, "online CPUs", 2, 2, 2, "0-1"),
    ("debian13-v2-container", 0.5, "CPU quota of cgroup /", 2, 2, 2, "0-1"),
    ("debian13-v2-slices-active", 1.0, "cpuset of cgroup /app.slice/app-shop.slice", 1, 1, 4, "1"),
    ("debian13-v2-slices-inactive", 1.0, "AllowedCPUs of app-shop.slice", 1, 1, 4, "1"),
    ("debian13-vm-v2", 4.0, "online CPUs", 2, 4, 4, "0-3"),
    ("vm-without-systemd-hybrid", 4.0, "online CPUs", 4, 4, 4, "0-3"),
    ("v1-bare-metal-hyperthreads", 8.0, "online CPUs", 4, 8, 8, "0-7"),
    ("v1-container-hidden-limit", 1.25, "CPU quota of cgroup /", 2, 2, 8, "2,5"),
    ("v2-bare-metal-hyperthreads", 8.0, "online CPUs", 4, 8, 8, "0-7"),
    ("v2-container", 0.5, "CPU quota of cgroup /", 4, 8, 8, "0-7"),
    ("v2-slices-nested", 2.5, "CPU quota of cgroup /app.slice", 3, 3, 4, "0-2"),
    ("v2-slice-inactive", 1.5, "CPUQuota of shop.slice", 1, 2, 4, "2-3"),
    ("v2-96-cores-isolated", 90.0, "affinity of PID 1", 48, 90, 96, "0-89"),
]


@pytest.mark.parametrize("row", CORES, ids=lambda row: row[0])
def test_cores(row: tuple[str, float, str, int, int, int, str], tmp_path: Path) -> None:
    tree, effective, by, physical, logical, online, cpus = row
    cores = facts_of(tree, tmp_path).cores
    assert (cores.effective, cores.limited_by) == (effective, by)
    assert (cores.physical, cores.logical, cores.host_logical, cores.cpus) == (physical, logical, online, cpus)
    assert cores.smt == (physical < logical)


MEMORY = [
    # tree, effective, limited by, total, swap, available
    ("debian12-container-hybrid", 512, "memory limit of cgroup /", 24104, 0, 481),
    ("debian13-container-hybrid", 1024, "memory limit of cgroup /", 24104, 0, 989),
    ("debian13-container-host-cgroupns", 256, "memory limit of cgroup /", 24104, 0, 248),
    ("debian13-slice-active", 300, "memory limit of cgroup /web.slice", 24104, 0, 295),
    ("debian13-slice-inactive", 300, "MemoryMax of web.slice", 24104, 0, 300),
    ("debian12-v2-container", 256, "memory.max of cgroup /", 973, 0, 249),
    ("debian12-v2-slices-active", 400, "memory.max of cgroup /app.slice/app-shop.slice", 973, 0, None),
    ("debian12-v2-slices-inactive", 400, "MemoryMax of app-shop.slice", 973, 0, 400),
    ("debian12-vm-v2", 973, "MemTotal", 973, 0, 731),
    ("debian13-v2-container", 256, "memory.max of cgroup /", 967, 0, 243),
    ("debian13-v2-slices-active", 400, "memory.max of cgroup /app.slice/app-shop.slice", 966, 0, 334),
    ("debian13-v2-slices-inactive", 400, "MemoryMax of app-shop.slice", 966, 0, 400),
    ("debian13-vm-v2", 966, "MemTotal", 966, 0, 798),
    ("vm-without-systemd-hybrid", 24104, "MemTotal", 24104, 0, None),
    ("v1-bare-metal-hyperthreads", 16384, "MemTotal", 16384, 0, 12288),
    (
        "v1-container-hidden-limit",
        128,
        "memory limit of an ancestor outside of the cgroup namespace",
        16384,
        0,
        128,
    ),
    ("v2-bare-metal-hyperthreads", 16384, "MemTotal", 16384, 2048, 12288),
    ("v2-container", 256, "memory.max of cgroup /", 16384, 0, 208),
    ("v2-slices-nested", 1536, "memory.high of cgroup /app.slice", 8192, 0, 1386),
    ("v2-slice-inactive", 700, "MemoryHigh of shop.slice", 4096, 0, 700),
    ("v2-96-cores-isolated", 524288, "MemTotal", 524288, 0, 393216),
]


@pytest.mark.parametrize("row", MEMORY, ids=lambda row: row[0])
def test_memory(row: tuple[str, int, str, int, int, int | None], tmp_path: Path) -> None:
    tree, effective, by, total, swap, available = row
    memory = facts_of(tree, tmp_path).memory
    assert (memory.effective_mib, memory.limited_by) == (effective, by)
    assert (memory.total_mib, memory.swap_mib) == (total, swap)
    if available is not None:
        assert memory.available_mib == available


def test_every_tree_is_in_both_tables() -> None:
    assert {row[0] for row in CORES} == {row[0] for row in MEMORY} == set(DOCUMENTS)


@pytest.mark.parametrize("tree", sorted(DOCUMENTS))
def test_every_limit_names_its_source_and_facts_survive_json(tree: str, tmp_path: Path) -> None:
    facts = facts_of(tree, tmp_path)
    for item in facts.cores.considered + facts.memory.considered + facts.nofile_considered:
        assert item.source == "systemctl show" or item.source in DOCUMENTS[tree]["files"], item
    assert given.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


@pytest.mark.parametrize(
    ("tree", "version", "mode", "memory"),
    [
        ("debian12-container-hybrid", "hybrid", "hybrid", 1),
        ("debian13-container-host-cgroupns", 1, "legacy", 1),
        ("v1-bare-metal-hyperthreads", 1, "legacy", 1),
        ("v2-container", 2, "unified", 2),
        ("debian12-vm-v2", 2, "unified", 2),
        ("debian13-vm-v2", 2, "unified", 2),
    ],
)
def test_cgroup_version(tree: str, version: int | str, mode: str, memory: int, tmp_path: Path) -> None:
    cgroup = facts_of(tree, tmp_path).cgroup
    assert (cgroup.version, cgroup.mode, cgroup.memory) == (version, mode, memory)


def test_a_setting_that_systemd_does_not_enforce_is_listed_but_does_not_count(tmp_path: Path) -> None:
    facts = facts_of("debian13-slice-active", tmp_path)
    high = limit(facts.memory.considered, "MemoryHigh of web.slice")
    assert (high.value, high.counts, high.note) == (200.0, False, "not enforced under cgroup v1")
    allowed = limit(facts.cores.considered, "AllowedCPUs of web-shop.slice")
    assert (allowed.value, allowed.counts) == (2.0, False)
    assert allowed.note == "systemd sets cpusets under cgroup v2 only"


def test_unlimited_is_listed_as_none(tmp_path: Path) -> None:
    facts = facts_of("v1-bare-metal-hyperthreads", tmp_path)
    assert limit(facts.memory.considered, "memory limit of cgroup /").value is None
    assert limit(facts.cores.considered, "CPU quota of cgroup /").value is None


def test_the_slice_of_the_service_decides_not_another(tmp_path: Path) -> None:
    facts = facts_of("v2-slices-nested", tmp_path, "system.slice")
    assert facts.cores.effective == 4.0
    assert facts.memory.effective_mib == 8192


def test_what_a_digest_sees_is_the_same_before_and_after_the_slice_starts(tmp_path: Path) -> None:
    before = facts_of("debian13-slice-inactive", tmp_path / "before")
    after = facts_of("debian13-slice-active", tmp_path / "after")
    assert fact_parts(before.to_dict()) == fact_parts(after.to_dict())
    assert (before.cores.effective, before.cores.physical, before.cores.logical) == (0.75, 3, 3)
    assert before.memory.effective_mib == 300


@pytest.mark.parametrize("tree", [f"debian{n}-v2-slices-{state}" for n in (12, 13) for state in ("active", "inactive")])
def test_a_fractional_quota_and_a_throttle_of_a_captured_slice_under_version_2(tree: str, tmp_path: Path) -> None:
    document = DOCUMENTS[tree]
    blocks = next(text for line, text in document["commands"].items() if "app-shop" in line).split("\n\n")

    def answer(command: Sequence[str]) -> str | None:
        return "\n\n".join(blocks[:2]) if command[-1] == "app.slice" else None

    facts = hostfacts.read(lay_out(document, tmp_path), "app.slice", answer)
    assert facts.cores.effective == 1.5
    assert facts.memory.effective_mib == 500


@pytest.mark.parametrize(("system", "systemd", "nofile"), [("debian12", 252, 1048576), ("debian13", 257, 1073741816)])
def test_the_rest_of_a_captured_machine_under_version_2(system: str, systemd: int, nofile: int, tmp_path: Path) -> None:
    facts = facts_of(f"{system}-vm-v2", tmp_path)
    assert facts.cgroup == hostfacts.Cgroup(2, "unified", 2, 2, 2)
    assert (facts.systemd, facts.nofile_max, facts.nofile_limited_by) == (systemd, nofile, "fs.nr_open")
    assert (facts.somaxconn, facts.notes) == (4096, ())


def test_a_captured_container_without_systemd_under_version_2_says_what_is_not_known(tmp_path: Path) -> None:
    facts = facts_of("debian13-v2-container", tmp_path)
    assert facts.cgroup == hostfacts.Cgroup(2, "unified", 2, 2, 0)  # its unit was not given the cpuset controller
    assert len(facts.notes) == 1
    assert facts.notes[0].startswith("systemctl gave no answer")


@pytest.mark.parametrize(("system", "online"), [("debian12", 2), ("debian13", 4)])
def test_a_slice_looks_the_same_to_a_digest_before_and_after_it_starts_under_version_2(
    system: str, online: int, tmp_path: Path
) -> None:
    before = facts_of(f"{system}-v2-slices-inactive", tmp_path / "before")
    units = tmp_path / "after/etc/systemd/system"
    units.mkdir(parents=True)
    (units / "capture.service").symlink_to("/opt/headcount/shop/generations/1/capture.service")
    after = facts_of(f"{system}-v2-slices-active", tmp_path / "after")
    assert fact_parts(before.to_dict()) == fact_parts(after.to_dict())
    assert (before.cores.effective, before.cores.physical, before.cores.host_logical) == (1.0, 1, online)
    assert before.memory.effective_mib == 400


def test_nofile_is_bounded_by_pid_1_when_it_may_not_raise_its_limit(tmp_path: Path) -> None:
    facts = facts_of("debian13-container-hybrid", tmp_path)
    assert (facts.nofile_max, facts.nofile_limited_by) == (20000, "hard limit of PID 1")
    assert limit(facts.nofile_considered, "DefaultLimitNOFILE").value == 524288.0


def test_nofile_is_bounded_by_the_kernel_when_pid_1_may_raise_its_limit(tmp_path: Path) -> None:
    facts = facts_of("vm-without-systemd-hybrid", tmp_path)
    assert (facts.nofile_max, facts.nofile_limited_by) == (1073741816, "fs.nr_open")
    assert limit(facts.nofile_considered, "hard limit of PID 1").note == "PID 1 may raise it"


def test_capabilities_in_a_user_namespace_do_not_raise_limits(tmp_path: Path) -> None:
    root = Path(lay_out(DOCUMENTS["vm-without-systemd-hybrid"], tmp_path))
    (root / "proc/1/uid_map").write_text("         0       1000          1\n", encoding="utf-8")
    facts = hostfacts.read(str(root))
    assert facts.nofile_limited_by == "hard limit of PID 1"


def test_the_rest_of_a_captured_host(tmp_path: Path) -> None:
    facts = facts_of("debian12-container-hybrid", tmp_path)
    assert facts.os == hostfacts.Os("debian", "12")
    assert (facts.systemd, facts.somaxconn, facts.dev_shm_mib) == (252, 4096, 62)
    assert (facts.python.version, facts.python.executable) == ("3.11", "/usr/bin/python3")
    assert facts.platform == hostfacts.Platform("x86_64", "glibc 2.36", "Linux")
    assert (facts.psutil, facts.h2load, facts.h2load_version) == ("5.9.4", "/usr/bin/h2load", "1.52.0")
    assert len(facts.boot_id) == 36
    assert facts.notes == ()


def test_without_an_answer_of_systemd_a_note_says_what_is_not_known(tmp_path: Path) -> None:
    facts = hostfacts.read(lay_out(DOCUMENTS["v2-slice-inactive"], tmp_path), "shop.slice")
    assert (facts.cores.effective, facts.memory.effective_mib, facts.systemd) == (4.0, 4096, 0)
    assert facts.notes == (
        "systemctl gave no answer: limits that systemd would set on shop.slice are known only as far as it is active",
    )


def test_an_empty_tree_is_a_host_of_one_core_that_tells_nothing(tmp_path: Path) -> None:
    facts = hostfacts.read(str(tmp_path))
    assert (facts.cores.effective, facts.cores.limited_by) == (1.0, "online CPUs")
    assert facts.cgroup == hostfacts.Cgroup(0, "none", 0, 0, 0)
    assert facts.notes[1] == "no cgroup tree is mounted: neither quotas nor memory limits can hold"


@pytest.mark.parametrize("name", ["system", "a/b.slice", ".slice", "a--b.slice"])
def test_what_is_not_a_slice_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^slice: '.*' is not (the name of a systemd slice|a valid slice name)"):
        hostfacts.read(slice_=name)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("infinity", None), ("", None), ("750ms", 0.75), ("1.5s", 1.5), ("1min 36s", 96.0), ("1s 250ms", 1.25)],
)
def test_timespans_of_systemctl(text: str, seconds: float | None) -> None:
    assert hostfacts.parse_timespan(text) == (None if seconds is None else pytest.approx(seconds))


def test_declared_facts_have_the_shape_of_read_ones() -> None:
    facts = given.declared(1.5, 512)
    assert (facts.cores.effective, facts.cores.logical, facts.memory.effective_mib) == (1.5, 2, 512)
    assert given.from_dict(facts.to_dict()) == facts


def test_this_machine_agrees_with_psutil_and_the_kernel() -> None:
    psutil = pytest.importorskip("psutil")
    facts = hostfacts.read(runner=lambda _: None)
    assert facts.memory.total_mib == psutil.virtual_memory().total // 2**20
    assert facts.cores.host_logical == psutil.cpu_count()
    assert facts.cores.effective <= psutil.cpu_count()
    assert facts.kernel == os.uname().release
    from_files = procfs.read_meminfo("/")
    assert int(from_files["MemTotal"]) == facts.memory.total_mib
