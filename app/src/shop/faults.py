# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Faults that a release can be given by the environment variable SHOP_FAULTS, to see what a rollout does about them.

Several are separated by commas: `slow:300,errors:0.01`. The health route is spared by the faults of requests, so
that each fault is found by the check that is meant to find it. Counts are per process.
"""

from __future__ import annotations

import logging.config
import os
import random
import re
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping

from . import work

VARIABLE = "SHOP_FAULTS"
EXIT_STATUS = 70  # neither 3 nor 4, which Gunicorn's master takes for "worker failed to boot" and stops
FORK_SECONDS = 60
CATALOGUE: Mapping[str, str] = {
    "crash_import": "crash_import: importing shop.wsgi raises",
    "crash_boot": "crash_boot: create_app() raises",
    "crash_fork": "crash_fork: the app imports, and every worker process forked by the server exits",
    "crash_first_request": "crash_first_request: the process exits at its first request that is not for health",
    "never_ready": "never_ready: health answers 503 for ever",
    "wrong_health": "wrong_health: health answers 500",
    "wrong_answer": "wrong_answer: health answers 200 with the body of somebody else",
    "dies_after": "dies_after:SECONDS: the process exits that long after the app was made",
    "slow": "slow:MS: every request waits",
    "slow_after": "slow_after:REQUESTS:MS: every request after that many waits",
    "errors": "errors:SHARE: that share of the requests (0 to 1) answers 500, evenly spread",
    "raises": "raises: what errors and wrong_health would answer with 500 raises, and so is logged",
    "leak": "leak:SIZE: every request keeps memory (512k, 2m; a bare number is MiB)",
    "hog": "hog:SIZE: create_app() takes memory and keeps it",
    "block": "block:MS (50): every request blocks its worker's event loop",
    "stall": "stall:SECONDS[:REQUESTS]: the whole process stands still once, at that request (20)",
    "silent": "silent: create_app() configures logging in a way that silences the server's own",
    "leaves": "leaves:REQUESTS: the process exits with status 0 at that request",
    "redirects": "redirects: every request is sent to another host",
    "proxied": "proxied: every request is refused that is not for shop.example.com, over https (by its header) and "
    "from an address",
    "turns": "turns:SHAPE: from when /etc/shop.broken is there on, it is dead, hanging, slow, errors (500 on all but "
    "health), garbage, health (500 there alone), path (500 on /wait alone), some (500 on each third), dropping or "
    "threads (begins all that it may, and answers 500 on all but health then)",
    "fork_bomb": "fork_bomb:N: create_app() starts N processes (at most 5000) that live for 60 s",
}
COUNTS: Mapping[str, tuple[str, float]] = {"leaves": ("leaves_at", 1e9), "fork_bomb": ("fork_bomb", 5000)}
BROKEN_FILE = Path("/etc/shop.broken")
SHAPES = ("dead", "hanging", "slow", "errors", "garbage", "health", "path", "some", "dropping", "threads")
OWN_NAME = "shop.example.com"
HANG_MS = 3_600_000.0
SLOW_MS = 3_000.0
_SIZE = re.compile(r"(\d+(?:\.\d+)?)(k|m|mib|kib)?", re.IGNORECASE)


class FaultError(ValueError):
    """SHOP_FAULTS holds something that is not a fault. The message says what is allowed."""


class InjectedError(RuntimeError):
    """Raised by a fault that was asked for."""


@dataclass(frozen=True)
class Faults:
    """What was asked for. Milliseconds, seconds, bytes; zero or None is "off"."""

    crash_import: bool = False
    crash_boot: bool = False
    crash_fork: bool = False
    crash_first_request: bool = False
    never_ready: bool = False
    wrong_health: bool = False
    wrong_answer: bool = False
    dies_after_seconds: float | None = None
    slow_ms: float = 0.0
    slow_after_requests: int = 0
    slow_after_ms: float = 0.0
    errors: float = 0.0
    raises: bool = False
    leak_bytes: int = 0
    hog_bytes: int = 0
    block_ms: float = 0.0
    stall_seconds: float = 0.0
    stall_at: int = 20
    silent: bool = False
    leaves_at: int = 0
    redirects: bool = False
    proxied: bool = False
    fork_bomb: int = 0
    turns: str = ""
    names: tuple[str, ...] = ()


def parse(text: str) -> Faults:
    """The faults of a SHOP_FAULTS value. Raises FaultError."""
    values: dict[str, Any] = {}
    names: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        name, *arguments = item.split(":")
        if name not in CATALOGUE:
            raise FaultError(f"{VARIABLE}: {item!r} is not a fault; allowed are: {'; '.join(CATALOGUE.values())}")
        try:
            values.update(_settings(name, arguments))
        except (ValueError, IndexError):
            raise FaultError(f"{VARIABLE}: {item!r} cannot be read; write it as {CATALOGUE[name]}") from None
        names.append(item)
    return Faults(names=tuple(names), **values)


def _settings(name: str, arguments: list[str]) -> dict[str, object]:
    """The fields that one fault sets. ValueError or IndexError when its arguments are wrong."""
    most = {
        "slow_after": 2,
        "stall": 2,
        "dies_after": 1,
        "slow": 1,
        "errors": 1,
        "leak": 1,
        "hog": 1,
        "block": 1,
        "turns": 1,
        "leaves": 1,
    }
    if len(arguments) > most.get(name, 1 if name == "fork_bomb" else 0):
        raise ValueError("too many arguments")
    if name == "dies_after":
        return {"dies_after_seconds": _number(arguments[0], 0, 86_400)}
    if name == "slow":
        return {"slow_ms": _number(arguments[0], 0, 60_000)}
    if name == "slow_after":
        return {
            "slow_after_requests": int(_number(arguments[0], 0, 1e9)),
            "slow_after_ms": _number(arguments[1], 0, 60_000),
        }
    if name == "errors":
        return {"errors": _number(arguments[0], 0, 1)}
    if name == "leak":
        return {"leak_bytes": _size(arguments[0])}
    if name == "hog":
        return {"hog_bytes": _size(arguments[0])}
    if name == "block":
        return {"block_ms": _number(arguments[0], 0, 60_000) if arguments else 50.0}
    if name == "stall":
        stall: dict[str, object] = {"stall_seconds": _number(arguments[0], 0, 60)}
        if len(arguments) > 1:
            stall["stall_at"] = int(_number(arguments[1], 1, 1e9))
        return stall
    if name == "turns":
        return {"turns": SHAPES[SHAPES.index(arguments[0])]}
    if name in COUNTS:
        setting, highest = COUNTS[name]
        return {setting: int(_number(arguments[0], 1, highest))}
    return {name: True}


def _number(text: str, low: float, high: float) -> float:
    value = float(text)
    if not low <= value <= high:
        raise ValueError(f"{text} is not within {low} to {high}")
    return value


def _size(text: str) -> int:
    """Bytes of `512k`, `2m`, or of a bare number of MiB."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError(text)
    unit = 1024 if (found[2] or "m").lower().startswith("k") else work.MIB
    size = int(float(found[1]) * unit)
    if size > 16 * 1024 * work.MIB:
        raise ValueError(text)
    return size


def at_import(environ: Mapping[str, str]) -> None:
    """Crash, when the import of the app is meant to crash."""
    faults = parse(environ.get(VARIABLE, ""))
    if faults.crash_import:
        raise InjectedError(f"{VARIABLE}=crash_import: this release cannot be imported")
    if faults.crash_fork:
        if _is_forked():
            os._exit(EXIT_STATUS)
        os.register_at_fork(after_in_child=lambda: os._exit(EXIT_STATUS))


def _is_forked(proc: Path = Path("/proc")) -> bool:
    """Whether the parent runs the same command line: then this is a worker forked by the server's master."""
    try:
        mine, parent = (proc / pid / "cmdline" for pid in ("self", str(os.getppid())))
        return mine.read_bytes() == parent.read_bytes()
    except OSError:
        return False


@dataclass
class Injector:
    """Carries the faults of one app out, and counts its requests."""

    faults: Faults
    die: Callable[[int], object] = os._exit
    requests: int = 0
    _kept: list[bytearray] = field(default_factory=list)
    _owed: float = field(default_factory=random.random)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def at_boot(self) -> None:
        """What happens once, while the app is made."""
        faults = self.faults
        if faults.crash_boot:
            raise InjectedError(f"{VARIABLE}=crash_boot: create_app() of this release raises")
        if faults.silent:
            logging.config.dictConfig({"version": 1})
        if self.turned("dead"):
            raise InjectedError(f"{VARIABLE}=turns:dead: this release does not start any more")
        if faults.hog_bytes:
            self._kept.append(work.hold(faults.hog_bytes))
        if faults.fork_bomb:
            self._fork(faults.fork_bomb)
        if faults.dies_after_seconds is not None:
            timer = threading.Timer(faults.dies_after_seconds, self.die, (EXIT_STATUS,))
            timer.daemon = True
            timer.start()

    def turned(self, *shapes: str) -> bool:
        """Whether this release is to turn broken in one of these ways, and its time has come."""
        return self.faults.turns in shapes and BROKEN_FILE.exists()

    def at_any_request(self, path: str, environ: Mapping[str, Any]) -> int | None:
        """What a release that turned broken does at every request, health included: a status, or None to go on."""
        if self.turned("hanging"):
            work.wait(HANG_MS)
        if self.turned("garbage", "dropping"):
            connection = environ["gunicorn.socket"]
            if self.faults.turns == "garbage":
                connection.sendall(b"\x00\xffthis is not HTTP\r\n\r\n")
            connection.shutdown(socket.SHUT_RDWR)
        if self.faults.proxied:
            name, scheme = environ.get("HTTP_HOST"), environ.get("HTTP_X_FORWARDED_PROTO")
            if (name, scheme) != (OWN_NAME, "https") or not environ.get("REMOTE_ADDR"):
                return 400
        return 500 if path == "/wait" and self.turned("path") else None

    def at_request(self) -> int | None:
        """What happens at every request that is not for health: an HTTP status to answer with, or None to go on."""
        faults = self.faults
        with self._lock:
            self.requests += 1
            count = self.requests
            self._owed += faults.errors
            failed = self._owed >= 1.0
            if failed:
                self._owed -= 1.0
            if faults.leak_bytes:
                self._kept.append(work.hold(faults.leak_bytes))
        if self.turned("threads"):
            self.hoard()
        if faults.crash_first_request:
            self.die(EXIT_STATUS)
        if count == faults.leaves_at:
            self.die(0)
        if faults.stall_seconds and count == faults.stall_at:
            work.freeze(faults.stall_seconds)
        if faults.block_ms:
            work.block(faults.block_ms)
        failed = failed or self.turned("errors") or (count % 3 == 0 and self.turned("some"))
        delay = faults.slow_ms + (SLOW_MS if self.turned("slow") else 0.0)
        if faults.slow_after_ms and count > faults.slow_after_requests:
            delay += faults.slow_after_ms
        if delay:
            work.wait(delay)
        if failed and faults.raises:
            raise InjectedError(f"{VARIABLE}=raises: this request finds no price")
        if failed:
            return 500
        return 302 if faults.redirects else None

    def health(self) -> tuple[dict[str, str], int]:
        """Body and status of the health route."""
        if self.faults.never_ready:
            return {"status": "starting"}, 503
        if self.faults.wrong_health and self.faults.raises:
            raise InjectedError(f"{VARIABLE}=raises: this request finds no price")
        if self.faults.wrong_health or self.turned("health"):
            return {"status": "error"}, 500
        if self.faults.wrong_answer:
            return {"state": "this is not the shop"}, 200
        return {"status": "ok"}, 200

    @property
    def kept_bytes(self) -> int:
        """Memory that faults hold in this process."""
        return sum(len(block) for block in self._kept)

    def hoard(self) -> None:
        """Begin threads that do not end, until no more may be begun. Raises RuntimeError then, as Python does."""
        while True:
            threading.Thread(target=work.wait, args=(HANG_MS,)).start()

    @staticmethod
    def _fork(count: int) -> None:
        """Start `count` processes that end by themselves; go on when the system refuses more."""
        for _ in range(count):
            try:
                os.posix_spawn("/bin/sleep", ["sleep", str(FORK_SECONDS)], {})
            except OSError as error:
                print(f"shop: fork_bomb stopped: {error}", file=sys.stderr)
                break
