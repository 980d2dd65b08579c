# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Hosts that let Ansible in less easily: what their sudo wants, where nothing may be executed, a lock that is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._scene import Scene
from .controllers import by_playbook, kill_tree, playbook
from .row import Row

SUDOERS = "/etc/sudoers.d/ansible"
WORD = "correct horse"
HELD_SECONDS = 40
HOLDER = (
    "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(file, fcntl.LOCK_EX); "
    f"time.sleep({HELD_SECONDS})"
)


def _roll_out(scene: Scene, declared: Mapping[str, Any], *options: str) -> tuple[int, str]:
    """The exit status of a rollout by playbook, and what it said."""
    process = playbook(scene, declared, *options)
    try:
        out = " ".join(process.communicate(timeout=400)[0].split())
    finally:
        if process.returncode is None:
            kill_tree(process)
    return process.returncode, out


def _rolled_out(scene: Scene, declared: Mapping[str, Any], *options: str) -> None:
    code, out = _roll_out(scene, declared, *options)
    scene.seen.must(code == 0, f"the rollout failed: {out[-600:]}")
    answering = scene.answering()
    scene.seen.must(answering == scene.release, f"{answering} answers, not {scene.release}")
    scene.clean()


def sudo_asks(scene: Scene) -> None:
    """Root's rights are to be had for a password, then from a terminal alone: told with the fix, which is one."""
    declared, before = by_playbook(scene), scene.live()
    kept = scene.sh(f"cat {SUDOERS}")
    password = "-e", f"ansible_become_password='{WORD}'"
    try:
        scene.sh(f"echo 'ansible:{WORD}' | chpasswd; echo 'ansible ALL=(ALL:ALL) ALL' > {SUDOERS}")
        for options, words in (
            ((), "becoming root asks for a password on this host; fix: "),
            (("-e", "ansible_become_password=wrong"), "becoming root does not take the password that it was given"),
        ):
            code, out = _roll_out(scene, declared, *options)
            scene.seen.must(code != 0 and words in out, f"it does not say {words!r}: {out[-600:]}")
        scene.sh(f"echo 'Defaults requiretty' >> {SUDOERS}")
        code, out = _roll_out(scene, declared, *password)
        words = "sudo wants a terminal on this host (requiretty); fix: ansible_pipelining: false"
        scene.seen.must(code != 0 and words in out, f"it does not say {words!r}: {out[-600:]}")
        scene.seen.must(scene.live() == before, f"live is {scene.live()}, not {before}")
        _rolled_out(scene, declared, *password, "-e", "ansible_pipelining=false")
    finally:
        scene.sh(f"printf '%s\\n' '{kept.strip()}' > {SUDOERS}; passwd -d ansible; passwd -l ansible")


def nothing_executed(scene: Scene) -> None:
    """Nothing below /tmp may be executed, h2load is missing, and another process has dpkg's lock: it is waited for."""
    declared = by_playbook(scene)
    try:
        scene.sh(
            "mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs /tmp; dpkg --purge nghttp2-client; "
            f'systemd-run --quiet --collect --unit=holds-dpkg /usr/bin/python3 -c "{HOLDER}"',
            timeout=120.0,
        )
        there = scene.engine.sh("command -v h2load || echo none; systemctl is-active holds-dpkg", check=True).split()
        scene.seen.must(there == ["none", "active"], f"there is {there}")
        _rolled_out(scene, declared)
        left = "ls -A /tmp | grep -v '^systemd-private-' || true"
        there = scene.engine.sh(f"command -v h2load; {left}", check=True).split()
        scene.seen.must(there == ["/usr/bin/h2load"], f"there is {there}")
    finally:
        scene.sh("systemctl stop holds-dpkg; umount -l /tmp; command -v h2load || apt-get install -y nghttp2-client")


STALE = (
    "for list in /var/lib/apt/lists/*_Packages*; do /usr/lib/apt/apt-helper cat-file $list | "
    "sed '/^Filename:/s,/nghttp2-client_,/nghttp2-client_0,' > /root/list; rm $list; mv /root/list ${list%.lz4}; done; "
    "for list in /var/lib/apt/lists/*Release; do sed -i -E '/^ [0-9a-f]{32,} /s/[1-9a-f]/0/' $list; "
    "touch -d 2020-01-01 $list; done; chmod a+r /var/lib/apt/lists/*"
)
"""Package lists of long ago: the version that they name of h2load's package is not served any more."""


def lists_lacking(scene: Scene) -> None:
    """h2load is missing, and the package lists are empty, then those of long ago: they are fetched, and it comes."""
    try:
        for what, command in (("empty", "rm -rf /var/lib/apt/lists/*"), ("stale", STALE)):
            declared = by_playbook(scene)
            scene.sh(f"dpkg --purge nghttp2-client; apt-get clean; {command}", timeout=120.0)
            said = scene.sh("apt-get install -qy --download-only nghttp2-client >/dev/null 2>&1; echo code $?").strip()
            scene.seen.must(said == "code 100", f"with {what} lists h2load is to be had: {said}")
            _rolled_out(scene, declared)
            there = scene.sh("command -v h2load").strip()
            scene.seen.must(there == "/usr/bin/h2load", f"{what}: there is {there or 'no h2load'}")
    finally:
        scene.sh("command -v h2load || { apt-get update -q && apt-get install -qy nghttp2-client; }", timeout=300.0)


ENTERING = [
    Row(
        "past/sudo-asks",
        "sudo wants a password, another one, and a terminal",
        "each is told with the setting that answers it, and with both settings it is rolled out; users lose nothing",
        sudo_asks,
    ),
    Row(
        "past/noexec-and-dpkg-lock",
        f"/tmp is noexec, h2load is missing, and another process has dpkg's lock for {HELD_SECONDS} s",
        "the lock is waited for, h2load is installed, and it is rolled out; nothing is left in /tmp",
        nothing_executed,
    ),
    Row(
        "past/package-lists",
        "h2load is missing, and the package lists are empty, then so old that what they name is not served any more",
        "the lists are fetched, h2load is installed, and it is rolled out; users lose nothing",
        lists_lacking,
    ),
]
