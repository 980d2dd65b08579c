# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The part of scripts/bench judge that runs on a lab host: pairs of instances, loaded and judged as a trial does it.

Reads a job (JSON) from standard input and writes what came of it to standard output. A job has several pairs and some
slots, side by side, each with a live instance that stays; a slot takes pair after pair, each with a candidate of its
own. Instances are transient units of systemd with their own cgroup; load, memory and verdict are the collection's own
modules, which lie beside this file as the package `headcount_units`.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Iterator

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from headcount_units._declaration.app import Limits, Load
from headcount_units._facts.workerends import HOOKS
from headcount_units._load.early import Early
from headcount_units._load.h2load import Target
from headcount_units._load.phases import Running
from headcount_units._load.trialload import Attempt, Capacity, Turn, run_trial_load, with_retry
from headcount_units._os import http
from headcount_units._os.systemd import Systemd
from headcount_units._steps.compare import Arm
from headcount_units._verdict.early import Rule
from headcount_units._verdict.judge import Thresholds, judge

HOME = os.path.dirname(os.path.abspath(__file__))
RUN = "/run/headcount-bench"
CONFIG = f"{RUN}/gunicorn.conf.py"
LIMITS = Limits(error_rate=0.01, memory_percent=None)
ANSWER_S = 5.0
#: The pauses are what makes its bursts.
BURNER = """
import random, time
while True:
    end = time.monotonic() + random.uniform(0.2, 2.0)
    while time.monotonic() < end:
        pass
    time.sleep(random.uniform(0.2, 1.5))
"""


class Instance:
    """One instance of Gunicorn as a transient unit."""

    def __init__(self, name: str, job: dict[str, Any], environment: dict[str, str]) -> None:
        self.name, self.settings, self.nice = name, job["settings"], job["nice"]
        self.environment = {**job["environment"], **environment}
        self.unit = f"bench-{name}.service"
        self.socket = f"{RUN}/{name}.sock"
        self.files = f"{RUN}-{name}"
        self.systemd = Systemd()
        self.begin = time.time()

    def start(self) -> None:
        """Starts it and waits until it answers; others are loaded meanwhile, and it gives way to them until awake()."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket)
        variables = {"PYTHONPATH": f"{HOME}/site:{HOME}/app:{HOME}", **self.environment}
        command = ["systemd-run", "--quiet", "--collect", f"--unit={self.unit}", "--property=Type=notify"]
        command += [f"--property=MemoryMax={self.settings['memory_max_mib']}M", "--property=LimitNOFILE=4096"]
        command += [f"--property=Nice={self.nice}", f"--property=RuntimeDirectory={self.files.rpartition('/')[2]}"]
        command += [f"--setenv={name}={value}" for name, value in variables.items()]
        command += ["/usr/bin/python3", "-m", "gunicorn", "--no-control-socket", "--worker-tmp-dir", "/dev/shm"]
        command += [
            "--config",
            CONFIG,
            "--bind",
            f"unix:{self.socket}",
            "--worker-class",
            self.settings["worker_class"],
        ]
        command += ["--workers", str(self.settings["workers"]), "--threads", str(self.settings["threads"])]
        command += ["headcount_bench_release:create_app()"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if getattr(http.get(self.socket, "/healthz", 3.0), "status", 0) == 200:
                    return
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} never answered: {self.systemd.journal(self.unit, self.begin)[-5:]}")
            time.sleep(0.1)

    def awake(self) -> None:
        """Gives each of its threads the usual priority."""
        for pid in self.arm().pids():
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.setpriority(os.PRIO_PROCESS, int(thread), 0)

    def stop(self) -> None:
        """Ends it at once."""
        self.send(signal.SIGCONT)
        subprocess.run(["systemctl", "kill", "--signal=KILL", self.unit], check=False, capture_output=True, timeout=30)
        subprocess.run(["systemctl", "stop", self.unit], check=False, capture_output=True, timeout=30)

    def arm(self) -> Any:
        """What the trial reads it through."""
        return Arm(
            socket=self.socket,
            state=lambda: self.systemd.state(self.unit),
            journal=lambda: self.systemd.journal(self.unit, self.begin, lines=2000),
            memory_max_mib=float(self.settings["memory_max_mib"]),
            files=self.files,
            beats=self.settings["worker_class"] != "sync",
        )

    def send(self, number: int, workers: int | None = None) -> None:
        """A signal to every process, or to that many workers."""
        pids = self.arm().pids()
        for pid in pids if workers is None else pids[1 : 1 + workers]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def disturb(kind: str, instance: Instance) -> None:
    """What happens to the candidate in the first seconds of the load."""
    if kind in ("stall", "stall-one"):
        workers = None if kind == "stall" else 1
        time.sleep(random.uniform(3.0, 7.0))  # at any point of the load
        instance.send(signal.SIGSTOP, workers)
        time.sleep(1.0)  # this is the stall
        instance.send(signal.SIGCONT, workers)
    elif kind == "kill":
        time.sleep(random.uniform(3.0, 7.0))  # at any point of the load
        instance.send(signal.SIGKILL, 1)
    elif kind == "hang":
        time.sleep(1.0)  # the load has begun
        instance.send(signal.SIGSTOP)


def run_pair(pair: dict[str, Any], live: Instance, candidate: Instance, job: dict[str, Any]) -> dict[str, Any]:
    """The load (and the retry: sooner over, or when the verdict asks for it), and all samples."""
    settings = job["settings"]
    load = Load.from_dict({"paths": job["paths"], "rate": job["rate"], "seconds": job["seconds"]})
    kind = pair.get("disturb", "")
    takes: list[dict[str, Any]] = []

    def attempt(swap: bool, factor: float, sooner: bool = False) -> Any:
        sampler, beside = candidate.arm().sampler(), live.arm().sampler()
        early = Early(Rule(LIMITS, Thresholds(), answer_seconds=ANSWER_S), sampler.died) if sooner else None
        address = f"unix:{RUN}/nobody.sock" if kind == "refused" else f"unix:{candidate.socket}"

        def warm() -> None:
            sampler.mark_warm()
            beside.mark_warm()
            if not takes and kind:
                threading.Thread(target=disturb, args=(kind, candidate), daemon=True).start()

        begin = time.time()
        with sampler, beside:
            run = run_trial_load(
                Target(address), Target(f"unix:{live.socket}"), load, capacity=Capacity(settings["workers"]),
                turn=Turn(swap, factor, warm=swap), running=Running(ANSWER_S, early=early), on_warm=warm,
            )  # fmt: skip
        memory, its_memory = sampler.evidence(), beside.evidence()
        verdict = judge(run.candidate, run.baseline, LIMITS, memory, Thresholds(), baseline_memory=its_memory)
        takes.append(
            {
                "swap": swap, "factor": factor, "at": begin, "seconds": time.time() - begin,
                "candidate": run.candidate.to_dict(), "live": run.baseline.to_dict(), "load": run.to_dict(),
                "memory": memory.to_dict(), "live_memory": its_memory.to_dict(),
                "outcome": verdict.outcome, "cause": verdict.cause,
            }
        )  # fmt: skip
        return Attempt(run, memory, verdict, its_memory)

    if job["retry"] == "sooner":  # the first whole, to be judged by its parts; the retry as a trial has it
        attempt(False, 1.0)
        attempt(True, 2.0, sooner=True)
        return {**pair, "takes": takes}
    as_a_trial = job["retry"] == "trial"  # both end as soon as they have failed
    verdict, attempts = with_retry(lambda swap, factor: attempt(swap, factor, as_a_trial))
    final = {"outcome": verdict.outcome, "cause": verdict.cause, "attempts": len(attempts)}
    return {**pair, "takes": takes, "verdict": final}


class Slot:
    """One live instance, and the candidates that are tried beside it, one after another; the next one starts, at the
    lowest priority, while the one before it is loaded. `together` is awaited before the first load."""

    def __init__(self, number: int, job: dict[str, Any], waiting: queue.SimpleQueue[dict[str, Any]]) -> None:
        self.number, self.job, self.waiting = number, job, waiting
        self.live = Instance(f"live{number}", job, {})
        self.found: list[dict[str, Any]] = []
        self._candidates: list[Instance] = []

    def run(self, together: Callable[[], None]) -> None:
        """Takes pair after pair until none is left."""
        with ThreadPoolExecutor(1) as ahead:
            try:
                self.live.start()
                pair, coming = self._next(ahead)
                together()
                self.live.awake()
                while pair is not None and coming is not None:
                    candidate = coming.result()
                    candidate.awake()
                    following = self._next(ahead)
                    self.found.append(run_pair(pair, self.live, candidate, self.job))
                    candidate.stop()
                    pair, coming = following
            finally:
                ahead.shutdown(wait=True)
                for instance in (*self._candidates, self.live):
                    instance.stop()

    def _next(self, ahead: ThreadPoolExecutor) -> tuple[dict[str, Any] | None, Future[Instance] | None]:
        try:
            pair = self.waiting.get_nowait()
        except queue.Empty:
            return None, None
        candidate = Instance(f"candidate{self.number}-{len(self._candidates)}", self.job, pair["environment"])
        self._candidates.append(candidate)

        def start() -> Instance:
            candidate.start()
            return candidate

        return pair, ahead.submit(start)


@contextlib.contextmanager
def noise(processes: int) -> Iterator[None]:
    """A neighbour on the same CPU that burns it in bursts."""
    units = [f"bench-noise{number}.service" for number in range(processes)]
    try:
        for unit in units:
            subprocess.run(
                ["systemd-run", "--quiet", "--collect", f"--unit={unit}", "/usr/bin/python3", "-c", BURNER],
                check=True, capture_output=True, timeout=30,
            )  # fmt: skip
        yield
    finally:
        for unit in units:
            subprocess.run(["systemctl", "kill", "-s", "KILL", unit], check=False, capture_output=True, timeout=30)


def cpu_used(cpu: int) -> tuple[float, float, float]:
    """(seconds, busy seconds of one CPU of the machine, CPU seconds of this host) so far."""
    busy = 0.0
    with open("/proc/stat", encoding="ascii") as stream:
        for line in stream:
            if line.startswith(f"cpu{cpu} "):
                ticks = [int(word) for word in line.split()[1:]]
                busy = (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    own = 0.0
    for path, scale in (("/sys/fs/cgroup/cpuacct/cpuacct.usage", 1e9), ("/sys/fs/cgroup/cpu.stat", 1e6)):
        with contextlib.suppress(OSError), open(path, encoding="ascii") as stream:
            own = float(stream.read().split()[-1 if scale == 1e9 else 1]) / scale
            break
    return time.monotonic(), busy, own


def main() -> int:
    """Runs the job of standard input."""
    job = json.load(sys.stdin)
    os.makedirs(RUN, exist_ok=True)
    with open(CONFIG, "w", encoding="utf-8") as stream:
        stream.write(HOOKS)
    for unit in Systemd().loaded("bench-*.service"):  # what a run that was killed left
        subprocess.run(["systemctl", "kill", "-s", "KILL", unit], check=False, capture_output=True, timeout=30)
        subprocess.run(["systemctl", "stop", unit], check=False, capture_output=True, timeout=30)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    for pair in job["pairs"]:
        waiting.put(pair)
    slots = [Slot(number, job, waiting) for number in range(min(job["slots"], len(job["pairs"])))]
    gate = threading.Barrier(len(slots))
    errors: list[str] = []

    def together() -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            gate.wait(timeout=120)

    def work(slot: Slot) -> None:
        try:
            slot.run(together)
        except Exception as error:
            gate.abort()
            errors.append(f"slot {slot.number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(slot,)) for slot in slots]
    before = cpu_used(job["cpu"])
    with noise(job["noise"]):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    after = cpu_used(job["cpu"])
    if errors:
        print("; ".join(errors), file=sys.stderr)
        return 1
    span, busy, own = (late - early for late, early in zip(after, before))
    shares = {"own": own / span, "others": max(0.0, busy - own) / span}
    found = [pair for slot in slots for pair in slot.found]
    json.dump({"pairs": found, "cpu": {name: round(value, 4) for name, value in shares.items()}}, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
