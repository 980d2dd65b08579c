# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may change an app on a host: one run at a time.

Two layers. A *step lock* (flock) is held by the process that is changing the host right now; the kernel takes it back
when that process dies, so it is never stale. A *lease* (a file) says which run is between two of its steps. A lease is
stale, and is taken over with a word about it, when it has expired, when the host was booted since, or when the
controller itself says that the process which held it is gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from dataclasses import asdict, dataclass
from typing import Any, Callable, Iterator

from .._os.files import make_directory, read_json, remove_file, write_json
from .._os.paths import Layout
from .ledger import now_text

LEASE_SECONDS = 900.0
"""How long a run may stay silent between two steps: a whole batch of hosts may be worked on in between."""


class Busy(Exception):
    """Another run is changing this app on this host."""


@dataclass(frozen=True)
class Run:
    """One run of Headcount: who started it, where, when (`started`: ISO 8601, UTC)."""

    id: str
    user: str
    controller: str
    started: str

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Run:
        return cls(*(str(value.get(key) or "unknown") for key in ("id", "user", "controller", "started")))

    def to_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"run {self.id} of {self.user} on {self.controller}"


def boot_id(root: str = "/") -> str:
    """The kernel's identifier of this boot; empty where it cannot be read."""
    try:
        with open(os.path.join(root, "proc/sys/kernel/random/boot_id"), encoding="ascii") as stream:
            kernel = stream.read().strip()
        with open(os.path.join(root, "proc/1/stat"), encoding="ascii", errors="replace") as stream:
            # A container that was power-cycled keeps its kernel's boot id, but not the start time of its PID 1.
            started = stream.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{kernel}/{started}"


def stale_reason(lease: dict[str, Any], this_boot: str, now: float, gone: frozenset[str] = frozenset()) -> str | None:
    """Why `lease` no longer counts, or None while it does.

    `now` is in seconds since the epoch; `gone` holds the ids of runs whose controller process is known to have ended.
    A clock that jumped backwards does not make a lease eternal: one that ends twice its length from now is stale.
    """
    if lease.get("boot") != this_boot:
        return "the host was booted since"
    if lease.get("run", {}).get("id") in gone:
        return "its controller process is gone"
    expires = float(lease.get("expires", 0.0))
    if now > expires:
        return f"it expired {now - expires:.0f} s ago"
    if expires - now > 2 * max(LEASE_SECONDS, float(lease.get("seconds") or 0.0)):
        return "it lies in the future: the host's clock went back"
    return None


@dataclass
class AppLock:
    """The lock of one app on this host."""

    layout: Layout
    clock: Callable[[], float] = time.time
    seconds: float = LEASE_SECONDS
    """How long the lease lasts that is written next; longer where something of the run goes on between two steps."""

    def lease(self) -> dict[str, Any] | None:
        """The lease as written, stale or not; None when no run is between its steps."""
        value = read_json(self.layout.lease)
        return value if isinstance(value, dict) else None

    @contextlib.contextmanager
    def step(
        self,
        run: Run,
        name: str,
        gone: frozenset[str] = frozenset(),
        wait_seconds: float = 0.0,
        lease: bool = True,
    ) -> Iterator[str | None]:
        """Hold the app for one step of `run`; yields why an older lease was taken over, or None.

        `lease`: whether the run keeps the app until its next step.

        Raises Busy, naming the holder and since when, when another run holds the app.
        """
        make_directory(self.layout.state, 0o700)
        handle = os.open(self.layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(handle, wait_seconds)
            taken_over = self._check_lease(run, gone)
            if lease:
                self._renew_lease(run, name)
            elif taken_over:
                remove_file(self.layout.lease)
            os.ftruncate(handle, 0)
            with contextlib.suppress(OSError):
                os.pwrite(handle, f"{os.getpid()} {run} ({name}) since {now_text()}\n".encode(), 0)
            yield taken_over
            if lease and self.lease() is not None:
                self._renew_lease(run, name)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def alone(self, run: Run, name: str, gone: frozenset[str] = frozenset()) -> Iterator[str | None]:
        """A run's only or last step: as step(), and no lease stays behind, however it ends. Works on a full disk."""
        with self.step(run, name, gone, lease=False) as taken_over:
            try:
                yield taken_over
            finally:
                self.release(run)

    def release(self, run: Run) -> None:
        """End the lease of `run`; a lease of another run is left alone."""
        lease = self.lease()
        if lease and lease.get("run", {}).get("id") == run.id:
            remove_file(self.layout.lease)

    def _acquire(self, handle: int, wait_seconds: float) -> None:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if time.monotonic() >= deadline:
                    holder = os.pread(handle, 512, 0).decode(errors="replace").strip() or "an unnamed process"
                    raise Busy(
                        f"app {self.layout.app} is being changed on this host by process {holder}; "
                        "wait for it to end, then run again"
                    ) from None
                time.sleep(0.1)
            else:
                return

    def _check_lease(self, run: Run, gone: frozenset[str]) -> str | None:
        lease = self.lease()
        if lease is None or lease.get("run", {}).get("id") == run.id:
            return None
        holder = Run.from_dict(lease.get("run", {}))
        reason = stale_reason(lease, boot_id(self.layout.root), self.clock(), gone)
        if reason is None:
            left = float(lease["expires"]) - self.clock()
            raise Busy(
                f"app {self.layout.app} is held on this host by {holder} since {holder.started} "
                f"(last step: {lease.get('step')}); wait for that run to end, "
                f"or at most {left:.0f} s for its lease to expire"
            )
        return f"took over from {holder}, started {holder.started}: {reason}"

    def _renew_lease(self, run: Run, step: str) -> None:
        """Write the lease. On a full disk the one that this run has already is good enough."""
        try:
            self._write_lease(run, step)
        except OSError:
            if ((self.lease() or {}).get("run") or {}).get("id") != run.id:
                raise

    def _write_lease(self, run: Run, step: str) -> None:
        write_json(
            self.layout.lease,
            {
                "run": run.to_dict(),
                "step": step,
                "boot": boot_id(self.layout.root),
                "seconds": self.seconds,
                "expires": self.clock() + self.seconds,
            },
            0o600,
        )
