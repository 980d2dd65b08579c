# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Brings labs up and down and does things to their hosts.

A lab belongs to a checkout: the names of its containers and its network end with the checkout's id, so that several
checkouts on a machine can each have a lab `headcount`. What a lab is, is written to .headcount/lab/NAME/lab.json before
it is made, so that a run that was broken off is completed, or removed whole, by the next one.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from . import images, labmodel, paths
from .console import ScriptError, locked, say, step
from .labmodel import Host, HostSpec, Lab
from .podman import exists, podman, podman_json, remove

LAB_LABEL = "headcount.lab"
CHECKOUT_LABEL = "headcount.checkout"
HOST_LABEL = "headcount.host"
CPUS_LABEL = "headcount.cpus"
BOOT_SECONDS = 60.0
SSH_UID = 1000
#: Each systemd takes about five inotify instances, and without them it ends; Linux gives root 128 for all containers.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 8192
#: There where a machine has version 2 control groups and no others.
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")
DEFAULT_INVENTORY = paths.ROOT / "inventories" / "lab" / "hosts.yml"


@dataclass(frozen=True)
class HostStatus:
    """A host as `status` shows it; `memory_used_mib` is None when it could not be read."""

    name: str
    state: str
    suite: str
    cores: float
    cpus: tuple[int, ...]
    memory_mib: int
    memory_used_mib: int | None
    address: str
    container: str
    image_current: bool


@dataclass(frozen=True)
class Found:
    """A lab found on this machine, of whatever checkout."""

    name: str
    checkout: str
    hosts: int


def folder(name: str) -> Path:
    """Where a lab's keys, known_hosts, ssh_config, inventory, seccomp.json and lab.json lie."""
    return paths.LABS / name


def network(name: str) -> str:
    """The name of a lab's podman network."""
    return f"{name}-{paths.checkout_id()}"


def container(name: str, host: str) -> str:
    """The name of a host's container."""
    return f"{name}-{host}-{paths.checkout_id()}"


def _sockets(name: str) -> Path:
    return paths.RUN / network(name)


def load(name: str, *, required: bool = True) -> Lab:
    """The lab of that name in this checkout; without one, ScriptError, or an empty Lab when it is not required."""
    file = folder(name) / "lab.json"
    if not file.exists():
        if required:
            raise ScriptError(
                f"there is no lab {name!r} in this checkout: bring it up with scripts/lab --name {name} up"
            )
        return Lab(name, "")
    return Lab.from_json(file.read_text(encoding="utf-8"))


def _save(lab: Lab) -> None:
    _write(folder(lab.name) / "lab.json", lab.to_json())


def _write(path: Path, text: str) -> bool:
    """Writes a file in one step when it differs. Returns whether it did."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    new.replace(path)
    return True


def _lock(name: str) -> contextlib.AbstractContextManager[None]:
    return locked(paths.RUN / f"{network(name)}.lock", f"it works on the lab {name!r}")


def _parallel(work: Callable[[Host], object], hosts: Sequence[Host]) -> None:
    with ThreadPoolExecutor(max_workers=max(1, min(8, len(hosts)))) as pool:
        list(pool.map(work, hosts))


def _states(name: str | None = None) -> dict[str, str]:
    """Container name -> state of all containers of this checkout's lab."""
    arguments = ["ps", "--all", "--format", "json", "--filter", f"label={CHECKOUT_LABEL}={paths.ROOT}"]
    if name:
        arguments += ["--filter", f"label={LAB_LABEL}={name}"]
    return {entry["Names"][0]: entry["State"] for entry in podman_json(*arguments) or []}


# --- keys and files -------------------------------------------------------------------------------------------------


def _keygen(path: Path, comment: str) -> str:
    """Makes an SSH key when it is not there; returns the public half."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    return path.with_name(f"{path.name}.pub").read_text(encoding="utf-8").strip()


def _host_key(lab: Lab, host: Host) -> Path:
    return folder(lab.name) / "host_keys" / host.name


def _write_files(lab: Lab) -> None:
    """known_hosts, ssh_config and the inventory, after the lab's hosts."""
    home = folder(lab.name)
    key, known = home / "id_ed25519", home / "known_hosts"
    lines = []
    for host in lab.hosts:
        kind, public, *_ = _keygen(_host_key(lab, host), host.name).split()
        lines.append(f"{host.address} {kind} {public}\n")
    _write(known, "".join(lines))
    _write(home / "ssh_config", labmodel.ssh_config(lab, str(key), str(known)))
    sockets = _sockets(lab.name)
    sockets.mkdir(mode=0o700, parents=True, exist_ok=True)
    text = labmodel.inventory(lab, str(key), str(known), str(sockets / "%%h"))
    _write(home / "inventory.yml", text)
    if lab.inventory:
        _write(Path(lab.inventory), text)


def _seed(lab: Lab, host: Host) -> bytes:
    """A tar of the files that make a new container this host: its SSH host key and who may log in."""
    private = _host_key(lab, host)
    files = [
        ("etc/ssh/ssh_host_ed25519_key", private, 0o600, 0),
        ("etc/ssh/ssh_host_ed25519_key.pub", private.with_name(f"{private.name}.pub"), 0o644, 0),
        (f"home/{labmodel.USER}/.ssh/authorized_keys", folder(lab.name) / "id_ed25519.pub", 0o600, SSH_UID),
    ]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, path, mode, owner in files:
            data = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uid, entry.gid, entry.mtime = len(data), mode, owner, owner, int(time.time())
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _close_connections(name: str, hosts: Iterable[Host]) -> None:
    """Ends Ansible's standing SSH connections to the hosts: after a reboot they would hang until they time out."""
    for host in hosts:
        for socket in _sockets(name).glob(f"{host.address}*"):
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", host.address],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=10,
            )
            socket.unlink(missing_ok=True)


# --- network and containers -----------------------------------------------------------------------------------------


def _taken_subnets() -> list[str]:
    routes = json.loads(subprocess.run(["ip", "-j", "route"], capture_output=True, text=True, check=True).stdout)
    taken = [route["dst"] for route in routes if route.get("dst", "default") != "default"]
    for net in podman_json("network", "ls", "--format", "json") or []:
        taken += [subnet["subnet"] for subnet in net.get("subnets") or []]
    return [text for text in taken if _is_network(text)]


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _make_network(lab: Lab) -> None:
    with locked(paths.RUN / "network.lock", "it makes a network"):
        found = podman("network", "inspect", network(lab.name), check=False)
        if found.returncode == 0:
            lab.subnet = json.loads(found.stdout)[0]["subnets"][0]["subnet"]
            return
        lab.subnet = labmodel.pick_subnet(network(lab.name), _taken_subnets())
        internal = [] if lab.internet else ["--internal"]
        podman(
            *("network", "create", "--disable-dns", "--subnet", lab.subnet, *internal),
            *("--label", f"{LAB_LABEL}={lab.name}", "--label", f"{CHECKOUT_LABEL}={paths.ROOT}", network(lab.name)),
        )


def _limits(host: Host) -> list[str]:
    quota = labmodel.quota_us(host.cores)
    return [
        *("--memory", f"{host.memory_mib}m", "--memory-swap", f"{host.memory_mib}m"),
        *("--cpuset-cpus", ",".join(str(cpu) for cpu in host.cpus)),
        *(["--cpu-period", str(labmodel.CPU_PERIOD_US), "--cpu-quota", str(quota)] if quota > 0 else []),
    ]


def _resize(lab: Lab, host: Host) -> None:
    """Gives a running container the host's size."""
    name = container(lab.name, host.name)
    podman("update", *_limits(host), name)
    if labmodel.quota_us(host.cores) < 0:  # podman can set a quota, but not take it away
        files = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu.max"
        script = (
            f"if [ -f {files[0]} ]; then echo -1 >{files[0]}; elif [ -f {files[1]} ]; then echo max >{files[1]}; fi"
        )
        podman("exec", name, "sh", "-c", script)
    # /dev/shm is half of the memory, as on a real machine.
    podman("exec", name, "mount", "-o", f"remount,size={host.memory_mib // 2}m", "/dev/shm", check=False)


def _create_all(lab: Lab, hosts: Sequence[Host]) -> None:
    # podman reads it when it makes a container, and keeps it there
    _write(folder(lab.name) / "seccomp.json", json.dumps(labmodel.NO_CLOCK, indent=1))
    _parallel(lambda host: _create(lab, host), hosts)


def _create(lab: Lab, host: Host) -> None:
    name = container(lab.name, host.name)
    remove(name)
    others = [f"--add-host={other.name}:{other.address}" for other in lab.hosts if other.name != host.name]
    podman(
        *("create", "--name", name, "--hostname", host.name, "--privileged", "--cgroupns=private", "--systemd=always"),
        *("--ulimit", "nofile=1024:20000", "--ulimit", "nproc=30000:30000", "--restart", "no"),
        *("--network", network(lab.name), "--ip", host.address, "--mac-address", labmodel.mac(host.address), *others),
        *("--security-opt", f"seccomp={folder(lab.name) / 'seccomp.json'}"),
        *("--shm-size", f"{host.memory_mib // 2}m", *_limits(host)),
        *("--label", f"{LAB_LABEL}={lab.name}", "--label", f"{CHECKOUT_LABEL}={paths.ROOT}"),
        *("--label", f"{HOST_LABEL}={host.name}", "--label", f"{CPUS_LABEL}={','.join(map(str, host.cpus))}"),
        *(host.image, *labmodel.first_command(host.suite, UNIFIED.exists())),
    )
    podman("cp", "--archive=false", "-", f"{name}:/", stdin=_seed(lab, host))


def _make_room() -> None:
    """Raises this machine's limit of inotify instances, until its next boot, so that more than 20 hosts can run."""
    with contextlib.suppress(OSError, ValueError):
        if int(INOTIFY.read_text(encoding="ascii")) < INOTIFY_INSTANCES:
            INOTIFY.write_text(f"{INOTIFY_INSTANCES}\n", encoding="ascii")
            say(f"note: fs.inotify.max_user_instances is {INOTIFY_INSTANCES} now, until this machine boots again")


def _start(lab: Lab, host: Host) -> None:
    _make_room()
    podman("start", container(lab.name, host.name))
    # A container starts with the size that it was made with: give it the one that it has been resized to since.
    _resize(lab, host)


def _wait_ready(lab: Lab, host: Host) -> None:
    """Waits until systemd says that the host has booted and a login over SSH works; ScriptError after a minute."""
    deadline = time.monotonic() + BOOT_SECONDS
    name = container(lab.name, host.name)
    state, said = "", ""
    while time.monotonic() < deadline:
        if state not in ("running", "degraded"):
            state = podman("exec", name, "systemctl", "is-system-running", check=False).stdout.strip()
        else:
            login = subprocess.run(
                ["ssh", "-F", str(folder(lab.name) / "ssh_config"), "-o", "ConnectTimeout=3", host.name, "true"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if login.returncode == 0:
                break
            said = login.stderr.strip()
        time.sleep(0.2)
    else:
        raise ScriptError(
            f"{host.name} was not ready within {BOOT_SECONDS:g} s (systemd: {state or 'no answer'}; ssh: {said or '-'})"
            f"; see scripts/lab --name {lab.name} logs {host.name}"
        )
    if state == "degraded":
        failed = podman("exec", name, "systemctl", "--failed", "--plain", "--no-legend", check=False).stdout.split("\n")
        units = ", ".join(line.split()[0] for line in failed if line.strip())
        say(f"note: {host.name} booted with failed units: {units}")


# --- what scripts/lab does ------------------------------------------------------------------------------------------


def _pinned_elsewhere(name: str) -> list[list[int]]:
    """The CPUs of the running hosts of all other labs on this machine."""
    mine = f"{name}\0{paths.ROOT}"
    pinned = []
    for entry in podman_json("ps", "--format", "json", "--filter", f"label={CPUS_LABEL}") or []:
        labels = entry["Labels"]
        if f"{labels.get(LAB_LABEL)}\0{labels.get(CHECKOUT_LABEL)}" != mine:
            pinned.append([int(cpu) for cpu in labels[CPUS_LABEL].split(",")])
    return pinned


def _design(lab: Lab, specs: Sequence[HostSpec], built: dict[str, str]) -> list[Host]:
    """The hosts as they will be: those there are keep their address, and their image while it is of the same suite."""
    machine = sorted(os.sched_getaffinity(0))
    old = {host.name: host for host in lab.hosts}
    hosts: list[Host] = []
    elsewhere = _pinned_elsewhere(lab.name)
    for spec in specs:
        now = old.get(spec.name)
        if now and now.spec == spec:
            hosts.append(now)
            continue
        load = labmodel.cpu_load([*elsewhere, *(host.cpus for host in hosts)])
        cpus = labmodel.pick_cpus(spec.cores, machine, load, keep=now.cpus if now else ())
        taken = {host.address for host in [*lab.hosts, *hosts]}
        address = now.address if now else labmodel.pick_address(lab.subnet, taken)
        image = now.image if now and now.suite == spec.suite else built[spec.suite]
        hosts.append(Host(spec.name, spec.cores, spec.memory_mib, spec.suite, cpus, address, image))
    return hosts


def up(
    name: str,
    specs: Sequence[HostSpec] | None,
    inventory: Path | None,
    *,
    internet: bool | None = None,
    exact: bool = False,
) -> tuple[Lab, bool]:
    """Brings up the hosts of `specs` (None: those that are there, or the default ones) beside those that are there.

    With `exact` the lab is these hosts and no others: the rest is removed, and a host of another suite is made anew.
    Without it nothing is removed, and ScriptError is raised where something would have to be. Returns the lab, and
    whether it changed.
    """
    with _lock(name):
        return _up(name, specs, inventory, internet, exact)


def _up(
    name: str, specs: Sequence[HostSpec] | None, inventory: Path | None, internet: bool | None, exact: bool
) -> tuple[Lab, bool]:
    lab = load(name, required=False)
    was = lab.to_json()
    if specs is None:
        specs = [host.spec for host in lab.hosts] or labmodel.parse_hosts(labmodel.DEFAULT_HOSTS)
    elif not exact:
        specs = labmodel.beside(lab, specs)
    _set_options(lab, inventory, internet)

    before = {host.name: host for host in lab.hosts}
    states = _states(name)
    removed = _others(name, specs, states, exact)
    lost = _lost_suites(lab, states)
    fresh = {spec.suite for spec in specs if spec.name not in before or before[spec.name].suite != spec.suite}
    built = images.ensure(fresh | lost)
    if not lab.subnet or not states:
        _make_network(lab)
    lab.hosts = [
        replace(host, image=built[host.suite]) if host.suite in lost else host for host in _design(lab, specs, built)
    ]
    changed = lab.to_json() != was
    _remove(name, removed, before)
    _keygen(folder(name) / "id_ed25519", f"headcount lab {name}")
    _save(lab)
    _write_files(lab)
    moved = _bring_up(lab, before, states)
    return lab, changed or bool(removed) or moved


def _set_options(lab: Lab, inventory: Path | None, internet: bool | None) -> None:
    """What `up` was told about the lab as a whole; None leaves it as it is."""
    if internet is not None:
        if lab.hosts and internet != lab.internet:
            raise ScriptError(
                f"the lab {lab.name!r} is there with another --no-internet: scripts/lab --name {lab.name} down first", 2
            )
        lab.internet = internet
    if inventory is not None:
        lab.inventory = str(inventory.absolute())
    elif lab.inventory is None and lab.name == labmodel.DEFAULT_LAB:
        lab.inventory = str(DEFAULT_INVENTORY)


def _lost_suites(lab: Lab, states: Mapping[str, str]) -> set[str]:
    """Suites of the hosts that have to be made anew while the image that they were made from is gone."""
    gone = [host for host in lab.hosts if states.get(container(lab.name, host.name)) in (None, "created")]
    return {host.suite for host in gone if not exists("image", host.image)}


def _others(name: str, specs: Sequence[HostSpec], states: Mapping[str, str], exact: bool) -> list[str]:
    """The lab's containers that are none of the hosts of `specs`; ScriptError where there are some, unless `exact`."""
    wanted = {container(name, spec.name) for spec in specs}
    found = [there for there in states if there not in wanted]
    if found and not exact:
        raise ScriptError(
            f"{', '.join(found)}: containers of the lab {name!r} that its lab.json knows nothing of, and up removes "
            f"none: scripts/lab --name {name} up --exact does, with --host for each that is to be there",
            2,
        )
    return found


def _remove(name: str, containers: Sequence[str], before: Mapping[str, Host]) -> None:
    """Removes containers of the lab's hosts as they were."""
    if containers:
        with step(f"removing {', '.join(containers)}"):
            _close_connections(name, [host for host in before.values() if container(name, host.name) in containers])
            remove(*containers)


def _bring_up(lab: Lab, before: Mapping[str, Host], states: Mapping[str, str]) -> bool:
    """Makes, starts and resizes the lab's hosts, given what they were; whether any of them needed it."""

    def state(host: Host) -> str | None:
        return states.get(container(lab.name, host.name))

    def replaced(host: Host) -> bool:
        old = before.get(host.name)
        return old is not None and old.suite != host.suite

    new = [host for host in lab.hosts if state(host) in (None, "created") or replaced(host)]
    there = [host for host in lab.hosts if host not in new]
    stopped = [host for host in there if state(host) != "running"]
    resized = [host for host in there if host not in stopped and before.get(host.name) not in (None, host)]
    starting = [*new, *stopped]
    if starting:
        with step(f"starting {', '.join(host.name for host in starting)}"):
            _close_connections(lab.name, starting)
            _create_all(lab, new)
            _parallel(lambda host: _start(lab, host), starting)
            _parallel(lambda host: _wait_ready(lab, host), starting)
    for host in resized:
        _resize(lab, host)
    return bool(starting or resized)


def down(name: str, checkout: Path = paths.ROOT) -> list[str]:
    """Removes a lab's containers, network and files. Returns what was removed."""
    removed: list[str] = []
    ident = f"{name}-{paths.checkout_id(checkout)}"
    labels = ["--filter", f"label={LAB_LABEL}={name}", "--filter", f"label={CHECKOUT_LABEL}={checkout}"]
    if shutil.which("podman"):
        with locked(paths.RUN / f"{ident}.lock", f"it works on the lab {name!r}"):
            lab = load(name, required=False) if checkout == paths.ROOT else Lab(name, "")
            _close_connections(name, lab.hosts)
            names = podman("ps", "--all", "--format", "{{.Names}}", *labels).stdout.split()
            if names:
                remove(*names)
            removed += names
            if exists("network", ident):
                podman("network", "rm", "--force", ident)
                removed.append(f"network {ident}")
    home = checkout / ".headcount" / "lab" / name
    if home.exists():
        file = home / "lab.json"
        inventory = Lab.from_json(file.read_text(encoding="utf-8")).inventory if file.exists() else None
        if inventory:
            Path(inventory).unlink(missing_ok=True)
        shutil.rmtree(home)
        removed.append(paths.shown(home))
        with contextlib.suppress(OSError):
            home.parent.rmdir()
    shutil.rmtree(paths.RUN / ident, ignore_errors=True)
    (paths.RUN / f"{ident}.lock").unlink(missing_ok=True)
    return removed


def down_hosts(name: str, hosts: Sequence[str]) -> list[str]:
    """Removes hosts of a lab, which goes on with the others; the whole lab where none is left. Returns what was
    removed."""
    with _lock(name):
        lab = load(name)
        going = [lab.host(host) for host in dict.fromkeys(hosts)]
        left = [host for host in lab.hosts if host not in going]
        if left:
            _close_connections(name, going)
            removed = [container(name, host.name) for host in going]
            remove(*removed)
            lab.hosts = left
            _save(lab)
            _write_files(lab)
            return removed
    return down(name)


def status(lab: Lab) -> list[HostStatus]:
    """Every host of a lab as it is now."""
    states = _states(lab.name)
    rows = []
    for host in lab.hosts:
        name = container(lab.name, host.name)
        state = states.get(name, "missing")
        rows.append(
            HostStatus(
                host.name,
                state,
                host.suite,
                host.cores,
                host.cpus,
                host.memory_mib,
                _memory_used(name) if state == "running" else None,
                host.address,
                name,
                host.image == images.name(host.suite),
            )
        )
    return rows


def _memory_used(name: str) -> int | None:
    """MiB that the host's processes and files in memory use, without the page cache that can be dropped."""
    trees = "/sys/fs/cgroup/memory", "/run/lab-memory", "/sys/fs/cgroup"
    script = (
        f"for tree in {' '.join(trees)}; do for used in memory.usage_in_bytes memory.current; do"
        " if [ -f $tree/$used ]; then cat $tree/$used $tree/memory.stat; exit; fi; done; done"
    )
    lines = podman("exec", name, "sh", "-c", script, check=False).stdout.splitlines()
    if not lines or not lines[0].isdigit():
        return None
    stat = dict(line.split() for line in lines[1:] if len(line.split()) == 2)
    cache = int(stat.get("total_inactive_file", stat.get("inactive_file", "0")))
    return max(0, int(lines[0]) - cache) // 2**20


def everywhere() -> list[Found]:
    """All labs of this machine, of every checkout."""
    counts: dict[tuple[str, str], int] = {}
    for entry in podman_json("ps", "--all", "--format", "json", "--filter", f"label={LAB_LABEL}") or []:
        key = (entry["Labels"][LAB_LABEL], entry["Labels"][CHECKOUT_LABEL])
        counts[key] = counts.get(key, 0) + 1
    return [Found(name, checkout, count) for (name, checkout), count in sorted(counts.items())]


def prune() -> list[str]:
    """Removes the labs whose checkout is no longer there. Returns what was removed."""
    removed = []
    for found in everywhere():
        if not Path(found.checkout).exists():
            removed += down(found.name, Path(found.checkout))
    return removed


def resize(name: str, host_name: str, cores: float | None, memory_mib: int | None) -> Host:
    """Changes a host's cores and memory while it runs. Returns the host as it is then."""
    with _lock(name):
        lab = load(name)
        old = lab.host(host_name)
        wanted = cores if cores is not None else old.cores
        load_ = labmodel.cpu_load([*_pinned_elsewhere(name), *(host.cpus for host in lab.hosts if host != old)])
        cpus = labmodel.pick_cpus(wanted, sorted(os.sched_getaffinity(0)), load_, keep=old.cpus)
        new = replace(old, cores=wanted, memory_mib=memory_mib or old.memory_mib, cpus=cpus)
        if _states(name).get(container(name, host_name)) == "running":
            _resize(lab, new)
        lab.replace(new)
        _save(lab)
        return new


def reset(name: str, host_names: Sequence[str]) -> list[str]:
    """Replaces hosts (all when none is named) by fresh ones on the newest image. Returns their names."""
    with _lock(name):
        lab = load(name)
        chosen = [lab.host(host) for host in host_names] or list(lab.hosts)
        built = images.ensure({host.suite for host in chosen})
        fresh = [replace(host, image=built[host.suite]) for host in chosen]
        for host in fresh:
            lab.replace(host)
        _save(lab)
        _close_connections(name, fresh)
        with step(f"replacing {', '.join(host.name for host in fresh)}"):
            _create_all(lab, fresh)
            _parallel(lambda host: _start(lab, host), fresh)
            _parallel(lambda host: _wait_ready(lab, host), fresh)
        return [host.name for host in fresh]


def power(name: str, host_name: str, action: str) -> None:
    """Cuts a host's power ("off": every process is killed at once), returns it ("on"), or both ("cycle")."""
    with _lock(name):
        lab = load(name)
        host = lab.host(host_name)
        ident = container(name, host_name)
        running = _states(name).get(ident) == "running"
        if action in ("off", "cycle"):
            if running:
                podman("kill", "--signal", "KILL", ident)
                podman("wait", "--condition", "stopped", "--condition", "exited", ident, check=False, timeout=30)
                running = False
            _close_connections(name, [host])
            say(f"{host_name}: power is off")
        if action in ("on", "cycle") and not running:
            _start(lab, host)
            _wait_ready(lab, host)
        if action in ("on", "cycle"):
            say(f"{host_name}: is up")


def net(name: str, host_name: str, action: str) -> None:
    """Takes the host's network interface down on this machine's side, or up: packets vanish, the address stays."""
    with _lock(name):
        load(name).host(host_name)
        ident = container(name, host_name)
        if _states(name).get(ident) != "running":
            raise ScriptError(f"{host_name} is not running: scripts/lab --name {name} power {host_name} on")
        pid = podman("inspect", "--format", "{{.State.Pid}}", ident).stdout.strip()
        link = json.loads(_ip("nsenter", "-t", pid, "-n", "ip", "-j", "link", "show", "eth0"))[0]["link_index"]
        ports = json.loads(_ip("ip", "-j", "link", "show"))
        port = next(entry["ifname"] for entry in ports if entry["ifindex"] == link)
        _ip("ip", "link", "set", port, "down" if action == "cut" else "up")
        say(f"{host_name}: network {'is cut' if action == 'cut' else 'is back'}")


def _ip(*command: str) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ScriptError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
