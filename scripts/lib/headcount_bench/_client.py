# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Users: open-loop HTTP load from several kinds of clients at once, every request accounted for. Standard library only.

Reads one JSON object from standard input: {address: [host, port] or "/path", seconds, timeout, arms: [{name, rate,
paths, kind: close|keep|trickle, connections, burst: [seconds, every]}]}.
Runs for `seconds`, or until standard input ends when `seconds` is
null. A request is due at a time of its own, whatever became of those before; its latency counts from then, connecting
included. Prints one JSON line: {began, rows: [[arm, start in seconds since `began`, latency in ms, status, tag]],
held_up: [[from, to]]}; a request that failed has the status 0 and says why in its tag. `held_up`: between which seconds
since `began` this program itself stood still, since the machine gave it no time: a server that hears nothing from a
client for seconds has done nothing wrong when it hangs up.

close: a connection for each request. keep: connections are used again and again, the longest idle first; a connection
that the server closes while it is idle is a failure here when a request was already sent on it; at most `connections`
(8) are kept. trickle: half of the
request, a pause, the rest. cut: the client goes away after it has asked, without reading; its row has the status 0 and
the tag "cut". An arm with a burst asks at its rate for so many seconds, and then not at all until so many seconds after
the burst began.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
import time
from collections import deque
from typing import Any

TRICKLE_SECONDS = 1.5
"""How long a slow client leaves its request unfinished."""

BEAT_SECONDS = 0.25
HELD_UP_SECONDS = 0.5
"""What beats so often, and is so much late, was held up."""

CUT_SECONDS = 0.1
"""How long a client waits that goes away."""


class Arm:
    """One kind of client."""

    def __init__(self, spec: dict[str, Any], address: Any, timeout: float, rows: list[Any], began: float) -> None:
        self.spec, self.address, self.timeout, self.rows, self.began = spec, address, timeout, rows, began
        self.idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, seconds: float | None) -> None:
        """Issue requests at the arm's rate."""
        begin, count = time.monotonic(), 0
        while not stop.is_set():
            due = begin + due_s(count, self.spec["rate"], self.spec.get("burst"))
            if seconds is not None and due - begin >= seconds:
                break
            wait = due - time.monotonic()
            if wait > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(stop.wait(), wait)
                    break
            task = asyncio.create_task(self.one(due, self.spec["paths"][count % len(self.spec["paths"])]))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            count += 1
        while self.tasks:
            await asyncio.wait(set(self.tasks))
        for _, writer in self.idle:
            writer.close()

    async def one(self, due: float, path: str) -> None:
        """One request and its row."""
        try:
            status, tag = await asyncio.wait_for(self.ask(path), self.timeout)
        except asyncio.TimeoutError:
            status, tag = 0, f"no answer within {self.timeout:g} s"
        except (OSError, EOFError, ValueError, IndexError) as error:
            status, tag = 0, f"{type(error).__name__}: {error}"[:120]
        latency = (time.monotonic() - due) * 1000
        self.rows.append([self.spec["name"], round(due - self.began, 4), round(latency, 2), status, tag])

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address)
        return await asyncio.open_connection(self.address[0], self.address[1])

    def kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The connection that has been idle for longest; None without any."""
        while self.idle:
            reader, writer = self.idle.popleft()
            if not reader.at_eof():
                return reader, writer
            # Closed while it was idle, and seen before anything was sent: what every client deals with.
            writer.close()
        return None

    async def ask(self, path: str) -> tuple[int, str]:
        kind = self.spec.get("kind", "close")
        keep = kind == "keep"
        reader, writer = (self.kept() if keep else None) or await self.connect()
        good = False
        try:
            head = f"GET {path} HTTP/1.1\r\nHost: bench\r\n".encode()
            rest = b"\r\n" if keep else b"Connection: close\r\n\r\n"
            if kind == "trickle":
                writer.write(head[:12])
                await writer.drain()
                await asyncio.sleep(TRICKLE_SECONDS)
                head = head[12:]
            writer.write(head + rest)
            await writer.drain()
            if kind == "cut":
                await asyncio.sleep(CUT_SECONDS)
                return 0, "cut"
            answer = await reader.readuntil(b"\r\n\r\n")
            lines = answer.decode("latin-1").lower().split("\r\n")
            status = int(lines[0].split()[1])
            headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
            body = await reader.readexactly(int(headers["content-length"]))
            if keep and headers.get("connection") != "close" and len(self.idle) < self.spec.get("connections", 8):
                self.idle.append((reader, writer))
                good = True
            return status, tag_of(body)
        finally:
            if not good:
                writer.close()


def due_s(count: int, rate: float, burst: Any = None) -> float:
    """When request `count` (from 0) of an arm is due, in seconds since its first; burst: [seconds, every]."""
    if not burst:
        return float(count / rate)
    each = max(1, round(burst[0] * rate))
    return float(count // each * burst[1] + count % each / rate)


def tag_of(body: bytes) -> str:
    """The release that a body of /version names; else empty."""
    try:
        value = json.loads(body)
    except ValueError:
        return ""
    return str(value.get("release") or "") if isinstance(value, dict) else ""


async def watch_itself(began: float, held_up: list[list[float]], over: asyncio.Event) -> None:
    """Note between which seconds since `began` nothing here could run, until it is over."""
    while not over.is_set():
        since = time.monotonic()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(over.wait(), BEAT_SECONDS)
        now = time.monotonic()
        if now - since > BEAT_SECONDS + HELD_UP_SECONDS:
            held_up.append([round(since + BEAT_SECONDS - began, 4), round(now - began, 4)])


async def main() -> None:
    """Run all arms."""
    spec = json.loads(sys.stdin.readline())
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if spec.get("seconds") is None:
        loop.run_in_executor(None, lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)))
    rows: list[Any] = []
    began, wall = time.monotonic(), time.time()
    held_up: list[list[float]] = []
    over = asyncio.Event()
    watching = asyncio.create_task(watch_itself(began, held_up, over))
    arms = [Arm(arm, spec["address"], spec["timeout"], rows, began) for arm in spec["arms"]]
    await asyncio.gather(*(arm.run(stop, spec.get("seconds")) for arm in arms))
    over.set()
    await watching
    print(json.dumps({"began": wall, "rows": rows, "held_up": held_up}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
