# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A host of the fault catalogue: a live app, users who ask it all the while, and what is to be seen of both."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount_scripts import labs, paths
from headcount_scripts.console import ScriptError
from headcount_scripts.podman import podman

from . import _engine
from ._common import Lab

APP = "shop"
ARMS: tuple[dict[str, Any], ...] = (
    {"name": "new", "kind": "close", "rate": 12, "paths": ["/version"]},
    {"name": "kept", "kind": "keep", "rate": 8, "paths": ["/version"]},
    {"name": "long", "kind": "close", "rate": 0.5, "paths": ["/wait?ms=2000"]},
    {"name": "slow", "kind": "trickle", "rate": 0.4, "paths": ["/version"]},
)
PIDS = "/sys/fs/cgroup/pids/pids"
KEPT_MOUNT, KEPT_LINE = "mnt-kept.mount", "tmpfs /mnt/kept tmpfs size=1m 0 0"
"""What generators_kept() looks at."""
"""Before `.max` and `.current`: the control group of a lab host, which holds all of its processes and threads."""
_VARIANTS = threading.Lock()


@dataclass
class Observed:
    """What a row saw. `broken` holds a sentence for each promise that was not kept."""

    broken: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    window: list[float] | None = None
    """Epoch seconds between which the fault itself keeps users from being served; None when it never does."""

    def must(self, holds: object, sentence: str) -> None:
        """Note `sentence` as broken unless `holds`."""
        if not holds:
            self.broken.append(sentence)


@dataclass
class Scene:
    """One host of the lab with the app live on it."""

    lab: Lab
    host: str
    engine: _engine.Engine
    serial: int = 0
    seen: Observed = field(default_factory=Observed)
    release: str = ""
    asking: _engine.Users = field(init=False)
    """Those who ask now."""

    @property
    def address(self) -> list[Any]:
        return [self.lab.addresses[self.host], 8000]

    def sh(self, command: str, timeout: float = 120.0) -> str:
        """A shell command as root in the host; its standard output."""
        return self.engine.sh(command, timeout=timeout)

    # -- deployments --------------------------------------------------------------------------------------------------

    def declared(self, faults: str = "", **changes: Any) -> dict[str, Any]:
        """A release of the app with a name of its own that its answers tell."""
        self.serial += 1
        self.release = f"{self.host}-{self.serial}"
        environment = {"SHOP_RELEASE": self.release, **({"SHOP_FAULTS": faults} if faults else {})}
        environment.update(changes.pop("environment", {}))
        return _engine.shop(APP, environment=environment, **changes)

    def request(self, faults: str = "", **changes: Any) -> dict[str, Any]:
        """Arguments of stage for a new generation."""
        return self.engine.request(self.declared(faults, **changes))

    def deploy(self, **changes: Any) -> list[dict[str, Any]]:
        """A good generation, without weigh and trial, which have rows of their own."""
        return self.engine.steps(APP, ("stage", self.request(**changes)), "finish", "promote", gone=self.gone())

    def whole(self, faults: str = "", **changes: Any) -> list[dict[str, Any]]:
        """A generation the whole way: stage, weigh, trial, promote."""
        return self.engine.steps(APP, ("stage", self.request(faults, **changes)), "weigh", "trial", "promote",
                                 gone=self.gone())  # fmt: skip

    def gone(self) -> list[str]:
        """The run that the lease names: its controller is this bench, which knows that it has ended."""
        text = self.sh(f"cat /var/lib/headcount/{APP}/lease.json 2>/dev/null")
        found = re.search(r'"id": "([\w-]+)"', text)
        return [found[1]] if found else []

    def variant(self) -> dict[str, str]:
        """A source that no release was built from yet: the sample app with another version."""
        with _VARIANTS:
            return variant(variants_folder() / f"{self.host}-{int(time.time() * 1000)}")

    def prepare(self) -> None:
        """Two good generations, the newer one live, nothing left over; anything else is made so from scratch.

        So is what a row left whose promise was not kept: its release may have faults that wait for the next one.
        """
        doubtful, self.seen = bool(self.seen.broken), Observed()
        # What a row that was broken off may have left.
        self.sh("umount -l /opt/headcount; test -e /usr/bin/h2load.away && mv /usr/bin/h2load.away /usr/bin/h2load")
        if self.gone():
            self.engine.steps(APP, "heal", gone=self.gone())
        for _ in range(2):
            state = self.engine.status(APP)
            good = [one for one in state.get("generations", []) if one["status"] == "good"]
            whole = state.get("healthy") and state.get("intact") and not state.get("leftovers")
            if whole and len(good) > 1 and not doubtful:
                self.release = self.answering() or self.release
                return
            if not whole or doubtful:
                doubtful = False
                self.engine.steps(APP, "remove", gone=self.gone())
                self.sh(f"systemctl stop '{APP}*'; systemctl reset-failed; rm -rf /opt/headcount/{APP}")
            for _ in range(2):
                done = self.deploy()
                if "failed" in done[-1]:
                    raise ScriptError(f"{self.host} cannot be made ready: {done[-1]['failed']}")
        raise ScriptError(f"{self.host} cannot be made ready: {self.engine.status(APP)}")

    def answering(self) -> str:
        """The release that answers users now; empty when none does."""
        text = self.sh("curl -s -m 5 http://127.0.0.1:8000/version")
        return str(json.loads(text).get("release", "")) if text.startswith("{") else ""

    # -- what is to be seen -------------------------------------------------------------------------------------------

    def live(self) -> int | None:
        return self.engine.live(APP)

    def events(self, since: int) -> list[dict[str, Any]]:
        """The ledger's entries after the first `since`."""
        return self.engine.ledger(APP)[since:]

    def clean(self, when: str = "afterwards") -> None:
        """Nothing is left over, and the live generation is whole and healthy."""
        state = self.engine.status(APP)
        self.seen.must(state.get("healthy"), f"{when} the live generation is not healthy: {state.get('health_detail')}")
        self.seen.must(state.get("intact"), f"{when} the live generation is not intact: {state.get('problems')}")
        self.seen.must(not state.get("leftovers"), f"{when} there is left: {state.get('leftovers')}")
        lease = state.get("lease")
        self.seen.must(lease is None, f"{when} a lease is left: {lease}")
        statuses = [one["status"] for one in state.get("generations", [])]
        self.seen.must(statuses.count("bad") <= 1, f"{when} more than one bad generation is kept")
        running = self.sh(f"systemctl list-units --no-legend --plain '{APP}@*.service' '{APP}-trial@*'").split("\n")
        own = f"{APP}@{self.live()}-"  # processes beside the live server
        units = [line.split()[0] for line in running if line.strip() and not line.startswith(own)]
        self.seen.must(units == [f"{APP}@{self.live()}.service"], f"{when} there run: {', '.join(units)}")
        unfinished = self.sh(f"ls -d /opt/headcount/{APP}/*/*/.unfinished 2>/dev/null").split()
        self.seen.must(not unfinished, f"{when} there is unfinished: {', '.join(unfinished)}")

    @contextlib.contextmanager
    def users(self) -> Iterator[_engine.Users]:
        """Users ask all the while."""
        with self.engine.users(self.address, ARMS) as users:
            self.asking = users
            time.sleep(0.5)  # so that requests are under way when it begins
            yield users
            time.sleep(0.5)  # and some are made after its end

    @contextlib.contextmanager
    def small_disk(self, folder: str, spare_mib: int) -> Iterator[None]:
        """`folder` on a file system of its own with little room; its content goes along, there and back."""
        size = int(self.sh(f"du -sm {folder} | cut -f1") or 1) + spare_mib
        mount = (
            f"mkdir -p /mnt/copy && rm -rf /mnt/copy/* && cp -a {folder}/. /mnt/copy/ && "
            f"mount -t tmpfs -o size={size}m,mode=$(stat -c %a {folder}) tmpfs {folder} && cp -a /mnt/copy/. {folder}/"
        )
        self.engine.sh(mount, check=True)
        try:
            yield
        finally:
            self.sh(
                f"rm -f {folder}/filler; rm -rf /mnt/copy/*; cp -a {folder}/. /mnt/copy/; umount -l {folder}; "
                f"find {folder} -mindepth 1 -delete; cp -a /mnt/copy/. {folder}/; systemctl daemon-reload"
            )

    def awaited(self, what: str, holds: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until it holds; noted as broken where it does not within so many seconds."""
        until = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > until:
                self.seen.must(False, f"{what} did not come within {seconds:.0f} s")
                return
            time.sleep(0.2)  # between two looks

    @contextlib.contextmanager
    def few_tasks(self, spare: int) -> Iterator[None]:
        """The host can begin no more than `spare` processes and threads beside those that it has."""
        self.sh(f"cat {PIDS}.max > /root/pids.max; echo $(($(cat {PIDS}.current) + {spare})) > {PIDS}.max")
        try:
            yield
        finally:
            self.sh(f"cat /root/pids.max > {PIDS}.max")

    @contextlib.contextmanager
    def generators_kept(self) -> Iterator[None]:
        """What systemd's generators made is as it was, and systemd knows it: a mount of /etc/fstab stands for all."""
        look = (
            "find /run/systemd/generator* -printf '%P %l\\n' | sort; "
            f"systemctl show -p LoadState -p ActiveState -p SourcePath {KEPT_MOUNT}"
        )
        self.sh(f"mkdir -p /mnt/kept; echo '{KEPT_LINE}' >> /etc/fstab; systemctl daemon-reload")
        self.sh(f"systemctl start {KEPT_MOUNT}")
        before = self.sh(look)
        try:
            self.seen.must("SourcePath=/etc/fstab" in before, f"the mount of the row is not there: {before}")
            yield
            after = self.sh(look)
            self.seen.must(after == before, f"what generators made is not as it was: {before} became {after}")
        finally:
            self.sh(
                f"systemctl stop {KEPT_MOUNT}; sed -i '/ .mnt.kept /d' /etc/fstab; "
                "systemctl daemon-reload; systemctl daemon-reload"  # the first has systemd's own limit as it was again
            )

    @contextlib.contextmanager
    def roomy_systemd(self) -> Iterator[None]:
        """systemd itself has no limit of tasks but the host's, whatever that is."""
        self.engine.sh("systemctl set-property --runtime init.scope TasksMax=infinity", check=True)
        try:
            yield
        finally:
            self.sh("rm -rf /run/systemd/transient/init.scope.d; systemctl daemon-reload")

    def power(self, action: str = "cycle") -> None:
        """The host loses its power, and has it again."""
        # At once: the lab's own command waits for its turn when other hosts are being cut.
        podman("kill", "--signal", "KILL", self.lab.container(self.host), check=False)
        self.engine.init = 0
        labs.power(self.lab.name, self.host, action)
        self.engine.init = 0

    def wait_served(self, seconds: float = 60.0) -> float | None:
        """Seconds until the app answers; None when it does not within `seconds`."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            if self.answering():
                return time.monotonic() - begin
            time.sleep(0.25)
        return None


def lost(rows: Sequence[Sequence[Any]], began: float, window: Sequence[float] | None) -> tuple[list[Any], list[Any]]:
    """(failures that the fault itself caused, other failures). A request belongs to the window it overlaps."""
    caused: list[Any] = []
    other: list[Any] = []
    for row in _engine.failures(rows):
        start = began + float(row[1])
        end = start + float(row[2]) / 1000
        inside = window is not None and start <= window[1] and end >= window[0]
        (caused if inside else other).append(list(row))
    return caused, other


def times(bad: Sequence[Sequence[Any]], began: float, moments: Sequence[tuple[str, float, float]]) -> str:
    """All failures, and `moments` (what went on, from and to in epoch seconds), on the clock of the users: how many
    seconds after they `began`."""
    asked = [f"{row[1]:.2f}-{row[1] + row[2] / 1000:.2f} {str(row[4]).partition(':')[0]}" for row in bad]
    went_on = [f"{what} {start - began:.1f}-{end - began:.1f}" for what, start, end in moments]
    return f"at {', '.join(asked)} s, where {', '.join(went_on)} s"


def described(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Ledger entries in few words."""
    texts = []
    for entry in entries:
        arrow = f" {entry.get('from') or '-'} → {entry['to']}" if entry.get("to") is not None else ""
        about = f" {entry['generation']}" if entry.get("generation") is not None and not arrow else ""
        why = entry.get("cause") or "; ".join(map(str, entry.get("did", []))) or entry.get("completed") or ""
        texts.append(f"{entry['event']}{arrow}{about}" + (f": {why}" if why else ""))
    return texts


def variant(folder: Path) -> dict[str, str]:
    """The sample app with another version, in a folder that is made: a source that no release was built from yet."""
    shutil.copytree(paths.ROOT / "app", folder, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    file = folder / "src/shop/__init__.py"
    file.write_text(file.read_text(encoding="utf-8") + f"\nSERIAL = {time.time()}\n", encoding="utf-8")
    return {"path": str(folder)}


def variants_folder() -> Path:
    """Where variants of the sample app lie that this process makes."""
    return _engine.wheel_cache() / "variants" / str(os.getpid())


def forget_variants() -> None:
    """Remove those of processes that have ended: another benchmark of this checkout may be at work."""
    for folder in variants_folder().parent.glob("*"):
        if not Path(f"/proc/{folder.name}").exists() or folder == variants_folder():
            shutil.rmtree(folder, ignore_errors=True)
