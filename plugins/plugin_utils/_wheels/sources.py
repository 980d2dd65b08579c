# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where an app comes from: folders, wheels, package names and git repositories, each with an identity."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from .._edge import Json
from .._source.project import AUTO, TREE, Form, form_of
from .declared import declared, local_folders, lock_files, own_pins, read_lock, workspace_root
from .files import shipped
from .locks import Pinned, automatic
from .tools import (
    BadLock,
    BadSource,
    BuildFailed,
    WheelhouseError,
    essence,
    file_lock,
    no_index,
    raise_for_network,
    redact,
    run,
    uv,
)

_VCS_VERSION = re.compile(r"setuptools[_-]scm|hatch-vcs|versioningit|dunamai|vcs-versioning|dynamic-versioning|pbr\b")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_GIT_ENV = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/true",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "GIT_CONFIG_NOSYSTEM": "0",
}
_BUILD_SECONDS = 900.0
_GIT_SECONDS = 600.0
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Source:
    """A normalised `source` of an app. `value` is a folder, a wheel, a requirement or a repository's URL.

    `include`: patterns of what is shipped of a folder although git ignores it. `form`: auto, tree or package.
    `requirements`: files and requirements that count instead of what the project says (None).
    """

    kind: str
    value: str
    version: str | None = None
    lock: str | None = None
    subdirectory: str | None = None
    include: tuple[str, ...] = ()
    form: str = AUTO
    requirements: tuple[str, ...] | None = None

    @classmethod
    def of(cls, data: Json | Source) -> Source:
        """From the mapping of a normalised app. Raises BadSource when its kind is not known."""
        if isinstance(data, Source):
            return data
        source = cls(
            kind=str(data["kind"]),
            value=str(data["value"]),
            version=data.get("version"),
            lock=data.get("lock"),
            subdirectory=data.get("subdirectory"),
            include=tuple(data.get("include") or ()),
            form=str(data.get("as") or AUTO),
            requirements=None if data.get("requirements") is None else tuple(data["requirements"]),
        )
        if source.kind not in ("path", "wheel", "pip", "git"):
            raise BadSource(f"source kind {source.kind!r} is not allowed: path, wheel, pip or git")
        return source

    def describe(self) -> str:
        """Kind and value for a message, without credentials."""
        return f"source {self.kind} {redact(self.value)!r}"


def resolve(path: str, base_dir: Path) -> Path:
    """`path` absolute; relative ones begin at `base_dir`."""
    return (base_dir / Path(path).expanduser()).absolute()


def lock_path(source: Source, base_dir: Path, folder: Path | None = None) -> Path | None:
    """The lock of a source: the declared one, else the one that its folder carries."""
    if source.lock:
        path = resolve(source.lock, base_dir)
        if not path.is_file():
            raise BadLock(f"source lock {source.lock!r}: there is no such file ({path})")
        return path
    return automatic(folder) if folder else None


def project_folder(source: Source, root: Path) -> Path:
    """The folder that holds the project, under `root`. Raises BadSource when nothing there can be built."""
    folder = root / source.subdirectory if source.subdirectory else root
    shown = (source.subdirectory or "its top folder") if source.kind == "git" else str(folder)
    if not folder.is_dir():
        raise BadSource(f"{source.describe()}: there is no folder {shown}")
    project_form(source, folder)
    return folder


def project_form(source: Source, folder: Path) -> Form:
    """Whether the project of a source is a tree or a package, and why. Raises BadSource when it can be neither."""
    try:
        return form_of(folder, source.form)
    except BadSource as error:
        raise BadSource(f"{source.describe()}: {error}") from None


def folder_digest(folder: Path, names: Sequence[str]) -> str:
    """sha256 over names, executable bits and contents of the files of a project that are shipped."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        if path.is_dir():
            digest.update(os.fsencode(name) + b"\0l" + os.fsencode(linked(folder, name)) + b"\0")
            continue
        executable = b"x" if path.stat().st_mode & stat.S_IXUSR else b"-"
        content = bytes.fromhex(file_digest(path))
        digest.update(os.fsencode(name) + b"\0" + executable + content)
    return digest.hexdigest()


def linked(folder: Path, name: str) -> str:
    """Where a link to a folder within a project leads, from the place of the link."""
    return os.path.relpath((folder / name).resolve(), (folder / name).parent.resolve())


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def source_identity(source: Json | Source, base_dir: str | Path) -> str:
    """What a source is, as `kind:digest`: the same content gives the same text on every controller.

    A folder and a wheel count by content, a package by its requirement, a repository by the commit that its REF is
    now (asked of the remote unless REF is a full commit id); the lock counts with each of them.
    """
    return identity(Source.of(source), Path(base_dir)).text


@dataclass(frozen=True)
class Identity:
    """What a source is, for git the commit, and what a person should know of its files: what is left out, and what is
    shipped that looks wrong."""

    text: str
    commit: str | None = None
    notes: tuple[str, ...] = ()


def identity(source: Source, base_dir: Path) -> Identity:
    """`source_identity`, and what came to light with it."""
    commit: str | None = None
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    if source.kind == "path":
        folder = project_folder(source, resolve(source.value, base_dir))
        files = shipped(folder, source.include, source.describe())
        core, notes = folder_digest(folder, files.names), files.notes
    elif source.kind == "wheel":
        core = file_digest(wheel_file(source, base_dir))
    elif source.kind == "pip":
        core = str(requirement(source))
    else:
        commit = remote_commit(source)
        core = f"{commit}/{source.subdirectory or ''}"
    lock = lock_path(source, base_dir, folder)
    text = f"{core}\0{file_digest(lock) if lock else ''}"
    if source.kind == "path" and folder is not None:
        text += _beside(folder, source, lock)
        if project_form(source, folder).is_tree:
            text += "\0tree"
    elif source.kind == "git" and source.form == TREE:
        text += "\0tree"
    if source.requirements is not None:
        text += _named(source, folder)
    if source.kind == "git":
        return Identity(f"git:{commit}" + (f":{hashlib.sha256(text.encode()).hexdigest()[:16]}"), commit)
    return Identity(f"{source.kind}:{hashlib.sha256(text.encode()).hexdigest()}", None, notes)


def _beside(folder: Path, source: Source, lock: Path | None) -> str:
    """What counts for a project and is not in its folder, or was not looked at by itself: its other locks, and the
    projects that its dependencies are built from. Nothing for a project that has none."""
    found = []
    if source.lock is None:
        root = workspace_root(folder, Path(folder.anchor))
        tree = source.requirements is None and project_form(source, folder).is_tree
        found = [file_digest(path) for path in lock_files(folder, root, tree) if path != lock]
    for place in local_folders(folder.resolve()):
        found.append(folder_digest(place, shipped(place, (), str(place)).names))
    return "".join(f"\0{digest}" for digest in found)


def _named(source: Source, folder: Path | None) -> str:
    """What source.requirements says, and the content of its files, which may be such that git ignores them."""
    words = source.requirements or ()
    files = [folder / word for word in words] if folder else []
    return "".join(f"\0{word}" for word in (*words, *(file_digest(path) for path in files if path.is_file())))


def requirement(source: Source) -> Requirement:
    """The requirement of a pip source; `version` may be given apart from the name."""
    text = source.value
    if source.version and not re.search(r"[=<>~!@]", text):
        text = f"{text}=={source.version}"
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise BadSource(
            f"{source.describe()}: not a requirement ({str(error).splitlines()[0]}); write it like 'httpbin==0.10.4'"
        ) from None
    if wanted.url:
        raise BadSource(
            f"{source.describe()}: a URL is not allowed here; use `wheel` for a file or `git` for a repository"
        )
    return wanted


def wheel_file(source: Source, base_dir: Path) -> Path:
    """The file of a wheel source. Raises BadSource when it is absent or is not a wheel."""
    path = resolve(source.value, base_dir)
    if not path.is_file():
        raise BadSource(f"{source.describe()}: there is no such file ({path})")
    check_wheel(path, source.describe())
    return path


def check_wheel(path: Path, what: str) -> tuple[str, str, bool]:
    """(canonical name, version, whether it is pure) of a wheel whose inside is whole. Raises BadSource."""
    try:
        name, version, _, tags = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise BadSource(f"{what}: {path.name} is not named like a wheel ({error})") from None
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            inside = any(item.endswith(".dist-info/METADATA") for item in archive.namelist())
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise BadSource(f"{what}: {path.name} is not a whole wheel ({error}); build or copy it again") from None
    if broken or not inside:
        raise BadSource(f"{what}: {path.name} is not a whole wheel ({broken or 'no METADATA'}); build or copy it again")
    pure = any(tag.interpreter.startswith("py3") and (tag.abi, tag.platform) == ("none", "any") for tag in tags)
    return str(name), str(version), pure


def remote_commit(source: Source) -> str:
    """The commit that the REF of a git source is now (default: the remote's HEAD)."""
    ref = source.version or "HEAD"
    if COMMIT.fullmatch(ref):
        return ref
    if source.value.startswith("-") or ref.startswith("-"):
        raise BadSource(f"{source.describe()}: neither URL nor version may begin with '-'")
    done = run(["git", "ls-remote", "--", source.value, ref, f"{ref}^{{}}"], 120, extra_env=_git_env())
    if done.status:
        raise_for_network(source.describe(), done.text)
        raise BadSource(f"{source.describe()}: the repository cannot be read: {essence(done.text, 1)}")
    found = (line.partition("\t") for line in done.stdout.splitlines())
    rows = {name: commit for commit, tab, name in found if tab}
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref):
        if name in rows:
            return rows[name]
    raise BadSource(
        f"{source.describe()}: version {ref!r} is neither a branch nor a tag there; "
        "allowed are a branch, a tag or a full commit id of 40 hex digits"
    )


def checkout(source: Source, commit: str, cache_dir: Path, target: Path) -> None:
    """The repository at `commit`, with its history and submodules, in the new folder `target`."""
    mirror = cache_dir / "git" / hashlib.sha256(source.value.encode()).hexdigest()[:32]
    with file_lock(mirror.with_suffix(".lock")):
        if run(["git", "--git-dir", mirror, "cat-file", "-e", f"{commit}^{{commit}}"], 60).status:
            if not (mirror / "HEAD").exists():
                shutil.rmtree(mirror, ignore_errors=True)
                _git(["init", "--quiet", "--bare", mirror], source)
            refs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
            _git(["--git-dir", mirror, "fetch", "--quiet", "--force", "--", source.value, *refs], source)
        if run(["git", "--git-dir", mirror, "cat-file", "-e", f"{commit}^{{commit}}"], 60).status:
            done = run(
                ["git", "--git-dir", mirror, "fetch", "--quiet", "--", source.value, commit],
                _GIT_SECONDS,
                extra_env=_git_env(),
            )
            if done.status:
                raise_for_network(source.describe(), done.text)
                raise BadSource(f"{source.describe()}: there is no commit {commit}: {essence(done.text, 1)}")
        _git(["clone", "--quiet", "--no-checkout", "--shared", "--", mirror, target], source)
        _git(["-C", target, "-c", "advice.detachedHead=false", "checkout", "--quiet", commit], source)
    if (target / ".gitmodules").exists():
        _git(["-C", target, "remote", "set-url", "origin", source.value], source)
        _git(["-C", target, "submodule", "--quiet", "update", "--init", "--recursive"], source)


def _git_env() -> dict[str, str]:
    environ = dict(_GIT_ENV)
    if "GIT_SSH_COMMAND" not in os.environ:
        environ["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes"
    return environ


def _git(words: list[str | Path], source: Source) -> None:
    done = run(["git", *words], _GIT_SECONDS, extra_env=_git_env())
    if done.status:
        raise_for_network(source.describe(), done.text)
        raise BadSource(f"{source.describe()}: git {words[0]} failed: {essence(done.text, 1)}")


def pins_of(source: Source, environment: Mapping[str, str]) -> tuple[Pinned, ...]:
    """What the locks of a located source pin for a platform, as far as they are on the controller."""
    lock = resolve(source.lock, Path("/")) if source.lock else None
    if source.kind == "path":
        folder = project_folder(source, Path(source.value))
        tree = project_form(source, folder).is_tree
        pins = declared(folder, Path(folder.anchor), environment, lock, source.requirements, tree).pins
        names = {pin.name for pin in pins}
        return (*pins, *(pin for pin in own_pins(folder, environment) if pin.name not in names))
    return read_lock(lock, lock.parent, environment).pins if lock else ()


def copy_project(folder: Path, target: Path, include: Sequence[str] = ()) -> None:
    """The files of a project that are shipped, and its history where its version is read from there."""
    for name in shipped(folder, include).names:
        path, copy = folder / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            copy.symlink_to(linked(folder, name))
            continue
        shutil.copyfile(path, copy)
        copy.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    settings = "".join(
        (folder / name).read_text(encoding="utf-8", errors="replace")
        for name in ("pyproject.toml", "setup.cfg", "setup.py")
        if (folder / name).is_file()
    )
    if (folder / ".git").exists() and _VCS_VERSION.search(settings):
        run(["git", "clone", "--quiet", "--shared", "--no-checkout", "--", folder, target / ".git-clone"], _GIT_SECONDS)
        if (target / ".git-clone" / ".git").is_dir():
            (target / ".git-clone" / ".git").rename(target / ".git")
            (target / ".git-clone").rmdir()
            run(["git", "-C", target, "reset", "--quiet"], 60)


def copy_beside(folder: Path, target: Path, source: Source) -> Path:
    """Copy a project into the new folder `target`, with the folders beside it that its dependencies come from.

    They lie to one another as before, because a build backend looks for them. Returns the copy of the project.
    """
    here = folder.resolve()
    beside = [
        place for place in local_folders(here) if not place.is_relative_to(here) and not here.is_relative_to(place)
    ]
    base = Path(os.path.commonpath([here, *beside]))
    for place in beside:
        copy_project(place, target / place.relative_to(base))
    inside = target / here.relative_to(base) if base != here else target
    copy_project(here, inside, source.include)
    return inside


def requires(wheel: Path) -> list[str]:
    """What a wheel's metadata asks for, one requirement each."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(item for item in archive.namelist() if item.endswith(".dist-info/METADATA"))
        head = archive.read(metadata).decode("utf-8", errors="replace").replace("\r\n", "\n").partition("\n\n")[0]
    return [line.partition(":")[2].strip() for line in head.split("\n") if line.lower().startswith("requires-dist:")]


def demands(wheel: Path, environment: Mapping[str, str]) -> list[str]:
    """What a wheel asks an index for, on the platform of an `environment` and without extras."""
    texts = [Requirement(text) for text in requires(wheel)]
    known = {**environment, "extra": ""}
    met = [wanted for wanted in texts if wanted.url is None and (not wanted.marker or wanted.marker.evaluate(known))]
    for wanted in met:
        wanted.marker = None
    return [str(wanted) for wanted in met]


def contents(wheel: Path) -> dict[str, str]:
    """The files of a wheel as they will be installed, with the text of those that are Python; "" for others."""
    found: dict[str, str] = {}
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.namelist():
            name = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", item)
            python = item.endswith(".py")
            found[name] = archive.read(item).decode("utf-8", errors="replace") if python else ""
    return found


def build_wheel(project: Path, out_dir: Path, what: str, environ: Mapping[str, str] | None = None) -> Path:
    """Build a folder or an sdist into a wheel with the same bytes for the same content. Raises BuildFailed.

    `environ`: variables that say where its build requirements come from.
    """
    with tempfile.TemporaryDirectory(dir=out_dir) as temporary:
        _build(["--wheel"], project, Path(temporary), what, environ)
        found = sorted(Path(temporary).glob("*.whl"))
        if len(found) != 1:
            raise BuildFailed(f"{what}: the build made {len(found)} wheels instead of one")
        wheel = out_dir / found[0].name
        normalise_wheel(found[0], wheel)
    return wheel


def build_sdist(project: Path, out_dir: Path, what: str, environ: Mapping[str, str] | None = None) -> Path:
    """The sdist of a folder, for a host to build from; `environ` as for `build_wheel`. Raises BuildFailed."""
    _build(["--sdist"], project, out_dir, what, environ)
    return sorted(out_dir.glob("*.tar.gz"))[0]


def _build(
    options: list[str], project: Path, out_dir: Path, what: str, environ: Mapping[str, str] | None = None
) -> None:
    words: list[str | Path] = [*uv(), "build", *options, "--no-python-downloads", "--python", sys.executable]
    words += [*no_index(environ or {}), "--out-dir", out_dir, project]
    # A copy without .git must not be taken for a part of the checkout that the cache may lie in.
    extra = {**(environ or {}), "GIT_CEILING_DIRECTORIES": str(project.parent)}
    done = run(words, _BUILD_SECONDS, cwd=out_dir, extra_env=extra)
    if done.status:
        raise_for_network(what, done.text)
        raise BuildFailed(f"{what}: it could not be built: {essence(done.text)}")


def normalise_wheel(path: Path, target: Path) -> None:
    """Copy a wheel so that its bytes depend on its content alone.

    Sorted entries, one time, two modes, no compression (zlib's output differs by version), and no build tool's version
    in WHEEL; RECORD is written anew.
    """
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: (archive.read(info), info) for info in archive.infolist() if not info.is_dir()}
    record = next(name for name in entries if name.endswith(".dist-info/RECORD"))
    rows: list[tuple[str, str, str]] = []
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as out:
        for name in sorted(entries, key=lambda item: (".dist-info/" in item, item)):
            if name == record:
                continue
            data, info = entries[name]
            if name.endswith(".dist-info/WHEEL"):
                data = re.sub(rb"(?m)^Generator:.*$", b"Generator: headcount", data)
            code = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append((name, f"sha256={code}", str(len(data))))
            _add(out, name, data, bool((info.external_attr >> 16) & stat.S_IXUSR))
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
        _add(out, record, text.getvalue().encode(), executable=False)
    os.replace(temporary, target)


def stand_in(wheel: Path, out_dir: Path) -> Path:
    """A wheel to resolve with instead of `wheel`: itself when pure, else its metadata in one for any platform."""
    name, version, pure = check_wheel(wheel, wheel.name)
    if pure:
        return wheel
    target = out_dir / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(target, "w") as out:
        metadata = next(item for item in archive.namelist() if item.endswith(".dist-info/METADATA"))
        _add(out, f"{info}/METADATA", archive.read(metadata), executable=False)
        _add(out, f"{info}/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n", executable=False)
        _add(out, f"{info}/RECORD", b"", executable=False)
    return target


def _add(out: zipfile.ZipFile, name: str, data: bytes, executable: bool) -> None:
    info = zipfile.ZipInfo(name, _ZIP_TIME)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    out.writestr(info, data)


__all__ = [
    "COMMIT",
    "Source",
    "WheelhouseError",
    "build_sdist",
    "build_wheel",
    "check_wheel",
    "checkout",
    "contents",
    "copy_beside",
    "copy_project",
    "demands",
    "file_digest",
    "identity",
    "lock_path",
    "normalise_wheel",
    "pins_of",
    "project_folder",
    "project_form",
    "requirement",
    "requires",
    "resolve",
    "source_identity",
    "stand_in",
    "wheel_file",
]
