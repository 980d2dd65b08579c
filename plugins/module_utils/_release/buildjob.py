# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Builds one source into a wheel, within the sandbox that `hostbuild` puts around it.

A program of its own, so that it can be handed to a bare Python as text: nothing of the collection is imported. On
standard input comes a tar with members SHA256/NAME; on standard output goes one line of JSON (`Answer`), and after it,
when there is one, the wheel.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, Dict, List, Mapping, Sequence, TypedDict

LOG_BYTES = 16384
"""How much of the end of a build's output is kept."""


class Job(TypedDict):
    """What is to be built: the files as SHA256/NAME, the folder to work in, and the largest wheel in bytes."""

    sdist: str
    pip: str
    tools: List[str]
    folder: str
    max_bytes: int


class Answer(TypedDict):
    """`filename` is empty when no wheel was made; `compiler` too where there is none. `log` is the output's end."""

    filename: str
    sha256: str
    size: int
    compiler: str
    seconds: float
    log: str


def main(arguments: Sequence[str], stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Do the job that the first argument describes in JSON."""
    job: Job = json.loads(arguments[0])
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=job["folder"], prefix="headcount-build-") as temporary:
        work = Path(temporary)
        try:
            files = take(stdin, [job["sdist"], job["pip"], *job["tools"]], work / "files")
            log, wheel = build(files, job, work)
        except (OSError, ValueError, tarfile.TarError) as error:
            log, wheel = f"error: {error}", None
        if wheel is not None and wheel.stat().st_size > job["max_bytes"]:
            log, wheel = f"error: {wheel.name} is larger than {job['max_bytes']} bytes", None
        data = wheel.read_bytes() if wheel else b""
        answer: Answer = {
            "filename": wheel.name if wheel else "",
            "sha256": hashlib.sha256(data).hexdigest() if wheel else "",
            "size": len(data),
            "compiler": compiler(),
            "seconds": round(time.monotonic() - started, 1),
            "log": log,
        }
        stdout.write(json.dumps(answer).encode() + b"\n" + data)
        stdout.flush()
    return 0


def take(stream: BinaryIO, wanted: Sequence[str], folder: Path) -> Dict[str, Path]:
    """The files of a tar that are wanted, each with the content that it is named by. Raises ValueError."""
    found: Dict[str, Path] = {}
    with tarfile.open(fileobj=stream, mode="r|*") as archive:
        for member in archive:
            source = archive.extractfile(member) if member.isfile() and member.name in wanted else None
            if source is None:
                continue
            digest, name = member.name.split("/")
            data = source.read()
            if hashlib.sha256(data).hexdigest() != digest:
                raise ValueError(f"{name} came damaged: its sha256 is not {digest}")
            target = folder / digest / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            found[member.name] = target
    absent = [name.partition("/")[2] for name in wanted if name not in found]
    if absent:
        raise ValueError(f"what was sent lacks {', '.join(absent)}")
    return found


def build(files: Mapping[str, Path], job: Job, work: Path) -> tuple[str, Path | None]:
    """The end of the output, and the wheel if one was made. pip builds apart from everything but the tools sent."""
    links, made = work / "links", work / "wheel"
    links.mkdir()
    made.mkdir()
    for name in job["tools"]:
        (links / files[name].name).symlink_to(files[name])
    log, status = run([sys.executable, "-I", "-m", "venv", "--without-pip", str(work / "venv")], work)
    if status:
        return log, None
    words = [str(work / "venv/bin/python"), f"{files[job['pip']]}/pip", "wheel", "--no-index", "--no-deps"]
    words += ["--no-cache-dir", "--disable-pip-version-check", "--no-input", "--find-links", str(links)]
    words += ["--wheel-dir", str(made), str(files[job["sdist"]])]
    log, status = run(words, work)
    wheels = sorted(made.glob("*.whl"))
    if status:
        return log or f"error: pip ended with status {status} and said nothing", None
    if len(wheels) != 1:
        return f"{log}\nerror: {len(wheels)} wheels were made instead of one", None
    return log, wheels[0]


def environment(work: Path) -> Dict[str, str]:
    """What a program that builds or installs gets to see: nothing of the caller's, and a folder that goes with it."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(work),
        "TMPDIR": str(work),
        "PIP_CONFIG_FILE": os.devnull,
        "SOURCE_DATE_EPOCH": "315532800",
    }


def run(words: Sequence[str], work: Path) -> tuple[str, int]:
    """The end of what a program said, on both streams, and its status."""
    environ = {**environment(work), "PYTHONHASHSEED": "0"}
    log = b""
    with subprocess.Popen(
        words, cwd=work, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        while True:
            block = process.stdout.read(65536)
            if not block:
                break
            log = (log + block)[-LOG_BYTES:]
    return log.decode("utf-8", errors="replace"), process.returncode


def compiler() -> str:
    """The first line that the C compiler says of itself; empty without one."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not found:
        return ""
    try:
        done = subprocess.run(
            [found, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return found
    lines = done.stdout.splitlines()
    return lines[0] if lines else found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer))
