# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Makes a bare Debian machine ready: missing distribution packages, and a .venv from the hash-locked requirements.

Both are looked at first and cost nothing when they are complete. The environment variable HEADCOUNT_VENV names another
folder for the virtual environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from . import paths
from .console import ScriptError, locked, run_logged, say, step

#: Package -> a command or a file whose presence shows that it is installed. What the lab needs.
LAB_PACKAGES: Mapping[str, str] = {
    "podman": "podman",
    "runc": "runc",
    "netavark": "/usr/lib/podman/netavark",
    "iptables": "iptables",
    "iproute2": "ip",
    "mmdebstrap": "mmdebstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "openssh-client": "ssh",
}
#: What the controller needs besides: an app's git source, the load generators, certificates for package downloads.
CONTROLLER_PACKAGES: Mapping[str, str] = {
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "curl": "curl",
    "git": "git",
    "nghttp2-client": "h2load",
    "wrk": "wrk",
}
#: Which locks make up a level of the virtual environment.
LEVELS: Mapping[str, Sequence[str]] = {"controller": ("controller.txt",), "test": ("controller.txt", "test.txt")}


LOCK_SECONDS, LOCK_POLL_SECONDS = 300, 2.0
"""So long another process's lock of packages or their lists is waited for."""


def _present(probe: str) -> bool:
    if probe.startswith("/"):
        return Path(probe).exists()
    return shutil.which(probe, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") is not None


def missing_packages(wanted: Mapping[str, str], present: Callable[[str], bool] = _present) -> list[str]:
    """The packages of `wanted` whose command or file is not there, in order."""
    return [package for package, probe in wanted.items() if not present(probe)]


def _apt(log: Path, *arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run_logged(
        ["apt-get", "--yes", "--option", f"DPkg::Lock::Timeout={LOCK_SECONDS}", *arguments],
        log,
        f"apt-get {arguments[0]}",
        environment=environment,
    )


def _update(log: Path) -> None:
    """New package lists. apt-get waits for dpkg's lock as it is told to, and never for that of the lists."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            _apt(log, "update")
        except ScriptError as error:
            held = "lists/lock" in str(error).rpartition("$ ")[2]  # what the last command in the log said
            if not held or time.monotonic() > until:
                raise
            time.sleep(LOCK_POLL_SECONDS)
        else:
            return


def ensure_packages(wanted: Mapping[str, str]) -> None:
    """Installs what is missing of `wanted` with apt-get, as root; raises ScriptError with the list when it cannot."""
    missing = missing_packages(wanted)
    if not missing:
        return
    listed = " ".join(missing)
    if os.geteuid() != 0:
        raise ScriptError(f"these packages are missing: {listed}. Install them, or call this as root")
    if not shutil.which("apt-get"):
        raise ScriptError(f"these packages are missing: {listed}. Only Debian's apt-get is known here: install them")
    log = paths.LOGS / "apt.log"
    with locked(paths.RUN / "apt.lock", "it installs packages"):
        missing = missing_packages(wanted)
        if not missing:
            return
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("", encoding="utf-8")
        with step(f"installing {listed} (log: {paths.shown(log)})"):
            try:
                _apt(log, "install", "--no-install-recommends", *missing)
            except ScriptError:  # the package lists are missing or too old
                _update(log)
                _apt(log, "install", "--no-install-recommends", *missing)
    left = missing_packages(wanted)
    if left:
        raise ScriptError(f"after installing {listed}, still not found: {', '.join(wanted[name] for name in left)}")


def venv_folder() -> Path:
    """The virtual environment's folder."""
    return Path(os.environ.get("HEADCOUNT_VENV") or paths.ROOT / ".venv").absolute()


def stamp_of(locks: Sequence[Path], python: str) -> str:
    """What a complete virtual environment is stamped with: digests of its locks and the Python's version."""
    digests = [f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()}" for lock in locks]
    return "\n".join([f"python {python}", *digests]) + "\n"


def is_complete(stamp: str, wanted: str) -> bool:
    """Whether a virtual environment stamped `stamp` has all that `wanted` asks for (a higher level has the lower)."""
    return set(wanted.splitlines()) <= set(stamp.splitlines())


def _has_venv() -> bool:
    probe = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def ensure(level: str) -> Path:
    """Makes the packages and the virtual environment of `level` ("controller", "test") complete; returns its Python."""
    ensure_packages(CONTROLLER_PACKAGES)
    venv = venv_folder()
    python = venv / "bin" / "python"
    locks = [paths.ROOT / "requirements" / name for name in LEVELS[level]]
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    wanted = stamp_of(locks, version)
    stamp = venv / "headcount.stamp"

    def complete() -> bool:
        return python.exists() and stamp.exists() and is_complete(stamp.read_text(encoding="utf-8"), wanted)

    if complete():
        return python
    with locked(paths.RUN / f"venv-{paths.checkout_id(venv)}.lock", "it fills the virtual environment"):
        if complete():
            return python
        log = paths.LOGS / "venv.log"
        log.unlink(missing_ok=True)
        if stamp.exists() and f"python {version}\n" not in stamp.read_text(encoding="utf-8"):
            say(f".. {paths.shown(venv)} was made for another Python: making it anew")
            shutil.rmtree(venv)
        if not python.exists():
            if not _has_venv():
                ensure_packages({"python3-venv": f"/usr/lib/python{version}/ensurepip/__init__.py"})
            with step(f"making the virtual environment {paths.shown(venv)}"):
                run_logged([sys.executable, "-m", "venv", venv], log, "python -m venv")
        for lock in locks:
            line = f"{lock.name} "
            old = stamp.read_text(encoding="utf-8") if stamp.exists() else ""
            new = next(entry for entry in wanted.splitlines() if entry.startswith(line))
            if new in old.splitlines():
                continue
            with step(f"installing requirements/{lock.name} (log: {paths.shown(log)})"):
                run_logged(
                    [
                        *(python, "-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary", ":all:"),
                        *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--requirement", lock),
                    ],
                    log,
                    f"installing requirements/{lock.name}",
                )
            kept = [entry for entry in old.splitlines() if not entry.startswith((line, "python "))]
            stamp.write_text("\n".join([f"python {version}", *kept, new]) + "\n", encoding="utf-8")
    return python
