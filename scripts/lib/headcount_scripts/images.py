# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The lab's images: Debian with systemd and sshd, built by mmdebstrap from this machine's own mirror.

An image is named by its suite and by the digest of its recipe, so it is built once for all labs and checkouts of a
machine, and built anew when the recipe changes.
"""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import aptsources, labmodel, paths
from .console import ScriptError, locked, run_logged, step
from .podman import exists, podman

REPOSITORY = "localhost/headcount-lab"
RECIPE = Path(__file__).parent / "image"


def name(suite: str) -> str:
    """The image's full name for a suite, with the digest of the recipe."""
    digest = hashlib.sha256(" ".join((suite, *labmodel.MORE_PACKAGES.get(suite, ()))).encode())
    for file in sorted(RECIPE.iterdir()):
        digest.update(file.read_bytes())
    return f"{REPOSITORY}:{suite}-{digest.hexdigest()[:12]}"


def _proxies() -> list[str]:
    """Options for mmdebstrap that hand on the proxies that apt is configured with on this machine."""
    dump = subprocess.run(
        ["apt-config", "dump", "--format", '%f "%v";%n', "Acquire::http", "Acquire::https"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    return [f"--aptopt={line}" for line in dump.splitlines() if "::Proxy" in line and '""' not in line]


def _build(suite: str, image: str) -> None:
    alone = suite in labmodel.BASE_ALONE
    sources = aptsources.lines_for(suite, aptsources.codename(), aptsources.read(), alone)
    keyrings = {line.split("signed-by=")[1].split("]")[0] for line in sources}
    missing = sorted(keyring for keyring in keyrings if not Path(keyring).exists())
    if missing:
        raise ScriptError(f"the keyring {missing[0]} is missing: install debian-archive-keyring and call this again")
    packages = (RECIPE / "packages.txt").read_text(encoding="utf-8").split()
    packages += labmodel.MORE_PACKAGES.get(suite, ())
    folder = paths.LABS / "images"
    folder.mkdir(parents=True, exist_ok=True)
    tar = folder / f"{image.rsplit(':', 1)[1]}.tar"
    log = paths.LOGS / f"image-{suite}.log"
    log.unlink(missing_ok=True)
    try:
        run_logged(
            [
                *("mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", *_proxies()),
                # The target's documents and translations are of no use on a lab host.
                *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
                *("--dpkgopt=path-exclude=/usr/share/locale/*", '--aptopt=Acquire::Languages "none"'),
                *(('--aptopt=Acquire::Check-Valid-Until "false"',) if suite in labmodel.NOT_OUT else ()),
                f'--customize-hook=sh "{RECIPE / "customise.sh"}" "$1"',
                suite,
                tar,
                *sources,
            ],
            log,
            f"building the image of {suite}",
        )
        run_logged(["podman", "import", "--quiet", tar, image], log, f"importing the image of {suite}")
    finally:
        tar.unlink(missing_ok=True)
        for empty in (folder, paths.LABS):
            if empty.is_dir() and not any(empty.iterdir()):
                empty.rmdir()


def _ensure(suite: str) -> str:
    image = name(suite)
    if exists("image", image):
        return image
    with locked(paths.RUN / f"image-{suite}.lock", f"it builds the image of {suite}"):
        if not exists("image", image):
            with step(f"building the image of Debian {suite}, once"):
                _build(suite, image)
    return image


def ensure(suites: set[str]) -> dict[str, str]:
    """Builds the images of `suites` that are missing, side by side. Returns suite -> image name."""
    ordered = sorted(suites)
    with ThreadPoolExecutor(max_workers=len(ordered) or 1) as pool:
        return dict(zip(ordered, pool.map(_ensure, ordered)))


def remove() -> list[str]:
    """Removes the lab's images that no container uses. Returns the names of those removed."""
    listed = podman("images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={REPOSITORY}").stdout
    return [image for image in listed.split() if podman("rmi", image, check=False).returncode == 0]
