# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Building what exists only as source, on a host, in a sandbox of systemd's: a throw-away user, no network, and a
private temporary folder that systemd removes with it, in bounded time, however it ends.

Code of a package's author runs here, on a host that serves users: it sees nothing that may be written, and it gets the
processor and the disk when nobody else wants them.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Callable, Dict, List, Mapping, Sequence

from . import buildjob

BUILD_SECONDS = 1800.0
"""What a build may take."""

MAX_WHEEL_BYTES = 128 * 1024 * 1024
"""The largest wheel that is taken back to the controller."""

_SLACK_SECONDS = 60.0
_SANDBOX = (
    "DynamicUser=yes",  # and with it ProtectSystem=strict, NoNewPrivileges, RemoveIPC
    "PrivateTmp=yes",  # on the disk: what DynamicUser alone gives is memory since systemd 257
    "PrivateNetwork=yes",
    "PrivateDevices=yes",
    "ProtectHome=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelTunables=yes",
    "ProtectKernelModules=yes",
    "CapabilityBoundingSet=",
    "TasksMax=512",
    "LimitFSIZE=4G",
    "Nice=19",
    "IOSchedulingClass=idle",
    "OOMScoreAdjust=1000",
)

Runner = Callable[[Sequence[str], BinaryIO, BinaryIO, BinaryIO, float], int]


@dataclass(frozen=True)
class Built:
    """How a build ended. `filename` and `content` (base64) are empty when no wheel was made.

    `result` is "done" when the build itself came to an end, else systemd's word for what ended it: timeout, oom-kill,
    signal... `log` is the end of the output, `compiler` the first line that the host's says of itself.
    """

    filename: str = ""
    sha256: str = ""
    content: str = ""
    compiler: str = ""
    seconds: float = 0.0
    log: str = ""
    result: str = "done"

    def to_dict(self) -> Dict[str, object]:
        """Plain data."""
        return asdict(self)


def build(
    archive: str,
    files: Mapping[str, Any],
    python: str = "/usr/bin/python3",
    seconds: float = BUILD_SECONDS,
    runner: Runner | None = None,
) -> Built:
    """Build `files["sdist"]` with `files["tools"]` and `files["pip"]`, members SHA256/NAME of the tar `archive`.

    Never raises for a build that fails: `result` and `log` tell. Nothing of it stays on the host.
    """
    job: buildjob.Job = {
        "sdist": str(files["sdist"]),
        "pip": str(files["pip"]),
        "tools": [str(item) for item in files["tools"]],
        "folder": "/var/tmp",
        "max_bytes": MAX_WHEEL_BYTES,
    }
    words = command(python, seconds, source_of(buildjob), json.dumps(job))
    with open(archive, "rb") as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        status = (runner or _run)(words, stdin, out, err, seconds + _SLACK_SECONDS)
        out.seek(0)
        err.seek(0)
        return outcome(status, out.read(), err.read().decode("utf-8", errors="replace"))


def command(python: str, seconds: float, program: str, job: str) -> List[str]:
    """The words that run `program` with `python` in the sandbox, its streams those of the caller."""
    words = ["systemd-run", "--pipe", "--wait", "--collect", "--description=Headcount builds a wheel"]
    for item in (*_SANDBOX, f"RuntimeMaxSec={seconds:g}"):
        words.append(f"--property={item}")
    return [*words, "--", python, "-I", "-c", program, job]


def outcome(status: int, out: bytes, err: str) -> Built:
    """What a build came to, from what the sandbox left on its two streams."""
    head, _, data = out.partition(b"\n")
    try:
        answer: buildjob.Answer = json.loads(head)
    except ValueError:
        found = re.search(r"Finished with result: (\S+)", err)
        result = found[1] if found and found[1] not in ("success", "exit-code") else "no-answer"
        said = [line for line in err.splitlines() if not re.match(_SYSTEMD_SAYS, line)]
        return Built(result=result, log="\n".join(said)[-buildjob.LOG_BYTES :] or f"exit status {status}")
    if len(data) != answer["size"]:
        return Built(log=f"error: {answer['filename']} was cut short on the host: is its disk full?")
    return Built(
        filename=answer["filename"],
        sha256=answer["sha256"],
        content=base64.b64encode(data).decode("ascii"),
        compiler=answer["compiler"],
        seconds=answer["seconds"],
        log=answer["log"],
    )


_SYSTEMD_SAYS = (
    r"Running as unit|Finished with result|Main processes terminated|Service runtime|CPU time|Memory (peak|swap)|"
    r"IP traffic|IO bytes|Press \^\]"
)


def source_of(module: Any) -> str:
    """The source of a loaded module, wherever Python loaded it from (a zip archive, too)."""
    source = module.__spec__.loader.get_source(module.__name__)
    return str(source)


def _run(words: Sequence[str], stdin: BinaryIO, out: BinaryIO, err: BinaryIO, seconds: float) -> int:
    try:
        return subprocess.run(words, stdin=stdin, stdout=out, stderr=err, timeout=seconds, check=False).returncode
    except subprocess.TimeoutExpired:
        err.write(b"\nFinished with result: timeout\n")
        return 124
    except OSError as error:
        err.write(f"\nerror: {error}\n".encode())
        return 127
