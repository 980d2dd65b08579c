# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a host gives to a service of a slice: cores, memory and the rest, which limit set each, and where it is written.

Facts gathered over SSH are those of the SSH session: its affinity, its cgroup. A service gets PID 1's affinity and the
limits of its own slice and of all groups above it. So the groups are those below which PID 1 puts the slice, and
systemd is asked what it would set on a slice that is not active yet.

All files are read relative to a root, commands go through a runner, and what is in neither (the interpreter, free disk
space) comes in a `Local`: a captured tree of another host reads like a live one.
"""

from __future__ import annotations

import os
import platform
import posixpath
import re
import subprocess
import warnings
from dataclasses import asdict, dataclass, field
from shutil import which
from typing import Any, Callable, Iterator, Mapping, NamedTuple, Sequence

from .._os.paths import under
from .._os.procfs import (
    MIB,
    format_cpu_list,
    parse_cpu_list,
    parse_os_release,
    read_int,
    read_meminfo,
    read_status,
    read_text,
    to_int,
)
from . import cgroups, interpreter, memoryuse
from .interpreter import Python
from .others import Neighbour

Runner = Callable[[Sequence[str]], "str | None"]

MANAGER_COMMAND = ("systemctl", "show", "--property=Version,DefaultLimitNOFILE")
SLICE_COMMAND = ("systemctl", "show", "--property=Id,MemoryMax,MemoryHigh,CPUQuotaPerSecUSec,AllowedCPUs", "--")

CAP_SYS_RESOURCE = 24  # capability.h; who has it may raise hard limits
INITIAL_USER_NAMESPACE = "4294967295"  # the size of the only entry of its uid_map


@dataclass(frozen=True)
class Considered:
    """One limit that was considered: cores, MiB or descriptors. `value` None is unlimited.

    `counts` is False for a limit that is listed but does not hold for the service; `note` says why.
    """

    name: str
    value: float | None
    source: str
    counts: bool = True
    note: str = ""


@dataclass(frozen=True)
class Cores:
    """Effective cores, which may be a fraction. `logical` and `physical` count the CPUs that the service may use.

    `smt` is True when two or more of these share a physical core: such cores give less than their number.
    `host_logical` are the CPUs that are online, `cpus` is the usable set in the kernel's list format.
    """

    effective: float
    limited_by: str
    considered: tuple[Considered, ...]
    physical: int
    logical: int
    host_logical: int
    smt: bool
    cpus: str


@dataclass(frozen=True)
class Memory:
    """Memory in MiB. `effective_mib` is the least limit, `available_mib` what is free or can be freed at once.

    `others_mib`: what is used by all but the apps that are planned for, of `effective_mib`; None: not looked at.
    """

    effective_mib: int
    limited_by: str
    considered: tuple[Considered, ...]
    total_mib: int
    swap_mib: int
    available_mib: int
    others_mib: int | None = None
    neighbours: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Cgroup:
    """`version` 1, 2, "hybrid" or 0 (none); `mode` in systemd's words; the version that carries each controller."""

    version: int | str
    mode: str
    memory: int
    cpu: int
    cpuset: int


@dataclass(frozen=True)
class Platform:
    """`machine` as uname prints it, `libc` as "glibc 2.36" or "musl 1.2.3", `system` "Linux"."""

    machine: str
    libc: str
    system: str = "Linux"


@dataclass(frozen=True)
class Os:
    """ID, VERSION_ID and ID_LIKE of os-release(5)."""

    id: str
    version_id: str
    like: str = ""


@dataclass(frozen=True)
class Local:
    """What a tree of files does not hold."""

    python: Python
    platform: Platform
    psutil: str | None = None
    h2load: str | None = None
    h2load_version: str | None = None
    dev_shm_mib: int = 0
    disk_free_mib: int = 0


@dataclass(frozen=True)
class HostFacts:
    """All facts of a host as a service of `slice` gets them.

    `systemd` is its major version, 0 without it; `nofile_max` the highest LimitNOFILE that takes effect;
    `somaxconn` caps every listen backlog; `notes` say what could not be found out. `machine` is the same for two names
    of one machine, and for no two machines: machine-id(5), boot id and start of PID 1 (clones share the first,
    containers of a machine the second); "" where one is not known.
    """

    slice: str
    cores: Cores
    memory: Memory
    cgroup: Cgroup
    python: Python
    platform: Platform
    os: Os
    systemd: int
    nofile_max: int
    nofile_limited_by: str
    nofile_considered: tuple[Considered, ...]
    somaxconn: int
    dev_shm_mib: int
    boot_id: str
    kernel: str
    psutil: str | None
    h2load: str | None
    h2load_version: str | None
    disk_free_mib: int
    notes: tuple[str, ...] = field(default=())
    machine: str = ""

    def to_dict(self) -> dict[str, object]:
        """Nested plain dictionaries and lists, as JSON has them."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def run(command: Sequence[str]) -> str | None:
    """The standard output of a command, or None when it is missing, fails, or takes longer than 10 s."""
    try:
        done = subprocess.run(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=10,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def read(
    root: str = "/",
    slice_: str = "system.slice",
    runner: Runner | None = None,
    local: Local | None = None,
    python: str | None = None,
    apps: Sequence[str] | None = None,
) -> HostFacts:
    """Read the facts of the host, or of the tree at `root`, for services of `slice_`.

    Raises ValueError when `slice_` is no slice's name. Without a `runner` commands are run on this machine, except
    for another root, where none is. `local` defaults to this machine's, with the interpreter at the path `python`
    (None: the one that runs this). `apps`: whose memory is not others' (None: of all that Headcount has here).
    """
    ask = runner if runner is not None else (run if root == "/" else _no_command)
    here = local if local is not None else read_local(root, ask, python)
    notes: list[str] = []
    trees = cgroups.read_trees(root)
    manager = _properties(ask(MANAGER_COMMAND) or "")
    slices = _slice_properties(slice_, ask)
    if not slices:
        notes.append(
            f"systemctl gave no answer: limits that systemd would set on {slice_} are known only as far as it is active"
        )
    if not trees.mounts:
        notes.append("no cgroup tree is mounted: neither quotas nor memory limits can hold")
    release = parse_os_release(read_text(root, "/etc/os-release") or read_text(root, "/usr/lib/os-release"))
    nofile_max, nofile_by, nofile_considered = _nofile(root, manager)
    return HostFacts(
        slice=slice_,
        cores=_cores(root, slice_, trees, slices),
        memory=_memory(root, slice_, trees, slices, apps),
        cgroup=Cgroup(
            version=trees.version,
            mode={1: "legacy", 2: "unified", "hybrid": "hybrid"}.get(trees.version, "none"),
            memory=trees.version_of("memory"),
            cpu=trees.version_of("cpu"),
            cpuset=trees.version_of("cpuset"),
        ),
        python=here.python,
        platform=here.platform,
        os=Os(release.get("ID", ""), release.get("VERSION_ID", ""), release.get("ID_LIKE", "")),
        systemd=_major(manager.get("Version", "")),
        nofile_max=nofile_max,
        nofile_limited_by=nofile_by,
        nofile_considered=nofile_considered,
        somaxconn=read_int(root, "/proc/sys/net/core/somaxconn") or 128,
        dev_shm_mib=here.dev_shm_mib,
        boot_id=read_text(root, "/proc/sys/kernel/random/boot_id") or "",
        kernel=read_text(root, "/proc/sys/kernel/osrelease") or "",
        psutil=here.psutil,
        h2load=here.h2load,
        h2load_version=here.h2load_version,
        disk_free_mib=here.disk_free_mib,
        notes=tuple(notes),
        machine=_machine(root),
    )


def _machine(root: str) -> str:
    stat = (read_text(root, "/proc/1/stat") or "").rpartition(")")[2].split()
    known = (
        read_text(root, "/etc/machine-id"),
        read_text(root, "/proc/sys/kernel/random/boot_id"),
        stat[19] if len(stat) > 19 else None,
    )
    return "/".join(str(part) for part in known) if all(known) else ""


def _no_command(_: Sequence[str]) -> None:
    return None


# Cores ----------------------------------------------------------------------------------------------------------------


def _cores(root: str, slice_: str, trees: cgroups.Trees, slices: Mapping[str, Mapping[str, str]]) -> Cores:
    online, source = _online(root)
    sets = [_CpuSet("online CPUs", online, source), *_cpu_sets(root, slice_, trees, slices)]
    usable, by = _usable([one for one in sets if one.counts])
    considered = [Considered(one.name, float(len(one.cpus)), one.source, one.counts, one.note) for one in sets]
    effective = float(len(usable))
    for limit in _quotas(root, slice_, trees, slices):
        considered.append(limit)
        if limit.counts and limit.value is not None and limit.value < effective:
            effective, by = limit.value, limit.name
    physical = _physical(root, usable)
    return Cores(
        effective=round(effective, 4),
        limited_by=by,
        considered=tuple(considered),
        physical=physical,
        logical=len(usable),
        host_logical=len(online),
        smt=physical < len(usable),
        cpus=format_cpu_list(usable),
    )


class _CpuSet(NamedTuple):
    """CPUs that something allows. `counts`: whether it holds here."""

    name: str
    cpus: frozenset[int]
    source: str
    counts: bool = True
    note: str = ""


def _online(root: str) -> tuple[frozenset[int], str]:
    """The CPUs that run, and the file that says so."""
    file = "/sys/devices/system/cpu/online"
    online = parse_cpu_list(read_text(root, file))
    if online:
        return online, file
    file = "/proc/cpuinfo"
    found = re.findall(r"^processor\s*:\s*(\d+)", read_text(root, file) or "", re.MULTILINE)
    return frozenset(int(number) for number in found) or frozenset({0}), file


def _cpu_sets(
    root: str, slice_: str, trees: cgroups.Trees, slices: Mapping[str, Mapping[str, str]]
) -> Iterator[_CpuSet]:
    for group in cgroups.chain("cpuset", slice_, trees, root):
        found = cgroups.cpuset(group, root)
        if found:
            yield _CpuSet(f"cpuset of cgroup {group.path}", *found)
    allowed = parse_cpu_list(read_status(root, "1").get("Cpus_allowed_list"))
    if allowed:
        yield _CpuSet("affinity of PID 1", allowed, "/proc/1/status")
    enforced = trees.version_of("cpuset") == 2
    note = "" if enforced else "systemd sets cpusets under cgroup v2 only"
    for name, settings in slices.items():
        cpus = parse_cpu_list(settings.get("AllowedCPUs"))
        if cpus:
            yield _CpuSet(f"AllowedCPUs of {name}", cpus, "systemctl show", enforced, note)


def _usable(sets: Sequence[_CpuSet]) -> tuple[frozenset[int], str]:
    """The CPUs that all sets allow, and what says so."""
    usable = frozenset.intersection(*(one.cpus for one in sets))
    if not usable:  # a CPU went offline between two reads
        usable = min((one.cpus for one in sets), key=len)
    alone = (one.name for one in sets if len(one.cpus) == len(usable))
    return usable, next(alone, "the CPUs common to affinity and cpusets")


def _quotas(root: str, slice_: str, trees: cgroups.Trees, slices: Mapping[str, Mapping[str, str]]) -> list[Considered]:
    quotas = []
    for group in cgroups.chain("cpu", slice_, trees, root):
        found = cgroups.cpu_quota(group, root)
        if found:
            quotas.append(Considered(f"CPU quota of cgroup {group.path}", _rounded(found[0]), found[1]))
    for name, settings in slices.items():
        seconds = parse_timespan(settings.get("CPUQuotaPerSecUSec", ""))
        if seconds is not None:
            quotas.append(Considered(f"CPUQuota of {name}", _rounded(seconds), "systemctl show"))
    return quotas


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _physical(root: str, cpus: frozenset[int]) -> int:
    """How many physical cores the CPUs are on: CPUs with the same thread_siblings_list share one."""
    cores = set()
    for cpu in cpus:
        base = f"/sys/devices/system/cpu/cpu{cpu}/topology"
        siblings = read_text(root, f"{base}/core_cpus_list") or read_text(root, f"{base}/thread_siblings_list")
        cores.add(siblings or f"cpu{cpu}")
    return len(cores)


_SPAN_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_timespan(text: str) -> float | None:
    """Seconds of a time span as systemctl prints it (`1.5s`, `1min 36s`, `250ms`); None for infinity."""
    parts = re.findall(r"([\d.]+)\s*(us|ms|min|s|h|d)\b", text)
    return sum(float(number) * _SPAN_UNITS[unit] for number, unit in parts) if parts else None


# Memory ---------------------------------------------------------------------------------------------------------------


def _memory(
    root: str,
    slice_: str,
    trees: cgroups.Trees,
    slices: Mapping[str, Mapping[str, str]],
    apps: Sequence[str] | None,
) -> Memory:
    total, available, swap, source = _totals(root)
    groups = cgroups.chain("memory", slice_, trees, root)
    for group in groups:
        allowed_swap = cgroups.swap_limit(group, root)
        if allowed_swap:
            swap = min(swap, allowed_swap[0] / MIB)
        left = cgroups.memory_available(group, root)
        if left is not None:
            available = min(available, left / MIB)
    considered = [Considered("MemTotal", _whole(total), source), *_group_limits(root, groups)]
    considered += _slice_limits(slices, throttles=trees.version_of("memory") == 2)
    holding = [limit for limit in considered if limit.counts and limit.value is not None]
    least = min(holding, key=lambda limit: limit.value or 0.0, default=considered[0])
    others = memoryuse.read(root, trees, groups, int(least.value or 0), apps)
    return Memory(
        effective_mib=int(least.value or 0),
        limited_by=least.name,
        considered=tuple(considered),
        total_mib=int(total),
        swap_mib=int(swap),
        available_mib=int(min(available, least.value or 0)),
        others_mib=others.mib,
        neighbours=others.neighbours,
    )


def _group_limits(root: str, groups: Sequence[cgroups.Group]) -> Iterator[Considered]:
    for group in groups:
        for name, value, path in cgroups.memory_limits(group, root):
            yield Considered(f"{name} of cgroup {group.path}", None if value is None else _whole(value / MIB), path)
    outside = cgroups.hidden_memory_limit(groups[-1], root) if groups else None
    if outside:
        name = "memory limit of an ancestor outside of the cgroup namespace"
        yield Considered(name, _whole(outside[0] / MIB), outside[1])


def _slice_limits(slices: Mapping[str, Mapping[str, str]], throttles: bool) -> Iterator[Considered]:
    """What systemd sets on the slices. `throttles`: MemoryHigh= holds."""
    for name, settings in slices.items():
        for key in ("MemoryMax", "MemoryHigh"):
            number = to_int(settings.get(key))
            if number is not None and number < cgroups.V1_UNLIMITED:
                holds = key == "MemoryMax" or throttles
                note = "" if holds else "not enforced under cgroup v1"
                yield Considered(f"{key} of {name}", _whole(number / MIB), "systemctl show", holds, note)


def _whole(mib: float) -> float:
    return float(int(mib))


def _psutil() -> Any:
    """The module, or None: it is a distribution package that a host may lack."""
    try:
        import psutil  # noqa: PLC0415 - a host may lack it
    except ImportError:
        return None
    return psutil


def _totals(root: str) -> tuple[float, float, float, str]:
    """(MiB of RAM, of those available, of swap, the source): psutil's on this machine, the file's in a tree."""
    psutil = _psutil() if root == "/" else None
    if psutil is not None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # swap counters that a container does not show
                memory, swap = psutil.virtual_memory(), psutil.swap_memory()
            return memory.total / MIB, memory.available / MIB, swap.total / MIB, "psutil (/proc/meminfo)"
        except (OSError, RuntimeError):
            pass
    info = read_meminfo(root)
    total = info.get("MemTotal", 0.0)
    available = info.get("MemAvailable", info.get("MemFree", 0.0) + info.get("Cached", 0.0))
    return total, available, info.get("SwapTotal", 0.0), "/proc/meminfo"


# systemd --------------------------------------------------------------------------------------------------------------


def _properties(text: str) -> dict[str, str]:
    """`KEY=VALUE` lines of systemctl show."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key: value for key, separator, value in pairs if separator}


def _slice_properties(slice_: str, ask: Runner) -> dict[str, dict[str, str]]:
    """What systemd sets on a slice and those above, outermost first, active or not: {name: properties}. One command."""
    text = ask([*SLICE_COMMAND, *cgroups.slice_names(slice_)]) or ""
    blocks = (_properties(block) for block in text.split("\n\n"))
    return {block["Id"]: block for block in blocks if "Id" in block}


def _major(version: str) -> int:
    found = re.search(r"\d+", version)
    return int(found.group()) if found else 0


def _nofile(root: str, manager: Mapping[str, str]) -> tuple[int, str, tuple[Considered, ...]]:
    """The highest LimitNOFILE= that takes effect: fs.nr_open, and PID 1's hard limit unless it may raise it.

    systemd sets the nearest value that it is allowed to (setrlimit(2)): a container's PID 1 without CAP_SYS_RESOURCE
    cannot go above its own hard limit, whatever the unit says.
    """
    nr_open = read_int(root, "/proc/sys/fs/nr_open") or 1048576
    limits = [Considered("fs.nr_open", float(nr_open), "/proc/sys/fs/nr_open")]
    row = re.search(r"^Max open files\s+\S+\s+(\S+)", read_text(root, "/proc/1/limits") or "", re.MULTILINE)
    hard = to_int(row.group(1)) if row else None
    if hard is not None:
        try:
            capable = bool(int(read_status(root, "1").get("CapEff", "0"), 16) >> CAP_SYS_RESOURCE & 1)
        except ValueError:
            capable = False
        mapping = (read_text(root, "/proc/1/uid_map") or INITIAL_USER_NAMESPACE).split()
        capable = capable and mapping[-1] == INITIAL_USER_NAMESPACE
        note = "PID 1 may raise it" if capable else ""
        limits.append(Considered("hard limit of PID 1", float(hard), "/proc/1/limits", not capable, note))
    default = to_int(manager.get("DefaultLimitNOFILE"))
    if default is not None:
        note = "a unit's LimitNOFILE= replaces it"
        limits.append(Considered("DefaultLimitNOFILE", float(default), "systemctl show", False, note))
    least = min((limit for limit in limits if limit.counts), key=lambda limit: limit.value or 0.0)
    return int(least.value or 0), least.name, tuple(limits)


# This machine ---------------------------------------------------------------------------------------------------------


def read_local(root: str = "/", ask: Runner = run, python: str | None = None) -> Local:
    """What a tree does not hold, of this machine; sizes are those of the file systems below `root`."""
    found = interpreter.read(python) if python else interpreter.Found(interpreter.own())
    h2load = which("h2load")
    version = (ask([h2load, "--version"]) or "") if h2load else ""
    return Local(
        python=found.python,
        platform=Platform(found.machine or platform.machine(), found.libc or _libc(ask), platform.system()),
        psutil=_psutil_version(),
        h2load=h2load,
        h2load_version=version.strip().rpartition("/")[2] or None,
        dev_shm_mib=_shm_mib(root),
        disk_free_mib=_free_mib(root, "/opt/headcount"),
    )


def _libc(ask: Runner) -> str:
    try:
        glibc = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        glibc = None
    if glibc:
        return glibc
    loader = f"/lib/ld-musl-{platform.machine()}.so.1"
    if os.path.exists(loader):
        found = re.search(r"musl-(\d[\d.]*)", ask(["apk", "info", "musl"]) or "")
        return f"musl {found.group(1).rstrip('.')}" if found else "musl"
    return ""


def _psutil_version() -> str | None:
    psutil = _psutil()
    return None if psutil is None else str(psutil.__version__)


def _shm_mib(root: str) -> int:
    """The size of the tmpfs on /dev/shm; 0 when nothing is mounted there, for then it is on a disk."""
    mounts = read_text(root, "/proc/self/mountinfo") or ""
    if not re.search(r"^\S+ \S+ \S+ \S+ /dev/shm .* - tmpfs ", mounts, re.MULTILINE):
        return 0
    try:
        space = os.statvfs(under(root, "/dev/shm"))
    except OSError:
        return 0
    return space.f_blocks * space.f_frsize // MIB


def _free_mib(root: str, path: str) -> int:
    """Free space for unprivileged users on the file system that `path` is, or would be, on."""
    while path != "/" and not os.path.isdir(under(root, path)):
        path = posixpath.dirname(path)
    space = os.statvfs(under(root, path))
    return space.f_bavail * space.f_frsize // MIB
