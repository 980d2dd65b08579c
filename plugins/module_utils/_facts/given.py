# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Facts of a host that were not read on it just now: stated by a person, or kept as JSON."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from .._os.procfs import format_cpu_list
from .hostfacts import Cgroup, Considered, Cores, HostFacts, Memory, Os, Platform
from .interpreter import Python
from .others import Neighbour


def declared(
    cores: float,
    memory_mib: int,
    *,
    physical: int | None = None,
    nofile_max: int = 524288,
    somaxconn: int = 4096,
    dev_shm_mib: int = 64,
    python: str = "3.11",
    cgroup: int = 2,
) -> HostFacts:
    """The facts of a host that somebody states instead of one that was read: for planning without a host."""
    logical = max(1, int(-(-cores // 1)))
    source = "declared"
    cores = float(cores)
    return HostFacts(
        slice="system.slice",
        cores=Cores(
            effective=cores,
            limited_by="declared cores",
            considered=(Considered("declared cores", cores, source),),
            physical=physical or logical,
            logical=logical,
            host_logical=logical,
            smt=physical is not None and physical < logical,
            cpus=format_cpu_list(range(logical)),
        ),
        memory=Memory(
            effective_mib=memory_mib,
            limited_by="declared memory",
            considered=(Considered("declared memory", memory_mib, source),),
            total_mib=memory_mib,
            swap_mib=0,
            available_mib=memory_mib,
        ),
        cgroup=Cgroup(cgroup, "unified" if cgroup == 2 else "legacy", cgroup, cgroup, cgroup),
        python=Python(python, "", "CPython"),
        platform=Platform("x86_64", "", "Linux"),
        os=Os("", ""),
        systemd=0,
        nofile_max=nofile_max,
        nofile_limited_by=source,
        nofile_considered=(Considered("declared", nofile_max, source),),
        somaxconn=somaxconn,
        dev_shm_mib=dev_shm_mib,
        boot_id="",
        kernel="",
        psutil=None,
        h2load=None,
        h2load_version=None,
        disk_free_mib=0,
        notes=("the host is declared, nothing was read",),
    )


def from_dict(data: Mapping[str, Any]) -> HostFacts:
    """The inverse of `HostFacts.to_dict`. Raises KeyError or TypeError for something else."""
    values = dict(data)
    cores, memory = dict(values["cores"]), dict(values["memory"])
    cores["considered"], memory["considered"] = _limits(cores["considered"]), _limits(memory["considered"])
    memory["neighbours"] = tuple(Neighbour(**item) for item in memory.get("neighbours", ()))
    values["cores"], values["memory"] = Cores(**cores), Memory(**memory)
    values["cgroup"], values["python"] = Cgroup(**values["cgroup"]), Python(**values["python"])
    values["platform"], values["os"] = Platform(**values["platform"]), Os(**values["os"])
    values["nofile_considered"] = _limits(values["nofile_considered"])
    values["notes"] = tuple(values.get("notes", ()))
    return HostFacts(**values)


def _limits(items: Sequence[Mapping[str, Any]]) -> tuple[Considered, ...]:
    return tuple(Considered(**item) for item in items)
