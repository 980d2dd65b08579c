# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Releases: locks, the store of wheels, building, checking and removing; the build is a real one."""

from __future__ import annotations

import base64
import ensurepip
import errno
import hashlib
import io
import json
import os
import platform
import re
import shutil
import stat
import sys
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import contents as releasefiles
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import releases, room, trees

A, B, C = "a" * 64, "b" * 64, "c" * 64
MINOR = f"3.{sys.version_info[1]}"
LOCK = releases.Lock("3.11", "x86_64", releases.Pin("pip", "26.3", C), (releases.Pin("flask", "3.1.3", A),))


def test_a_lock_is_read_back() -> None:
    text = releases.render_lock(LOCK)
    assert text == (
        "# Headcount lock 1: Python 3.11 on x86_64\n"
        f"# installed with pip==26.3 --hash=sha256:{C}\n"
        f"flask==3.1.3 --hash=sha256:{A}\n"
    )
    assert releases.parse_lock(text) == LOCK


def test_the_id_is_of_the_content_and_the_platform() -> None:
    def identity(**changes: Any) -> str:
        fields: dict[str, Any] = {"python": "3.11", "machine": "x86_64", "pip": LOCK.pip, "pins": LOCK.pins, **changes}
        return releases.release_id(releases.render_lock(releases.Lock(**fields)))

    assert identity() == identity(pip=releases.Pin("pip", "27.0", B))
    assert len({identity(), identity(python="3.13"), identity(machine="aarch64"), identity(pins=())}) == 4
    two = (releases.Pin("flask", "3.1.3", A), releases.Pin("click", "8", B))
    assert identity(pins=two) == identity(pins=two[::-1])


def test_an_interpreter_other_than_the_systems_is_a_part_of_the_lock_and_of_the_id() -> None:
    plain, with_tree = releases.render_lock(LOCK), releases.render_lock(replace(LOCK, tree=B))
    assert releases.lock_for(plain, "/usr/bin/python3") == plain
    for text in (plain, with_tree):
        other = releases.lock_for(text, "/opt/python/bin/python3.11")
        assert "# run by /opt/python/bin/python3.11" in other.splitlines()
        assert releases.parse_lock(other).interpreter == "/opt/python/bin/python3.11"
        assert releases.release_id(other) != releases.release_id(text)
        assert releases.lock_for(other, "/usr/bin/python3") == text


def test_a_tree_is_a_part_of_the_lock_and_of_the_id() -> None:
    with_tree = releases.Lock(LOCK.python, LOCK.machine, LOCK.pip, LOCK.pins, B)
    text = releases.render_lock(with_tree)
    assert text.splitlines()[2] == f"# with the tree sha256:{B}"
    assert releases.parse_lock(text) == with_tree
    other = releases.Lock(LOCK.python, LOCK.machine, LOCK.pip, LOCK.pins, A)
    assert len({releases.release_id(releases.render_lock(lock)) for lock in (LOCK, with_tree, other)}) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the lock of the release does not begin with its Python and its pip: gather it again"),
        (
            releases.render_lock(LOCK) + "click>=8\n",
            "line 4 of the release's lock is not name==version --hash=sha256:...: 'click>=8'",
        ),
    ],
)
def test_bad_locks(text: str, message: str) -> None:
    with pytest.raises(releasefiles.ReleaseError) as caught:
        releases.parse_lock(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["../../etc", "", "ABCDEF0123456789", "0123"])
def test_only_ids_name_releases(name: str) -> None:
    with pytest.raises(releasefiles.ReleaseError, match="is not an id of 16 hex digits"):
        releases.release_path("shop", name)


def archive(path: Path, members: dict[str, bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def test_the_store_takes_what_is_what_it_says(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"wheel").hexdigest()
    store = str(tmp_path / "store")
    assert releasefiles.present(store) == set()
    assert releases.unpack(archive(tmp_path / "a.tar", {f"{digest}/x.whl": b"wheel"}), store) == [digest]
    assert releasefiles.present(store) == {digest}
    assert (tmp_path / "store" / digest / "x.whl").read_bytes() == b"wheel"
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store", *sorted((tmp_path / "store").rglob("*")))
    ]
    assert modes == [0o700, 0o700, 0o600]


def test_wheels_of_no_release_go_as_soon_as_nobody_builds(tmp_path: Path) -> None:
    texts = (b"used", b"unused", b"pip", b"just sent")
    digests = [hashlib.sha256(text).hexdigest() for text in texts]
    used, unused, tool, sent = digests
    store = str(tmp_path / "store")
    files = {f"{one}/x.whl": text for one, text in zip(digests, texts)}
    releases.unpack(archive(tmp_path / "a.tar", files), store)
    (tmp_path / "store" / B).mkdir()  # a killed run made it and put nothing into it
    (tmp_path / "store" / ".4711.0123456789abcdef").touch()
    lock = releases.Lock("3.11", "x86_64", releases.Pin("pip", "26", tool), (releases.Pin("x", "1", used),))
    folder = tmp_path / "opt/headcount/shop/releases/0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "requirements.lock").write_text(releases.render_lock(lock), encoding="utf-8")
    with releases.in_use(store):
        assert releases.prune_wheels(store, str(tmp_path)) == []
    assert releasefiles.present(store) == {used, unused, tool, sent}
    whole = (folder / "requirements.lock").read_text(encoding="utf-8")
    (folder / "requirements.lock").write_text("torn", encoding="utf-8")
    assert releases.prune_wheels(store, str(tmp_path)) == []
    (folder / "requirements.lock").write_text(whole, encoding="utf-8")
    assert releases.prune_wheels(store, str(tmp_path)) == sorted([unused, sent, B])
    assert releasefiles.present(store) == {used, tool}
    assert sorted(os.listdir(store)) == sorted([".lock", used, tool])


def test_what_a_release_lacks_on_a_host_is_named(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    text = releases.render_lock(LOCK)
    assert releases.lacking(text, store) == sorted([A, C])
    (tmp_path / "store" / A).mkdir(parents=True)
    assert releases.lacking(text, store) == sorted([A, C])
    (tmp_path / "store" / A / "flask.whl").touch()
    assert releases.lacking(text, store) == [C]


def test_a_large_file_is_taken_and_healed_in_pieces(tmp_path: Path) -> None:
    size = 64 * 2**20
    digest = hashlib.sha256(bytes(size)).hexdigest()
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        member = tarfile.TarInfo(f"{digest}/large.whl")
        member.size = size
        with open("/dev/zero", "rb") as zeros:
            tar.addfile(member, zeros)
    tracemalloc.start()
    assert releases.unpack(str(tmp_path / "a.tar"), str(tmp_path / "store")) == [digest]
    taken = tmp_path / "store" / digest / "large.whl"
    releases._copy_renamed(taken, tmp_path / "copy", b"0123456789abcdef", b"fedcba9876543210")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken.stat().st_size == (tmp_path / "copy").stat().st_size == size
    assert peak < 8 * 2**20


@pytest.mark.parametrize("before", [0, 1, 1048570, 1048576, 1048577, 2097150])
def test_a_copy_names_the_other_folder_wherever_the_name_stands(tmp_path: Path, before: int) -> None:
    old, new = b"0123456789abcdef", b"fedcba9876543210"
    (tmp_path / "old").write_bytes(b"x" * before + old + b"y" * 1000 + old + b"0123")
    releases._copy_renamed(tmp_path / "old", tmp_path / "new", old, new)
    assert (tmp_path / "new").read_bytes() == b"x" * before + new + b"y" * 1000 + new + b"0123"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{A}/x.whl", f"wheel x.whl came damaged (its sha256 is not {A}): ship it again"),
        ("../x", "'../x' in the shipped wheels is not SHA256/NAME: ship them again"),
        (f"{A}/../x", f"'{A}/../x' in the shipped wheels is not SHA256/NAME: ship them again"),
    ],
)
def test_the_store_refuses(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(releasefiles.ReleaseError) as caught:
        releases.unpack(archive(tmp_path / "a.tar", {name: b"wheel"}), str(tmp_path / "store"))
    assert str(caught.value) == message
    assert releasefiles.present(str(tmp_path / "store")) == set()


def test_an_archive_that_was_cut(tmp_path: Path) -> None:
    path = Path(archive(tmp_path / "a.tar", {f"{A}/x.whl": b"wheel" * 1000}))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(releasefiles.ReleaseError, match="the shipped wheels are not a whole archive"):
        releases.unpack(str(path), str(tmp_path / "store"))


class Host:
    """A root with a store of wheels: pip's own and a small one."""

    def __init__(self, folder: Path) -> None:
        self.root = str(folder / "root")
        self.store = folder / "root/var/lib/headcount/wheels"
        (folder / "made").mkdir()
        # Debian's Python has its bundled wheels in a folder of their own.
        folders = (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
        bundled = sorted(wheel for folder in folders for wheel in folder.glob("pip-*.whl"))
        if not bundled:
            pytest.skip("this Python does not bring a pip wheel")
        wheel = _small_wheel(folder / "made")
        pip, shop = self._keep(bundled[0]), self._keep(wheel)
        pins = (releases.Pin("small-shop", "1.0", shop),)
        tool = releases.Pin("pip", bundled[0].name.split("-")[1], pip)
        self.lock_text = releases.render_lock(releases.Lock(MINOR, platform.machine(), tool, pins))
        self.id = releases.release_id(self.lock_text)
        self.path = releases.release_path("shop", self.id, self.root)

    def take_tree(self, path: Path) -> None:
        """The release is that of a tree, whose archive is in the store."""
        lock = releases.parse_lock(self.lock_text)
        self.lock_text = releases.render_lock(replace(lock, tree=self._keep(path)))
        self.id = releases.release_id(self.lock_text)
        self.path = releases.release_path("shop", self.id, self.root)

    def _keep(self, path: Path) -> str:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        (self.store / digest).mkdir(parents=True)
        (self.store / digest / path.name).write_bytes(path.read_bytes())
        return digest

    def install(self, python: str = sys.executable) -> releasefiles.ReleaseInfo:
        return releases.install(
            "shop", self.id, self.lock_text, wheels_dir=str(self.store), python=python, root=self.root
        )


def _small_wheel(folder: Path) -> Path:
    path = folder / "small_shop-1.0-py3-none-any.whl"
    files = {
        "small_shop/__init__.py": "A = 1\n",
        "small_shop/page.html": "<p>\n",
        "small_shop-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: Small_Shop\nVersion: 1.0\n\nName: no\n",
        "small_shop-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(path, "w") as out:
        record = ""
        for name, text in files.items():
            out.writestr(name, text)
            code = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={code},{len(text)}\n"
        out.writestr("small_shop-1.0.dist-info/RECORD", record + "small_shop-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_release_is_built_checked_and_removed(host: Host) -> None:
    os.umask(0o077)  # must not reach the release
    try:
        info = host.install()
    finally:
        os.umask(0o022)
    assert info.changed
    assert info.distributions == {"small-shop": "1.0"}
    assert info.python_version == platform.python_version()
    assert releasefiles.read(host.path) == info
    assert not host.install().changed
    assert releases.installed("shop", host.root) == [host.id]
    assert [path.name for path in host.path.parent.iterdir() if not releases.is_finished(path)] == []
    assert releasefiles.verify(host.path) == releasefiles.verify(host.path, full=True) == []
    package = next(host.path.glob("venv/lib/*/site-packages/small_shop"))
    assert list(package.glob("__pycache__/*.pyc"))
    for item in host.path.rglob("*"):
        if not item.is_symlink():
            assert item.stat().st_mode & 0o022 == 0, item
            assert item.stat().st_mode & 0o044 == 0o044, item
    releases.remove(host.path)
    assert releases.installed("shop", host.root) == []
    assert not host.path.exists()


def test_every_edit_is_found(host: Host) -> None:
    host.install()
    package = next(host.path.glob("venv/lib/*/site-packages/small_shop"))
    inside = str(package.relative_to(host.path))
    before = (package / "page.html").stat()
    (package / "page.html").write_text("<q>\n", encoding="utf-8")
    os.utime(package / "page.html", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert releasefiles.verify(host.path) == [f"{inside}/page.html was changed"]
    (package / "page.html").write_text("<p>\n", encoding="utf-8")
    assert releasefiles.verify(host.path) == []  # the content counts, not the times
    (package / "extra.py").write_text("", encoding="utf-8")
    (package / "__init__.py").unlink()
    (package / "page.html").chmod(0o666)
    (host.path / "venv/bin/python").unlink()
    (host.path / "venv/bin/python").symlink_to("/bin/false")
    assert releasefiles.verify(host.path) == sorted(
        [
            f"{inside}/__init__.py is missing",
            f"{inside}/extra.py was added",
            f"{inside}/page.html has mode 0666 instead of 0644",
            "venv/bin/python was changed",
        ]
    )


def test_an_edited_release_is_repaired_file_by_file(host: Host) -> None:
    host.install()
    package = next(host.path.glob("venv/lib/*/site-packages/small_shop"))
    (package / "page.html").write_text("<q>\n", encoding="utf-8")
    (package / "__init__.py").unlink()
    (package / "extra.py").write_text("", encoding="utf-8")
    script = host.path / "venv/bin/activate"
    before = script.read_bytes()
    script.write_bytes(before + b"# edited\n")
    untouched = (host.path / "venv/pyvenv.cfg").stat().st_ino
    assert len(releasefiles.verify(host.path)) == 4
    host.install()
    assert releasefiles.verify(host.path) == releasefiles.verify(host.path, full=True) == []
    assert (package / "page.html").read_text(encoding="utf-8") == "<p>\n"
    assert script.read_bytes() == before
    assert not (package / "extra.py").exists()
    assert (host.path / "venv/pyvenv.cfg").stat().st_ino == untouched
    assert os.listdir(host.path.parent) == [host.id]


def test_a_release_that_cannot_be_repaired_says_so(host: Host) -> None:
    host.install()
    page = next(host.path.glob("venv/lib/*/site-packages/small_shop/page.html"))
    page.write_text("<q>\n", encoding="utf-8")
    shutil.rmtree(host.store / releases.parse_lock(host.lock_text).pins[0].sha256)
    with pytest.raises(releasefiles.ReleaseError, match="is not on this host"):
        host.install()
    assert os.listdir(host.path.parent) == [host.id]


def test_a_release_without_its_description_does_not_count(host: Host) -> None:
    host.install()
    (host.path / releasefiles.RELEASE).unlink()
    assert releases.installed("shop", host.root) == []
    assert not releases.is_finished(releases.release_path("shop", host.id, host.root))
    assert "has no readable manifest.json or release.json" in releasefiles.verify(host.path)[0]
    assert host.install().changed
    (host.path / releasefiles.UNFINISHED).touch()
    assert releasefiles.verify(host.path) == [f"{host.path} is unfinished"]
    assert host.install().changed
    assert releasefiles.verify(host.path) == []


@pytest.mark.parametrize("step", ["_build", "_protect", "scan", "sync_tree"])
def test_what_breaks_half_way_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere")

    monkeypatch.setattr(releases, "_build", lambda *_: None)
    monkeypatch.setattr(releases, "distributions", lambda _: {"small-shop": "1.0"})
    monkeypatch.setattr(releases, step, full)
    with pytest.raises(releases.DiskFull) as caught:
        host.install()
    assert str(caught.value) == f"building release {host.id} of shop failed at /somewhere: No space left on device"
    assert os.listdir(host.path.parent) == []


def test_killed_half_way_the_next_one_heals(host: Host) -> None:
    host.path.mkdir(parents=True)
    (host.path / releasefiles.UNFINISHED).touch()
    (host.path / "venv/lib").mkdir(parents=True)
    assert not releases.is_finished(releases.release_path("shop", host.id, host.root))
    assert host.install().changed
    assert releasefiles.verify(host.path) == []


def test_too_little_room(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    left = SimpleNamespace(f_bavail=10 * 256, f_frsize=4096, f_files=100, f_favail=5)
    monkeypatch.setattr(os, "statvfs", lambda _: left)
    with pytest.raises(releases.DiskFull) as caught:
        host.install()
    top = Path(host.root)
    assert str(caught.value) == (
        f"65 MiB are needed at {top} for release {host.id} of shop, and 10 MiB are free: free some room there"
    )
    left.f_bavail = 10**6
    with pytest.raises(releases.DiskFull) as caught:
        host.install()
    assert str(caught.value) == (
        f"206 files are needed at {top} for release {host.id} of shop, and 5 can be made: remove files there"
    )


def test_refusals_before_anything_is_written(host: Host) -> None:
    with pytest.raises(releasefiles.ReleaseError, match=r"^/no/python does not run on this host: "):
        host.install("/no/python")
    other = host.lock_text.replace(f"Python {MINOR}", "Python 3.99")
    with pytest.raises(releasefiles.ReleaseError) as caught:
        releases.install("shop", releases.release_id(other), other, python=sys.executable, root=host.root)
    assert str(caught.value) == (
        f"the release was gathered for Python 3.99 on {platform.machine()}, and {sys.executable} of this host is "
        f"Python {MINOR} on {platform.machine()}: probe the host again"
    )
    with pytest.raises(releasefiles.ReleaseError, match=r"and its lock .* do not belong together"):
        releases.install("shop", "0" * 16, host.lock_text, python=sys.executable, root=host.root)
    with pytest.raises(
        releasefiles.ReleaseError, match=r"^the wheel of small-shop 1\.0 is not on this host .*: ship it$"
    ):
        releases.install("shop", host.id, host.lock_text, wheels_dir="/none", python=sys.executable, root=host.root)
    assert not host.path.parent.exists()


def test_a_wheel_that_was_damaged_in_the_store(host: Host) -> None:
    pin = releases.parse_lock(host.lock_text).pins[0]
    path = next((host.store / pin.sha256).iterdir())
    path.write_bytes(b"damaged")
    with pytest.raises(releasefiles.ReleaseError) as caught:
        host.install()
    assert str(caught.value) == f"wheel {path.name} was damaged on this host and is removed: run again to ship it anew"
    assert pin.sha256 not in releasefiles.present(str(host.store))


def test_a_failed_program_says_why(tmp_path: Path) -> None:
    code = "import sys; sys.exit('noise\\nERROR: no such thing')"
    with pytest.raises(releasefiles.ReleaseError, match=r"^x failed: ERROR: no such thing$"):
        releases._run([sys.executable, "-c", code], tmp_path, "x")
    code = "import sys; sys.exit('OSError: [Errno 28] No space left on device')"
    with pytest.raises(releases.DiskFull, match=r"^x failed: no space left on the device of "):
        releases._run([sys.executable, "-c", code], tmp_path, "x", check=False)


def test_the_descriptions_are_plain_json(host: Host) -> None:
    info = host.install()
    data = json.loads((host.path / releasefiles.RELEASE).read_text(encoding="utf-8"))
    assert data == info.to_dict()
    assert data["schema"] == 1
    manifest = json.loads((host.path / releasefiles.MANIFEST).read_text(encoding="utf-8"))["entries"]
    assert manifest["venv"] == ["d", 0o755]
    assert manifest["requirements.lock"][0] == "f"
    assert not [name for name in manifest if "__pycache__" in name]


def packed(folder: Path, members: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """The archive of a tree."""
    path = folder / trees.FILENAME
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return path


def test_a_tree_is_a_part_of_its_release_as_the_environment_is(host: Host, tmp_path: Path) -> None:
    files = {"shop.py": b"A = 1\n", "app/templates/page.html": b"<p>\n", "boot.sh": b"#!/bin/sh\n"}
    host.take_tree(packed(tmp_path, files, {"app/static": "templates"}))
    info = host.install()
    tree = host.path / "tree"
    assert (info.changed, info.distributions) == (True, {"small-shop": "1.0"})
    assert (tree / "app/static/page.html").read_bytes() == b"<p>\n"
    assert list(tree.glob("__pycache__/shop.*.pyc"))
    modes = {name: stat.S_IMODE((tree / name).stat().st_mode) for name in ("", "app", "shop.py", "boot.sh")}
    assert modes == {"": 0o755, "app": 0o755, "shop.py": 0o644, "boot.sh": 0o755}
    assert releasefiles.verify(host.path, full=True) == []
    (tree / "shop.py").write_text("A = 2\n", encoding="utf-8")
    (tree / "app/templates/page.html").unlink()
    (tree / "left.py").touch()
    wrong = ["tree/app/templates/page.html is missing", "tree/left.py was added", "tree/shop.py was changed"]
    assert releasefiles.verify(host.path) == wrong
    assert releases.heal("shop", host.id, host.lock_text, wheels_dir=str(host.store), python=sys.executable,
                         root=host.root) == wrong  # fmt: skip
    assert (tree / "shop.py").read_bytes() == b"A = 1\n"
    assert releasefiles.verify(host.path, full=True) == []
    assert releases.prune_wheels(str(host.store), host.root) == []


@pytest.mark.parametrize(
    ("members", "links", "words"),
    [
        ({"../out.py": b""}, {}, "'../out.py' in the shipped tree leads out of it"),
        ({"/etc/out.py": b""}, {}, "'/etc/out.py' in the shipped tree leads out of it"),
        ({"app//x.py": b""}, {}, "'app//x.py' in the shipped tree leads out of it"),
        ({}, {"out": "../../etc"}, "'out' in the shipped tree is a link out of it"),
        ({}, {"out": "/etc"}, "'out' in the shipped tree is a link out of it"),
    ],
)
def test_a_tree_never_leads_out_of_its_release(
    tmp_path: Path, members: dict[str, bytes], links: dict[str, str], words: str
) -> None:
    (tmp_path / "release").mkdir()
    with pytest.raises(releasefiles.ReleaseError, match=re.escape(words)):
        trees.unpack_tree(packed(tmp_path, members, links), tmp_path / "release")


def test_nothing_of_a_tree_lies_behind_a_link(tmp_path: Path) -> None:
    path = packed(tmp_path, {}, {"app": "lib"})
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("app/x.py"))
    (tmp_path / "release").mkdir()
    with pytest.raises(releasefiles.ReleaseError, match="lies behind a link"):
        trees.unpack_tree(path, tmp_path / "release")


def test_a_tree_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / trees.FILENAME).write_bytes(b"x" * 700)
    with pytest.raises(releasefiles.ReleaseError, match="is not a whole archive"):
        trees.unpack_tree(tmp_path / trees.FILENAME, tmp_path / "release")
    with pytest.raises(releasefiles.ReleaseError, match="is broken on this host"):
        room.room_for([tmp_path / trees.FILENAME])


def test_the_room_of_a_tree_counts(tmp_path: Path) -> None:
    path = packed(tmp_path, {"a.py": b"x" * 5000, "b.html": b"x" * 3_000_000})
    assert trees.size_of(path) == (2 * 8192 + 3_002_368, 3)
    assert room.room_for([path])[0] == 3_018_752 // room.MIB + 1 + 64
