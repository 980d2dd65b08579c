# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A lab host with Prometheus and Alertmanager of Debian, which watches the demo's hosts: scripts/demo --monitoring."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import labmodel, labs, paths
from .console import ScriptError, run_logged, say, step
from .podman import podman

LAB = "headcount-monitor"
"""A lab of its own: no play over the demo's hosts reaches it."""

HOST = "monitor:1:512m:bookworm"
EXPORTER_PORT = 9788
JOB = "headcount"
PACKAGES = ("prometheus", "prometheus-alertmanager")
PATIENCE_S = 120.0
LOOK_EVERY_S = 1.0
INSTALL_SECONDS = 1200
"""Debian's mirror may be slow, and so may this machine."""

SHOWN = "--showformat=${Package} ${db:Status-Status}\\n"
INSTALL = (
    # One that was broken off half way is brought to its end first; one that still runs is waited for.
    f"apt='timeout {INSTALL_SECONDS} apt-get -q -o DPkg::Lock::Timeout=300'; dpkg --configure -a; "
    f"$apt update && $apt install -y --no-install-recommends {' '.join(PACKAGES)}"
)
ALERTMANAGER_YML = """\
# Nobody is told of alerts here: they are to be seen.
route: {receiver: nobody, group_by: [alertname, app], group_wait: 5s, group_interval: 10s}
receivers: [{name: nobody}]
"""
Get = Callable[[str], str]


@dataclass(frozen=True)
class Monitoring:
    """Where Prometheus and Alertmanager of the lab are, for a browser on this machine."""

    address: str

    @property
    def console(self) -> str:
        """Headcount's console in Prometheus."""
        return f"http://{self.address}:9090/consoles/headcount.html"

    @property
    def alerts(self) -> str:
        """The rules, and which of them fire: the pages that Debian's Prometheus has."""
        return f"http://{self.address}:9090/classic/alerts"

    @property
    def alertmanager(self) -> str:
        """What somebody would be told of."""
        return f"http://{self.address}:9093/api/v2/alerts"


def prometheus_yml(targets: Sequence[str], job: str) -> str:
    """The configuration of a Prometheus that scrapes exporters at `targets` (addresses) under the name `job`."""
    listed = ", ".join(f'"{address}:{EXPORTER_PORT}"' for address in targets)
    return (
        "global: {scrape_interval: 5s, evaluation_interval: 5s}\n"
        "rule_files: [headcount.rules.yml]\n"
        'alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9093"]}]}]}\n'
        f"scrape_configs: [{{job_name: {job}, static_configs: [{{targets: [{listed}]}}]}}]\n"
    )


def up(targets: Sequence[str]) -> Monitoring:
    """Have Prometheus and Alertmanager watch the exporters at `targets`; returns when Prometheus has scraped them all.

    ScriptError where a package cannot be had, or an exporter cannot be reached.
    """
    lab, _ = labs.up(LAB, labmodel.parse_hosts([HOST]), None, exact=True)
    host = lab.hosts[0]
    container = labs.container(LAB, host.name)
    if not installed(podman("exec", container, "dpkg-query", "--show", SHOWN, *PACKAGES, check=False).stdout):
        with step(f"installing {' and '.join(PACKAGES)} on {host.name}"):
            environment = ("--env", "DEBIAN_FRONTEND=noninteractive")
            podman("exec", *environment, container, "sh", "-c", INSTALL, timeout=INSTALL_SECONDS + 60)
    folder, log = files()
    with step("writing rules and a console"):
        command: list[str | Path] = [paths.ROOT / "scripts" / "monitoring", folder, "--job", JOB]
        run_logged(command, log, "scripts/monitoring")
    wanted = {
        "etc/prometheus/prometheus.yml": prometheus_yml(targets, JOB),
        "etc/prometheus/alertmanager.yml": ALERTMANAGER_YML,
        "etc/prometheus/headcount.rules.yml": (folder / "headcount.rules.yml").read_text(encoding="utf-8"),
        "etc/prometheus/consoles/headcount.html": (folder / "headcount.html").read_text(encoding="utf-8"),
    }
    if any(_read(container, name) != text for name, text in wanted.items()):
        podman("exec", "-i", container, "tar", "-C", "/", "-xf", "-", stdin=archive(wanted))
        podman("exec", container, "systemctl", "restart", *PACKAGES)
    made = Monitoring(host.address)
    wait_until_scraped(made, len(targets), _get)
    return made


def installed(shown: str) -> bool:
    """Whether dpkg-query, asked for SHOWN, says that all of PACKAGES are there and ready. A program that is there may
    belong to a package that was never set up, whose service does not start."""
    return {f"{name} installed" for name in PACKAGES} <= set(shown.splitlines())


def down() -> list[str]:
    """Remove the lab, and what was written for it; what was removed."""
    removed = labs.down(LAB)
    folder, log = files()
    if folder.exists():
        shutil.rmtree(folder)
        removed.append(paths.shown(folder))
    if log.exists():
        log.unlink()
        removed.append(paths.shown(log))
    return removed


def files() -> tuple[Path, Path]:
    """The folder of what is written for Prometheus, and the log of that."""
    return paths.WORK / "monitoring", paths.WORK / "monitoring.log"


def archive(wanted: Mapping[str, str]) -> bytes:
    """A tar of files by their paths below /."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in wanted.items():
            body = text.encode()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(body), 0o644, int(time.time())
            tar.addfile(entry, io.BytesIO(body))
    return buffer.getvalue()


def _read(container: str, name: str) -> str:
    return podman("exec", container, "cat", f"/{name}", check=False).stdout


def _get(url: str) -> str:
    # Straight to the lab's own addresses, whatever proxy this machine uses.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        return str(answer.read().decode())


def down_targets(answer: str, wanted: int) -> list[str]:
    """What Prometheus does not scrape of the `wanted` exporters, from its answer to /api/v1/targets, each with why."""
    active = json.loads(answer)["data"]["activeTargets"]
    found = [f"{one['scrapeUrl']}: {one['lastError'] or 'not yet'}" for one in active if one["health"] != "up"]
    return found + [f"{wanted - len(active)} more are not known to it"] * (len(active) < wanted)


def wait_until_scraped(made: Monitoring, wanted: int, get: Get, patience_s: float = PATIENCE_S) -> None:
    """Wait until Prometheus has scraped `wanted` exporters. ScriptError says which it could not."""
    deadline, left = time.monotonic() + patience_s, ["it does not answer"]
    while left:
        try:
            left = down_targets(get(f"http://{made.address}:9090/api/v1/targets?state=active"), wanted)
        except (OSError, ValueError, KeyError) as error:
            left = [str(error)]
        if left and time.monotonic() > deadline:
            raise ScriptError(f"Prometheus on {made.address} does not see every exporter: {'; '.join(left)}")
        if left:
            time.sleep(LOOK_EVERY_S)
    say(f"ok Prometheus scrapes {wanted} exporters")
