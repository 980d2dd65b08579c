# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Building a source on a host: what runs within the sandbox, here without it, and what is made of its end."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import buildjob as job
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import hostbuild

BACKEND = """\
import sys, zipfile
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    {before}
    tag = f"cp3{{sys.version_info[1]}}-cp3{{sys.version_info[1]}}-linux_x86_64"
    name = f"native-1.0-{{tag}}.whl"
    with zipfile.ZipFile(f"{{wheel_directory}}/{{name}}", "w") as out:
        out.writestr("native.py", "")
        out.writestr("native-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: native\\nVersion: 1.0\\n")
        out.writestr("native-1.0.dist-info/WHEEL", f"Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\nTag: {{tag}}\\n")
        out.writestr("native-1.0.dist-info/RECORD", "")
    return name
"""
PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def pip_wheel() -> bytes:
    """The pip of this Python as a wheel, which a host runs without installing it."""
    spec = importlib.util.find_spec("pip")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, f"pip/{path.relative_to(folder)}")
    return out.getvalue()


def sdist(before: str = "pass") -> bytes:
    """A source with a backend of its own: its wheel has a platform's tag, as one of a compiled extension has."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        files = {"pyproject.toml": PROJECT, "backend.py": BACKEND.format(before=before)}
        for name, text in {**files, "PKG-INFO": "Metadata-Version: 2.1\nName: native\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo(f"native-1.0/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def send(path: Path, files: dict[str, bytes]) -> list[str]:
    """A tar as the controller sends it; returns the members' names."""
    names = []
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"{hashlib.sha256(data).hexdigest()}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            names.append(member.name)
    return names


def unboxed(folder: Path) -> hostbuild.Runner:
    """Runs what would run in the sandbox, in `folder` instead of /var/tmp."""

    def run(words: Sequence[str], stdin: BinaryIO, out: BinaryIO, err: BinaryIO, seconds: float) -> int:
        inside = list(words[words.index("--") + 1 :])
        inside[-1] = json.dumps({**json.loads(inside[-1]), "folder": str(folder)})
        return subprocess.run(inside, stdin=stdin, stdout=out, stderr=err, timeout=seconds, check=False).returncode

    return run


def made(tmp_path: Path, before: str = "pass", runner: Any = None) -> hostbuild.Built:
    names = send(tmp_path / "sent.tar", {"native-1.0.tar.gz": sdist(before), "pip-1-py3-none-any.whl": pip_wheel()})
    files = {"sdist": names[0], "tools": [], "pip": names[1]}
    work = tmp_path / "work"
    work.mkdir()
    built = hostbuild.build(str(tmp_path / "sent.tar"), files, sys.executable, runner=runner or unboxed(work))
    assert list(work.iterdir()) == []
    return built


def test_a_source_becomes_a_wheel_and_nothing_stays(tmp_path: Path) -> None:
    built = made(tmp_path)
    tag = f"cp3{sys.version_info[1]}"
    assert (built.filename, built.result) == (f"native-1.0-{tag}-{tag}-linux_x86_64.whl", "done"), built.log
    data = base64.b64decode(built.content)
    assert hashlib.sha256(data).hexdigest() == built.sha256
    assert "native.py" in zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_a_build_that_fails_tells_the_end_of_what_it_said(tmp_path: Path) -> None:
    built = made(tmp_path, "print('x' * 50000); raise SystemExit('fatal error: Python.h: No such file or directory')")
    assert (built.filename, built.content, built.result) == ("", "", "done")
    assert "fatal error: Python.h: No such file or directory" in built.log
    assert len(built.log.encode()) <= job.LOG_BYTES


def test_what_came_damaged_is_not_built(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        member = tarfile.TarInfo(f"{'0' * 64}/native-1.0.tar.gz")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"bad"))
    with (tmp_path / "bad.tar").open("rb") as stream, pytest.raises(ValueError, match="came damaged") as caught:
        job.take(stream, [f"{'0' * 64}/native-1.0.tar.gz"], tmp_path / "files")
    assert str(caught.value) == f"native-1.0.tar.gz came damaged: its sha256 is not {'0' * 64}"


def test_what_was_not_sent_is_named(tmp_path: Path) -> None:
    send(tmp_path / "sent.tar", {"other.whl": b"x"})
    with (
        (tmp_path / "sent.tar").open("rb") as stream,
        pytest.raises(ValueError, match=r"^what was sent lacks native-1\.0\.tar\.gz$"),
    ):
        job.take(stream, ["aa/native-1.0.tar.gz"], tmp_path / "files")


@pytest.mark.parametrize(
    ("out", "err", "result", "log"),
    [
        (b"", "Running as unit: run-u7.service\nFinished with result: timeout\nService runtime: 1s\n", "timeout", ""),
        (b"", "Finished with result: oom-kill\n", "oom-kill", ""),
        (
            b"",
            "Failed to start transient service unit: no\n",
            "no-answer",
            "Failed to start transient service unit: no",
        ),
        (b"", "Finished with result: exit-code\nTraceback\nMemoryError\n", "no-answer", "Traceback\nMemoryError"),
        (
            b'{"filename": "a.whl", "size": 9}\nshort',
            "",
            "done",
            "error: a.whl was cut short on the host: is its disk full?",
        ),
    ],
)
def test_a_build_that_was_ended_says_by_what(out: bytes, err: str, result: str, log: str) -> None:
    built = hostbuild.outcome(1, out, err)
    assert (built.filename, built.result, built.log) == ("", result, log or "exit status 1")


def test_the_sandbox_has_no_network_a_throw_away_user_and_a_time_limit() -> None:
    program = hostbuild.source_of(job)
    words = hostbuild.command("/usr/bin/python3", 90.0, program, "{}")
    assert words[:4] == ["systemd-run", "--pipe", "--wait", "--collect"]
    needed = {"DynamicUser=yes", "PrivateNetwork=yes", "CapabilityBoundingSet=", "RuntimeMaxSec=90"}
    assert {f"--property={item}" for item in needed} <= set(words)
    assert words[words.index("--") + 1 :] == ["/usr/bin/python3", "-I", "-c", program, "{}"]
    # Where systemd expands variables in a command, there is nothing in this one to expand; and it fits one argument.
    assert "$" not in program
    assert len(program) < 100_000
