# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What every benchmark shares: cells and their results on disk, progress, a lab of its own, the report's files."""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import gzip
import hashlib
import io
import json
import os
import platform
import queue
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount_scripts import bootstrap, labs
from headcount_scripts.console import ScriptError, say
from headcount_scripts.labmodel import Lab as LabModel
from headcount_scripts.labmodel import parse_hosts
from headcount_scripts.podman import PODMAN, podman

from ._turns import Turns

FAILURES_IN_A_ROW = 3
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Cell:
    """One measurement: a readable name (`--only` matches it) and the inputs that decide what comes out."""

    name: str
    inputs: Mapping[str, Any]

    @property
    def key(self) -> str:
        """What its result is kept under: 16 hex digits of the inputs' digest."""
        return hashlib.sha256(json.dumps(self.inputs, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Result:
    """What came of a cell: `value` is what the benchmark's work returned; `at` in seconds since the epoch."""

    cell: str
    key: str
    value: Any
    at: float
    seconds: float
    lane: str = ""


@dataclass(frozen=True)
class Report:
    """What a benchmark tells. `missed`: one sentence for each stated figure that was not reached (exit code 4)."""

    title: str
    markdown: str
    data: Mapping[str, Any]
    plot: Callable[[Any], None] | None = None
    plot_size: tuple[float, float] = (9.0, 5.0)
    missed: Sequence[str] = ()


class Store:
    """Results in a JSON lines file: appended as they come, so that a run that was broken off loses one cell at most."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def read(self) -> dict[str, Result]:
        """The last good result of every key. A torn last line is left out, and so are failures."""
        found: dict[str, Result] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    if "value" in entry:
                        found[entry["key"]] = Result(**entry)
                except (ValueError, KeyError, TypeError):
                    continue
        return found

    def add(self, entry: Mapping[str, Any]) -> None:
        """Appends one line."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.exists() and self.path.read_bytes()[-1:] not in (b"\n", b"")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("\n" if torn else "") + json.dumps(entry, sort_keys=True) + "\n")


class Progress:
    """Progress on standard error: a line that is rewritten on a terminal, else a line for each finished cell."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.total, self.done, self.failed = total, 0, 0
        self._clock, self._begin = clock, clock()
        self._lock = threading.Lock()
        self._terminal = sys.stderr.isatty()

    def finished(self, name: str, seconds: float, error: str = "") -> None:
        """A cell ended."""
        with self._lock:
            self.done += 1
            self.failed += bool(error)
            if error:
                self._line(f"!! {name}: {error}", keep=True)
            else:
                self._line(f"ok {self.done}/{self.total} {name} ({seconds:.1f} s) · {self.left()}", keep=False)

    def left(self) -> str:
        """How long the rest will take at this speed."""
        if not self.done:
            return "?"
        rest = (self.total - self.done) * (self._clock() - self._begin) / self.done
        return f"{rest / 60:.0f} min left" if rest >= 90 else f"{rest:.0f} s left"

    def close(self) -> None:
        """Ends the rewritten line."""
        if self._terminal and self.done:
            print(file=sys.stderr, flush=True)

    def _line(self, text: str, keep: bool) -> None:
        if self._terminal:
            width = max(20, os.get_terminal_size(sys.stderr.fileno()).columns - 1)
            print(f"\r\033[K{text[:width]}", end="\n" if keep else "", file=sys.stderr, flush=True)
        else:
            say(text)


class Lab:
    """A benchmark's own lab while it is up."""

    def __init__(self, model: LabModel) -> None:
        self.name = model.name
        self.hosts = [host.name for host in model.hosts]
        self.addresses = {host.name: host.address for host in model.hosts}
        self.cpus = {host.name: host.cpus for host in model.hosts}
        self.inventory = labs.folder(model.name) / "inventory.yml"
        self.ssh_config = labs.folder(model.name) / "ssh_config"

    def container(self, host: str) -> str:
        """The name of a host's container."""
        return labs.container(self.name, host)

    def ident(self, host: str) -> str:
        """The full id of a host's container."""
        return podman("inspect", "--format", "{{.Id}}", self.container(host)).stdout.strip()

    def run(
        self, host: str, command: Sequence[str], *, stdin: str = "", timeout: float = 120.0, check: bool = True
    ) -> str:
        """Runs a command as root in the host, not over the network; returns its standard output.

        Raises ScriptError when it fails (unless `check` is False) or takes longer than `timeout` seconds.
        """
        done = podman("exec", "-i", self.container(host), *command, stdin=stdin.encode(), timeout=timeout, check=False)
        if check and done.returncode:
            said = (done.stderr or done.stdout).strip()[-2000:]
            raise ScriptError(f"{host}: {' '.join(command)[:120]} ended with code {done.returncode}: {said}")
        return done.stdout

    def command(self, host: str, command: Sequence[str]) -> list[str]:
        """The command line for this machine that runs `command` in the host, for subprocess.Popen."""
        return [*PODMAN, "exec", "-i", self.container(host), *command]

    def put(self, host: str, files: Mapping[str, bytes | Path], mode: int = 0o644) -> None:
        """Writes files into the host: absolute path -> content, or a local file or folder to copy."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, content in files.items():
                if isinstance(content, Path):
                    tar.add(content, name.lstrip("/"), filter=_plain)
                else:
                    entry = tarfile.TarInfo(name.lstrip("/"))
                    entry.size, entry.mode, entry.mtime = len(content), mode, int(time.time())
                    tar.addfile(entry, io.BytesIO(content))
        podman("exec", "-i", self.container(host), "tar", "-C", "/", "-xf", "-", stdin=buffer.getvalue())


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    if "__pycache__" in entry.name.split("/"):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


@dataclass
class Bench:
    """One call of a benchmark."""

    name: str
    cells: Sequence[Cell]
    options: argparse.Namespace
    folder: Path
    minutes: float
    clock: Callable[[], float] = time.monotonic
    turns_lock: Path | None = None
    failures: dict[str, str] = field(default_factory=dict)
    out_of_time: bool = False
    _began: float = 0.0

    def __post_init__(self) -> None:
        self._began = self.clock()
        self.store = Store(self.folder / RESULTS)

    @property
    def quick(self) -> bool:
        """Whether this is --quick."""
        return bool(self.options.quick)

    def results(self) -> dict[str, Result]:
        """What is measured so far of this benchmark's cells, by the cell's name, in their order."""
        found = self.store.read()
        return {cell.name: found[cell.key] for cell in self.cells if cell.key in found}

    def missing(self) -> list[Cell]:
        """The cells without a result that --only lets through."""
        found = self.store.read()
        return [cell for cell in self.cells if cell.key not in found and chosen(cell.name, self.options.only)]

    def seconds_left(self) -> float:
        """Seconds until the time limit of this call."""
        return self._began + 60.0 * self.minutes - self.clock()

    def run(self, work: Callable[[Cell, str], Any], lanes: Sequence[str] = ("",)) -> None:
        """Measures every missing cell, each on the next free lane. See README.md for failures and the time limit."""
        todo = self.missing()
        waiting: queue.SimpleQueue[Cell] = queue.SimpleQueue()
        for cell in todo:
            waiting.put(cell)
        progress = Progress(len(todo))
        stop = threading.Event()
        row: dict[str, int] = {}
        fatal: list[BaseException] = []
        # where time is no measure, nobody waits for anybody: no lane for another one's long cell either
        turns = Turns(self.name, self.turns_lock) if self.turns_lock else None

        def lane_loop(lane: str) -> None:
            while not stop.is_set():
                if self.seconds_left() <= 0:
                    self.out_of_time = True
                    return
                try:
                    cell = waiting.get_nowait()
                except queue.Empty:
                    return
                begin = time.time()
                try:
                    with turns.mine() if turns else contextlib.nullcontext():
                        value = work(cell, lane)
                except Exception as error:  # whatever it was: told, kept for the cell, and the next one is tried
                    said = str(error) or type(error).__name__
                    self.failures[cell.name] = said
                    self.store.add({"cell": cell.name, "key": cell.key, "error": said, "at": begin})
                    progress.finished(cell.name, time.time() - begin, said)
                    row[lane] = row.get(lane, 0) + 1
                    if row[lane] >= FAILURES_IN_A_ROW:
                        fatal.append(
                            ScriptError(f"{row[lane]} cells in a row failed{f' on {lane}' * bool(lane)}: {said}")
                        )
                        stop.set()
                    continue
                row[lane] = 0
                seconds = time.time() - begin
                self.store.add(
                    {"cell": cell.name, "key": cell.key, "value": value, "at": round(begin, 3),
                     "seconds": round(seconds, 3), "lane": lane}
                )  # fmt: skip
                progress.finished(cell.name, seconds)

        threads = [threading.Thread(target=lane_loop, args=(lane,), daemon=True) for lane in lanes]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)  # so that ^C is heard
        except BaseException:
            stop.set()
            raise
        finally:
            if turns:
                turns.close()
            progress.close()
        if fatal:
            raise fatal[0]

    @contextlib.contextmanager
    def lab(self, hosts: Sequence[str], name: str = "", internet: bool | None = None) -> Iterator[Lab]:
        """A lab `bench-NAME` of NAME:CORES:MEMORY:SUITE hosts; removed at the end, whatever happens."""
        lab_name = name or f"bench-{self.name}"
        bootstrap.ensure_packages(bootstrap.LAB_PACKAGES)
        try:
            model, _ = labs.up(lab_name, parse_hosts(list(hosts)), None, internet=internet, exact=True)
            yield Lab(model)
        finally:
            if self.options.keep:
                say(f"left running: scripts/lab --name {lab_name} status")
            else:
                labs.down(lab_name)

    def save_raw(self, cell: Cell, data: Any) -> Path:
        """Keeps a cell's raw data as gzipped JSON."""
        path = self.folder / "raw" / f"{cell.key}.json.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with gzip.open(new, "wt", encoding="utf-8", compresslevel=4) as file:
            json.dump(data, file)
        new.replace(path)
        return path

    def load_raw(self, cell: Cell) -> Any:
        """The raw data of a cell, None where there is none."""
        path = self.folder / "raw" / f"{cell.key}.json.gz"
        if not path.exists():
            return None
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return json.load(file)


def chosen(name: str, patterns: Sequence[str]) -> bool:
    """Whether a cell's name is asked for: no pattern, or one that is a part of it or matches it as a glob."""
    return not patterns or any(pattern in name or fnmatch.fnmatch(name, pattern) for pattern in patterns)


def machine() -> dict[str, Any]:
    """The machine, without its name: what one has to know to read the figures."""
    model = memory_kib = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
        memory_kib = Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]
    release: dict[str, str] = {}
    with contextlib.suppress(OSError):
        release = platform.freedesktop_os_release()
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": model or platform.machine(),
        "memory_mib": int(memory_kib) // 1024 if memory_kib else None,
        "kernel": platform.release(),
        "system": release.get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def machine_line(found: Mapping[str, Any]) -> str:
    """The machine as one sentence of a report."""
    memory = f", {found['memory_mib'] / 1024:.0f} GiB" if found.get("memory_mib") else ""
    return f"{found['cpus']} CPUs ({found['cpu']}){memory}, {found['system']}, Linux {found['kernel']}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[int] = ()) -> str:
    """A Markdown table, of printable characters; the columns in `right` are aligned to the right."""
    marks = ["---:" if index in right else "---" for index in range(len(header))]
    lines = [header, marks, *rows]
    shown = ["".join(filter(str.isprintable, f"| {' | '.join(_escaped(cell) for cell in line)} |")) for line in lines]
    return "\n".join(shown)


def _escaped(cell: object) -> str:
    return str(cell).replace("|", "\\|")


def percent(share: float, digits: int = 1) -> str:
    """0.0125 as "1.3 %"; a whole number without its ".0"."""
    return f"{100 * share:.{digits}f}".removesuffix("." + "0" * digits) + " %"


def write_plot(path: Path, draw: Callable[[Any], None], size: tuple[float, float]) -> None:
    """Draws with matplotlib into an SVG that is the same for the same data."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only a plot needs it

    mpl.use("Agg")
    mpl.rcParams.update({"svg.hashsalt": "headcount", "svg.fonttype": "none", "font.size": 9})
    from matplotlib.figure import Figure  # noqa: PLC0415 - the same

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    figure.savefig(path, format="svg", metadata={"Date": None})


def write_report(report: Report, folder: Path, name: str, facts: Mapping[str, Any]) -> list[Path]:
    """Writes NAME.json, NAME.md and, where there is a plot, NAME.svg; returns what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.json", folder / f"{name}.md"]
    data = {"benchmark": name, "title": report.title, **facts, "missed": list(report.missed), "results": report.data}
    files[0].write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    picture = ""
    if report.plot is not None:
        files.append(folder / f"{name}.svg")
        write_plot(files[-1], report.plot, report.plot_size)
        picture = f"\n![{report.title}]({name}.svg)\n"
    cells = facts["cells"]
    counted = f"{cells['measured']} of {cells['of']} cells measured" if cells["measured"] < cells["of"] else "complete"
    head = (
        f"# {report.title}\n\nWritten by `scripts/bench {name}{' --quick' if facts['quick'] else ''}`, {counted}, "
        f"{facts['measured_from']} to {facts['measured_to']}. Machine: {machine_line(facts['machine'])}.\n{picture}\n"
    )
    files[1].write_text(head + report.markdown.strip() + "\n", encoding="utf-8")
    return files
