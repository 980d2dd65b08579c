# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where everything of an app lives on a host. One place, so that no other file spells a path."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable

HOME = "opt/headcount"
STATE = "var/lib/headcount"
RUNTIME = "run/headcount"
UNITS = "etc/systemd/system"
RUNTIME_UNITS = "run/systemd/system"
RUNTIME_INSTANCES = "headcount-instances"
"""Below /run: a directory for each running instance, its own (RuntimeDirectory=)."""

TOOL = "usr/local/lib/headcount"
_HOME_MARKS = frozenset({"generations", "live"})
_STATE_MARKS = frozenset({"ledger.jsonl", "lock"})
LOCAL_FACT = "etc/ansible/facts.d/headcount.fact"
COMMANDS = ("usr/local/sbin/headcount", "usr/local/sbin/headcount-rollback")
"""What a person calls on a host."""

SYSTEM_PYTHON = "/usr/bin/python3"
"""What headcount_python is where nobody declares it."""

HIDDEN = {
    "/home": "ProtectHome=",
    "/root": "ProtectHome=",
    "/run/user": "ProtectHome=",
    "/tmp": "PrivateTmp=",
    "/var/tmp": "PrivateTmp=",
}
"""Folders that an app's processes do not see, and the directive of their unit that hides them."""


def under(root: str, path: str) -> str:
    """The absolute `path` of a host, seen from the directory `root` that holds its tree."""
    return os.path.join(root, path.lstrip("/")) if root != "/" else path


@dataclass(frozen=True)
class Layout:
    """The paths of one app below `root` ("/" on a host, a temporary directory in tests)."""

    app: str
    root: str = "/"

    def _at(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    @property
    def home(self) -> str:
        """Releases and generations: immutable once finished."""
        return self._at(HOME, self.app)

    @property
    def releases(self) -> str:
        return os.path.join(self.home, "releases")

    def release(self, release_id: str) -> str:
        return os.path.join(self.releases, release_id)

    @property
    def generations(self) -> str:
        return os.path.join(self.home, "generations")

    def generation(self, number: int) -> str:
        return os.path.join(self.generations, str(number))

    @property
    def live(self) -> str:
        """The symbolic link whose rename is the one step that makes a generation live."""
        return os.path.join(self.home, "live")

    @property
    def state(self) -> str:
        """Root-only state: ledger, lock, lease, environment files."""
        return self._at(STATE, self.app)

    @property
    def ledger(self) -> str:
        return os.path.join(self.state, "ledger.jsonl")

    @property
    def lock(self) -> str:
        return os.path.join(self.state, "lock")

    @property
    def lease(self) -> str:
        return os.path.join(self.state, "lease.json")

    @property
    def former(self) -> str:
        """What served the app's address before, and how it was taken over from that; root only."""
        return os.path.join(self.state, "former.json")

    @property
    def ended(self) -> str:
        """Which runs were ended here by another one, so that they do not go on."""
        return os.path.join(self.state, "ended.json")

    def environment(self, number: int) -> str:
        """Root-only file with the environment and the secrets of generation `number`."""
        return os.path.join(self.state, f"{number}.env")

    @property
    def data(self) -> str:
        """What the app keeps; its user's alone, and never removed unasked."""
        return self._at("var/lib", self.user)

    @property
    def cache(self) -> str:
        """What the app can make again, where it declares such a folder."""
        return self._at("var/cache", self.user)

    @property
    def logs(self) -> str:
        """The app's own logs, where it declares such a folder."""
        return self._at("var/log", self.user)

    def trial_environment(self, number: int) -> str:
        """The same of what the candidate of generation `number` has alone."""
        return os.path.join(self.state, f"{number}.trial.env")

    @property
    def runtime(self) -> str:
        return self._at(RUNTIME, self.app)

    def private_socket(self, number: int) -> str:
        """Unix socket that reaches exactly generation `number` while it runs."""
        return os.path.join(self.runtime, f"{number}.sock")

    def trial_socket(self, number: int) -> str:
        return os.path.join(self.runtime, f"trial-{number}.sock")

    def runtime_directory(self, number: int, trial: bool) -> str:
        """RuntimeDirectory= of an instance of generation `number`, or of its candidate: a path below /run."""
        return os.path.join(RUNTIME_INSTANCES, f"{self.app}-trial-{number}" if trial else f"{self.app}-{number}")

    def command_directory(self, unit: str) -> str:
        """RuntimeDirectory= of a command that runs as the transient `unit`: a path below /run."""
        return os.path.join(RUNTIME_INSTANCES, unit[: -len(".service")])

    def instance_files(self, number: int, trial: bool) -> str:
        """Where a running instance keeps what it says of itself; the app itself may write there too."""
        return self._at("run", self.runtime_directory(number, trial))

    @property
    def trial_state(self) -> str:
        """What a trial keeps between its steps while its load comes from another machine; root only."""
        return os.path.join(self.runtime, "trial.json")

    @property
    def sampler_request(self) -> str:
        """What the sampler of such a trial is to look at."""
        return os.path.join(self.runtime, "sampler.json")

    @property
    def sampler_result(self) -> str:
        """What it found."""
        return os.path.join(self.runtime, "sampled.json")

    @property
    def sampler_unit(self) -> str:
        """Reads the memory of candidate and live generation while the load of a trial is remote."""
        return f"headcount-sampler-{self.app}.service"

    @property
    def deadline_unit(self) -> str:
        """Stops the candidate of such a trial, should nobody come back for it."""
        return f"headcount-deadline-{self.app}.timer"

    def timer_stamp(self, unit: str) -> str:
        """When systemd last ran what the timer `unit` is for (Persistent=)."""
        return self._at("var/lib/systemd/timers", f"stamp-{unit}")

    @property
    def prepared(self) -> str:
        """Which commands have prepared the app here, and which was begun; root only."""
        return os.path.join(self.state, "prepared.json")

    @property
    def prepare_unit(self) -> str:
        """The command that prepares a release, while it runs."""
        return f"headcount-prepare-{self.app}.service"

    def run_unit(self, name: str) -> str:
        """A command that a person runs by hand; `name` tells it from others."""
        return f"headcount-run-{self.app}-{name}.service"

    def run_units(self, units: Iterable[str]) -> list[str]:
        """Those of `units` that are commands which persons run with this app: their names are process ids."""
        begin, end = self.run_unit("*").split("*")
        return sorted(unit for unit in units if unit.startswith(begin) and unit[len(begin) : -len(end)].isdigit())

    @property
    def units(self) -> str:
        return self._at(UNITS)

    def unit(self, name: str) -> str:
        return os.path.join(self.units, name)

    @property
    def boot_link(self) -> str:
        """Starts the public socket, and through its Wants= the live generation, at boot."""
        return os.path.join(self.units, "sockets.target.wants", self.public_socket_unit)

    def runtime_drop_in(self, unit: str) -> str:
        return self._at(RUNTIME_UNITS, f"{unit}.d")

    @property
    def public_socket_unit(self) -> str:
        return f"{self.app}.socket"

    def service_unit(self, number: int) -> str:
        return f"{self.app}@{number}.service"

    def socket_unit(self, number: int) -> str:
        return f"{self.app}@{number}.socket"

    def trial_service_unit(self, number: int) -> str:
        return f"{self.app}-trial@{number}.service"

    def trial_socket_unit(self, number: int) -> str:
        return f"{self.app}-trial@{number}.socket"

    @property
    def candidate_glob(self) -> str:
        """What systemd matches with the names of candidates' units."""
        return f"{self.app}-trial@*"

    @property
    def instance_glob(self) -> str:
        """What systemd matches with the names of instances' services and sockets."""
        return f"{self.app}@*"

    def candidates(self, units: Iterable[str]) -> list[str]:
        """Those of `units` that are called as candidates are, sorted. Whose they are: _ownership."""
        return sorted(unit for unit in units if unit.startswith(f"{self.app}-trial@"))

    def instances(self, units: Iterable[str]) -> dict[int, str]:
        """{generation: unit} of those of `units` that are called as services of instances are, ascending."""
        start, end = f"{self.app}@", ".service"
        found = {unit[len(start) : -len(end)]: unit for unit in units if unit.startswith(start) and unit.endswith(end)}
        return {int(number): found[number] for number in sorted(filter(str.isdigit, found), key=int)}

    def instance_units(self, number: int) -> list[str]:
        """Units with files of their own below /etc/systemd/system for generation `number`."""
        return [
            self.service_unit(number),
            self.socket_unit(number),
            self.trial_service_unit(number),
            self.trial_socket_unit(number),
        ]

    @property
    def local_fact(self) -> str:
        return self._at(LOCAL_FACT)

    @property
    def user(self) -> str:
        """The system user that the app runs as unless the inventory names another."""
        return f"hc-{self.app}"

    @property
    def group(self) -> str:
        """The system group of whoever may read the app's releases: its user, whichever that is."""
        return f"hc-{self.app}"


def installed_apps(root: str = "/") -> list[str]:
    """Names of the apps that have anything of Headcount's on this host, sorted.

    A folder of somebody else's among theirs is known by what is in it, and is left out.
    """
    return sorted(_found(root, HOME, _HOME_MARKS) | _found(root, STATE, _STATE_MARKS))


def present_apps(root: str = "/") -> list[str]:
    """As installed_apps(), without those that were removed and of which only the ledger is left."""
    return sorted(_found(root, HOME, _HOME_MARKS))


def _found(root: str, base: str, marks: frozenset[str]) -> set[str]:
    """Names of the folders in `base` that hold one of `marks`, or nothing."""
    try:
        with os.scandir(os.path.join(root, base)) as entries:
            names = [entry.name for entry in entries if entry.is_dir() and entry.name != "wheels"]
    except (FileNotFoundError, NotADirectoryError):
        return set()
    held = {name: set(os.listdir(os.path.join(root, base, name))) for name in names}
    return {name for name, there in held.items() if not there or there & marks}
