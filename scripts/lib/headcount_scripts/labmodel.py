# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a lab is, and the decisions about it: pure functions, no process is started here."""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .console import ScriptError

DEFAULT_LAB = "headcount"
DEFAULT_HOSTS = ("small:1:512m:bookworm", "large:2:1g:trixie")
USER = "ansible"
#: Suites that the lab has images of, with the other names that they are known by.
SUITES = {
    "bullseye": ("debian11", "11"),
    "bookworm": ("debian12", "12"),
    "trixie": ("debian13", "13"),
    "forky": ("debian14", "14"),
}
#: Of these the base suite alone is taken: the updates of an old release are not whole on every mirror any more.
BASE_ALONE = frozenset({"bullseye"})
#: What their Python lacks of its standard library, and pip needs.
MORE_PACKAGES = {"bullseye": ("python3-distutils",)}
#: Of these a mirror's lists may be past the day that they were signed for: Debian signs those of a release that is not
#: out for a week, and mirrors that are made at longer intervals lag behind. The signature itself is always checked.
NOT_OUT = frozenset({"forky"})
#: Their systemd (258 and later) ends at once unless control groups are of version 2 alone.
UNIFIED_ALONE = frozenset({"forky"})
#: What podman's --security-opt seccomp= takes. Calls that set the machine's clock, which all hosts share, are refused
#: as to a user without the right (EPERM). A privileged container keeps every capability, whatever --cap-drop says.
NO_CLOCK = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ],
    "syscalls": [
        {
            "names": [
                "adjtimex",
                "clock_adjtime",
                "clock_adjtime64",
                "clock_settime",
                "clock_settime64",
                "settimeofday",
                "stime",
            ],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
        }
    ],
}
SMALLEST_MIB = 128
CPU_PERIOD_US = 100_000

_NAME = re.compile(r"[a-z][a-z0-9-]{0,24}")


@dataclass(frozen=True)
class HostSpec:
    """A host as it is asked for. `cores` may have a fraction (a CPU quota); memory in MiB."""

    name: str
    cores: float
    memory_mib: int
    suite: str


@dataclass(frozen=True)
class Host:
    """A host as it is: what was asked for, and the CPUs, address and image that it got."""

    name: str
    cores: float
    memory_mib: int
    suite: str
    cpus: tuple[int, ...]
    address: str
    image: str

    @property
    def spec(self) -> HostSpec:
        return HostSpec(self.name, self.cores, self.memory_mib, self.suite)


@dataclass
class Lab:
    """A lab as it was brought up; kept as lab.json in its folder."""

    name: str
    subnet: str
    internet: bool = True
    inventory: str | None = None
    hosts: list[Host] = field(default_factory=list)

    def host(self, name: str) -> Host:
        """The host of that name, or a ScriptError that lists the names there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts)
        raise ScriptError(f"the lab {self.name!r} has no host {name!r}; it has: {names}", 2)

    def replace(self, new: Host) -> None:
        """Puts `new` in the place of the host of the same name."""
        self.hosts = [new if host.name == new.name else host for host in self.hosts]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Lab:
        """The lab that `to_json` wrote."""
        data: dict[str, Any] = json.loads(text)
        hosts = [Host(**{**host, "cpus": tuple(host["cpus"])}) for host in data.pop("hosts")]
        return cls(**data, hosts=hosts)


def beside(lab: Lab, specs: Sequence[HostSpec]) -> list[HostSpec]:
    """The hosts of a lab with those of `specs` beside them, or in their new size; ScriptError where one would have to
    be made anew."""
    wanted = {spec.name: spec for spec in specs}
    for host in lab.hosts:
        spec = wanted.get(host.name)
        if spec and spec.suite != host.suite:
            raise ScriptError(
                f"{host.name} of the lab {lab.name!r} has {host.suite}, and {spec.suite} makes it anew, without what "
                f"is on it: {host.name}:CORES:MEMORY:{host.suite} keeps it, scripts/lab --name {lab.name} down --host "
                f"{host.name} removes it first, and up --exact replaces it",
                2,
            )
    there = {host.name: host.spec for host in lab.hosts}
    return list({**there, **wanted}.values())


def check_name(name: str, what: str) -> str:
    """`name` when it can be a host name and part of a container's name; a ScriptError otherwise."""
    if not _NAME.fullmatch(name):
        raise ScriptError(
            f"{what} {name!r}: allowed are 1 to 25 lower-case letters, digits and dashes, beginning with a letter", 2
        )
    return name


def parse_memory(text: str) -> int:
    """MiB of "512m", "1g", "1.5g" or "512" (MiB). Raises ScriptError below 128 MiB or when it is no size."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(m|mib|mb|g|gib|gb)?", text.strip().lower())
    if not match:
        raise ScriptError(f"memory {text!r}: write a size like 512m or 1.5g", 2)
    mib = round(float(match[1]) * (1024 if (match[2] or "m").startswith("g") else 1))
    if mib < SMALLEST_MIB:
        raise ScriptError(f"memory {text!r}: a lab host needs at least {SMALLEST_MIB}m", 2)
    return mib


def parse_cores(text: str) -> float:
    """Cores as a number above 0 ("2", "1.5"); a fraction becomes a CPU quota."""
    try:
        cores = float(text)
    except ValueError:
        cores = 0.0
    if not 0.1 <= cores <= 1024:
        raise ScriptError(f"cores {text!r}: write a number from 0.1, like 1, 2 or 1.5", 2)
    return cores


def parse_suite(text: str) -> str:
    """A suite by its name or by one of its other names."""
    for suite, others in SUITES.items():
        if text in (suite, *others):
            return suite
    raise ScriptError(f"suite {text!r}: the lab has images of {', '.join(SUITES)}", 2)


def parse_host(text: str) -> HostSpec:
    """A host of "NAME[:CORES[:MEMORY[:SUITE]]]"; what is left out is 1 core, 512m, bookworm."""
    parts = text.split(":")
    if len(parts) > 4:
        raise ScriptError(f"host {text!r}: write NAME:CORES:MEMORY:SUITE, like small:1:512m:bookworm", 2)
    name, cores, memory, suite = [*parts, *("", "1", "512m", "bookworm")[len(parts) :]]
    return HostSpec(check_name(name, "host"), parse_cores(cores), parse_memory(memory), parse_suite(suite))


def parse_hosts(texts: Sequence[str]) -> list[HostSpec]:
    """Several hosts; a name may stand there once."""
    specs = [parse_host(text) for text in texts]
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ScriptError(f"host {twice[0]!r} is given twice", 2)
    return specs


def pick_cpus(
    cores: float, machine: Sequence[int], load: Mapping[int, float], keep: Sequence[int] = ()
) -> tuple[int, ...]:
    """The CPUs that a host of `cores` cores is pinned to.

    Args:
        machine: the CPUs there are.
        load: hosts already pinned to each CPU.
        keep: CPUs that the host has now; as many of them as fit are kept.

    Those of `keep` first, then the least loaded, then the lowest. Raises ScriptError when the machine has too few.
    """
    wanted = math.ceil(cores)
    if wanted > len(machine):
        raise ScriptError(f"{wanted} cores were asked for, and this machine has {len(machine)}; ask for fewer", 2)
    order = sorted(machine, key=lambda cpu: (cpu not in keep, load.get(cpu, 0.0), cpu))
    return tuple(sorted(order[:wanted]))


def cpu_load(pinned: Iterable[Sequence[int]]) -> dict[int, float]:
    """How many hosts are pinned to each CPU."""
    load: dict[int, float] = {}
    for cpus in pinned:
        for cpu in cpus:
            load[cpu] = load.get(cpu, 0.0) + 1.0
    return load


def pick_subnet(seed: str, taken: Iterable[str]) -> str:
    """A /24 of 10.100.0.0 to 10.199.255.0 that overlaps none of `taken`: the same for the same seed when it is free."""
    networks = [ipaddress.ip_network(text, strict=False) for text in taken]
    count = 100 * 256
    start = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") % count
    for offset in range(count):
        second, third = divmod((start + offset) % count, 256)
        candidate = ipaddress.ip_network(f"10.{100 + second}.{third}.0/24")
        if not any(network.version == 4 and network.overlaps(candidate) for network in networks):
            return str(candidate)
    raise ScriptError("no /24 network between 10.100.0.0 and 10.199.255.0 is free on this machine")


def pick_address(subnet: str, taken: Iterable[str]) -> str:
    """The lowest free address of the lab's network from .11 on."""
    used = set(taken)
    for address in list(ipaddress.ip_network(subnet).hosts())[10:]:
        if str(address) not in used:
            return str(address)
    raise ScriptError(f"the network {subnet} has no address left")


def mac(address: str) -> str:
    """The network card's address that goes with an IPv4 address: as on a real host, it outlives a power cut."""
    return ":".join(["02", "00", *(f"{int(part):02x}" for part in address.split("."))])


def quota_us(cores: float) -> int:
    """The CPU quota in microseconds a period of 100 ms; -1 (none) for whole cores."""
    return -1 if float(cores).is_integer() else round(cores * CPU_PERIOD_US)


def first_command(suite: str, unified: bool) -> list[str]:
    """What a host of a suite starts as PID 1. `unified`: this machine has version 2 control groups and no others.

    Where it has version 1 or both, podman binds the machine's own named tree over the host's, so that all hosts would
    have their units in one: those of the same name in the same group, and whatever is empty in anybody's reach. It is
    taken off, and the host's own shows. A systemd that knows version 2 alone gets that tree in the place of the others.
    It has no controllers there, so that limits of units do not hold. The size of the host does, and is to be seen in
    version 1's memory tree, which is kept beside.
    """
    if unified:
        return ["/sbin/init"]
    steps = [
        "if [ $(grep -c ' /sys/fs/cgroup/systemd ' /proc/mounts) -gt 1 ]; then"
        " umount /sys/fs/cgroup/systemd/release_agent; umount /sys/fs/cgroup/systemd; fi"
    ]
    if suite in UNIFIED_ALONE:
        steps = [
            "mkdir -p /run/lab-memory && mount --bind /sys/fs/cgroup/memory /run/lab-memory",
            "umount -R /sys/fs/cgroup && mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup",
        ]
    return ["/bin/sh", "-c", " && ".join([*steps, "exec /sbin/init"])]


def shown_cores(cores: float) -> str:
    """2 for 2.0, 1.5 for 1.5."""
    return f"{cores:g}"


def shown_size(host: Host) -> str:
    """ "1 core, 512 MiB"."""
    return f"{shown_cores(host.cores)} {'core' if host.cores == 1 else 'cores'}, {host.memory_mib} MiB"


def inventory(lab: Lab, key: str, known_hosts: str, control_path: str) -> str:
    """The Ansible inventory (YAML) of a lab: group `lab`, and one group for each Debian release in it.

    `control_path` is for Ansible, which replaces %-words itself: a %-word for ssh has its % doubled.
    """
    lines = [
        "# Written by scripts/lab up, removed by scripts/lab down.",
        "---",
        "lab:",
        "  hosts:",
    ]
    for host in lab.hosts:
        lines += [f"    {host.name}:", f"      ansible_host: {host.address}"]
    ssh = f"-o UserKnownHostsFile={json.dumps(known_hosts)} -o IdentitiesOnly=yes -o ConnectTimeout=10"
    lines += [
        "  vars:",
        f"    headcount_lab_name: {lab.name}",
        f"    ansible_user: {USER}",
        "    ansible_become: true",
        f"    ansible_ssh_private_key_file: {json.dumps(key)}",
        f"    ansible_ssh_common_args: {json.dumps(ssh)}",
        f"    ansible_control_path: {json.dumps(control_path)}",
    ]
    for suite in sorted({host.suite for host in lab.hosts}):
        lines += [f"{suite}:", "  hosts:", *(f"    {host.name}:" for host in lab.hosts if host.suite == suite)]
    return "\n".join(lines) + "\n"


def ssh_config(lab: Lab, key: str, known_hosts: str) -> str:
    """An ssh_config(5) with every host of the lab by its name."""
    blocks = [
        f"Host {host.name} {host.address}\n"
        f"  HostName {host.address}\n"
        f"  User {USER}\n"
        f'  IdentityFile "{key}"\n'
        "  IdentitiesOnly yes\n"
        f'  UserKnownHostsFile "{known_hosts}"\n'
        "  StrictHostKeyChecking yes\n"
        "  BatchMode yes\n"
        "  ConnectTimeout 10\n"
        for host in lab.hosts
    ]
    return "".join(blocks)
