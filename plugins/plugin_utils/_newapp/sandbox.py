# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Running a project's code where it can do no harm: no network, a read-only copy, a home that is not there, an end.

The kernel's namespaces do it where they can be had (as root, or where users may make them); where not, the code runs
in the same copy, with time and memory bounded, and what was not kept from it is told.
"""

from __future__ import annotations

import contextlib
import json
import os
import posixpath
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from ...module_utils._os.secrecy import printable
from ...module_utils._release.leads import INSTANCE, SEED, lay_leads, place_of
from .._edge import Json
from .._wheels.tools import WheelhouseError, essence, run
from . import changes
from .inside.asking import BUSY
from .types import LATE, Error, Imported, Page, Variable, Weighed

DATA: Final = "data"
"""What stands for the app's data in the scratch folder."""
PROGRAM: Final = Path(__file__).with_name("inside")
# $1 is where the package lies; it is on the path no longer than it takes to import it.
_START: Final = """
import sys
sys.path.insert(0, sys.argv[1])
from headcount_inside import program
del sys.path[0]
program.run(sys.argv[1:])
"""
IMPORT_SECONDS: Final = 60.0
ASK_SECONDS: Final = 20.0
WEIGH_SECONDS: Final = 3.0
MEMORY_MIB: Final = 3072
_MARGIN_SECONDS: Final = 45.0
_GIT_SECONDS: Final = 60.0
_COPY_SECONDS: Final = 300.0
_NO_HOME: Final = "/nonexistent"
_SAID: Final = 4000
_MOST_DISKS: Final = 40
_DISK: Final = re.compile(r"(ext\d|xfs|btrfs|zfs|f2fs|bcachefs|nfs\d?|cifs|vfat|overlay|tmpfs|9p|virtiofs|fuse\S*) ")

# $1 the scratch folder, $2 the folders of the release, one a line, the first of them the working directory (read-only
# where $3 is empty, else copies in that folder, by their turn, are in their place), $4 the mount points of disks, one a
# line, $5 folders that are needed of those that are hidden, $6 what is hidden, both one a line; the command follows.
# Everything is read-only but the scratch folder, where the app's data is, and /tmp, which is an empty one, as it is to
# a service that is protected. The scratch folder may lie in what is hidden, and so may the Python: they are kept at
# /mnt meanwhile. The command has no capability and cannot get one, so that it undoes nothing of this; and as it may be
# root's by its number, what root reaches without one is kept from it too: devices, the kernel's settings, the sockets
# of services below /run, passwords and keys.
_SHELL: Final = """
set -e
mount --make-rprivate /
mount --bind "$1" /mnt
kept() { printf "%s" "$1" | cat -n | while read -r number folder; do "$2" "$folder" "/mnt/kept/$number"; done; }
keep() { mkdir -p "$2"; mount --bind "$1" "$2"; }
put_back() { mkdir -p "$1"; mount --bind "$2" "$1"; mount -o remount,bind,ro "$1"; }
each() { printf "%s" "$1" | while read -r place; do if [ -e "$place" ]; then "$2" "$place"; fi; done; }
hide() { if [ -d "$1" ]; then mount -t tmpfs -o mode=755 none "$1"; else mount --bind /dev/null "$1"; fi; }
close() { if [ -d "$1" ]; then mount -o remount,bind,ro "$1"; fi; }
read_only() { mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"; }
kept "$5" keep
each "$6" hide
mkdir -p /mnt/dev
mount -t tmpfs -o mode=755 none /mnt/dev
for node in null zero full random urandom; do : > /mnt/dev/$node; mount --bind /dev/$node /mnt/dev/$node; done
ln -s /proc/self/fd /mnt/dev/fd
mkdir /mnt/dev/shm
mount -t tmpfs -o mode=1777 none /mnt/dev/shm
mount -o remount,bind,ro /mnt/dev
mount --rbind /mnt/dev /dev
umount -R /mnt/dev
mount --bind /mnt/tmp /tmp
mkdir -p "$1"
mount --rbind /mnt "$1"
kept "$5" put_back
each "$6" close
for place in /proc/sys /proc/sysrq-trigger /proc/irq /proc/bus; do read_only "$place" 2>/dev/null || true; done
while read -r _ _ _ _ place _; do
  case "$place" in /sys|/sys/*) mount -o remount,bind,ro "$place" 2>/dev/null || true;; esac
done < /proc/self/mountinfo
if [ -z "$3" ]; then
  printf "%s" "$2" | while read -r folder; do mount --bind "$folder" "$folder"; mount -o remount,bind,ro "$folder"; done
else
  printf "%s" "$2" | cat -n | while read -r number folder; do mount --bind "$3/$number" "$folder"; done
fi
echo "$4" | while read -r disk; do mount -o remount,bind,ro "$disk" 2>/dev/null || true; done
cd "$(printf "%s" "$2" | head -n 1)"
shift 6
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
_TRIAL: Final = """
mount --make-rprivate / && mount --bind /tmp /mnt && mount -t tmpfs none /mnt &&
setpriv --bounding-set=-all --inh-caps=-all --no-new-privs true
"""
_HIDDEN: Final = (
    *("/root", "/home", "/run", "/var/lib/headcount", "/var/spool/cron", "/etc/ssh", "/etc/ssl/private"),
    *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"),
)
"""What is of the machine and its people, beside what is the home of who calls."""


@dataclass(frozen=True)
class Sandbox:
    """What runs the code: `argv` goes before the command; `told` says what is not kept from it."""

    argv: tuple[str, ...] = ()
    mounts: bool = False
    told: str = ""


@dataclass(frozen=True)
class Place:
    """Where a project lies in the scratch folder. `paths` come first on sys.path, `own` are folders of its own code.

    The scratch folder is made as a release is: what it leads to the app's data for leads to `data` in it. `kept` is
    Flask's folder for that, None where the project ships one of its own; `leads` are others, by their paths in `code`,
    the folder of the code (of a package, the one that it is installed in). `folders` are made in the data, and
    `repositories` are made repositories of git there. `beside`: files and folders of code that is the project's too,
    and lies elsewhere: members of its workspace. In the values of `environment` `{data}` stands for the data.
    """

    scratch: Path
    root: Path
    python: Path
    paths: tuple[Path, ...] = ()
    own: tuple[Path, ...] = ()
    kept: Path | None = None
    leads: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()
    installed: Path | None = None
    writable: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def code(self) -> Path:
        """The folder that `leads`, and what the app wrote, are paths in."""
        return self.installed or self.root


def lead(release: Path, paths: Sequence[str] = ()) -> Path | None:
    """Have `paths` of what is in a scratch folder lead to its data, as a host does; Flask's folder, if it leads there.

    A path that ends in `/`, or has no ending, is a folder.
    """
    place_of(release, INSTANCE).parent.mkdir(parents=True, exist_ok=True)
    lay_leads(release, paths, str(release / DATA))
    for path in paths:
        kept, seed = release / DATA / path, release / SEED / path
        if seed.is_dir():
            shutil.copytree(seed, kept, dirs_exist_ok=True)
        elif seed.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(seed, kept)
        else:
            folder = kept if path.endswith("/") or not kept.suffix else kept.parent
            folder.mkdir(parents=True, exist_ok=True)
    instance = place_of(release, INSTANCE)
    if not instance.is_symlink():
        return None
    (release / DATA / INSTANCE).mkdir(parents=True, exist_ok=True)
    return instance


def _unlead(release: Path, paths: Sequence[str]) -> None:
    """Put back what was there before."""
    for path in paths:
        seed, place = release / SEED / path, place_of(release, path)
        place.unlink()
        if os.path.lexists(seed):
            os.rename(seed, place)


@lru_cache(maxsize=1)
def best() -> Sandbox:
    """The tightest sandbox that this machine lets this user have; tried once."""
    if shutil.which("unshare") is None:
        return Sandbox(
            told="unshare (package util-linux) is not there: the import could reach the network and the disk"
        )
    base = ("unshare", "--net", "--ipc", "--mount", "--pid", "--fork", "--kill-child")
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    for argv, mounts, told in (
        ((*base, *user, "--mount-proc"), True, ""),
        ((*base, *user), True, "/proc is the machine's own: the import could read of your processes there"),
        (("unshare", "--net", *user), False, "mounts cannot be made: the import could write wherever you may"),
    ):
        trial = _TRIAL if mounts else "true"
        if subprocess.run([*argv, "sh", "-c", trial], capture_output=True, check=False).returncode == 0:
            return Sandbox(argv, mounts, told)
    return Sandbox(told="namespaces are not allowed: the import could reach the network and the disk")


def environment(place: Place) -> dict[str, str]:
    """The environment of the project: that of a unit, nothing of the person's own."""
    home = _NO_HOME if best().mounts else str(place.scratch / "home")
    return {
        "PATH": f"{place.python.parent}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": "/tmp" if best().mounts else str(place.scratch / "tmp"),
        "FLASK_SKIP_DOTENV": "1",
        **{name: value.replace("{data}", str(place.scratch / DATA)) for name, value in place.environment.items()},
    }


def look(place: Place, module: str, target: str = "", weigh_seconds: float = WEIGH_SECONDS) -> Imported:
    """Import `module` in the sandbox, find its callable, ask for its pages and weigh them."""
    _furnish(place)
    result = place.scratch / "answer.json"
    result.unlink(missing_ok=True)
    asked = {
        "root": str(place.root),
        "paths": [*map(str, place.paths), *_python_path(place)],
        "project": [str(path) for path in (*(place.own or (place.root,)), *place.beside)],
        "module": module,
        "target": target,
        "result": str(result),
        "import_seconds": IMPORT_SECONDS,
        "ask_seconds": ASK_SECONDS,
        "weigh_seconds": weigh_seconds,
        "memory_mib": MEMORY_MIB,
    }
    question = place.scratch / "asked.json"
    question.write_text(json.dumps(asked), encoding="utf-8")
    seconds = BUSY * (IMPORT_SECONDS + ASK_SECONDS + weigh_seconds) + _MARGIN_SECONDS
    lead(place.scratch, place.leads)
    written: dict[str, str] = {}
    try:
        program = place.scratch / "program"
        with _free(place) as copies:
            argv = _argv(place, [place.python, "-I", "-c", _START, program, question], copies)
            said, late = _run(argv, place, seconds)
            for folder, copy in copies.items():
                own = folder == place.root or place.code.is_relative_to(folder)
                written.update(changes.of(folder, copy) if own else {})
    finally:
        _unlead(place.scratch, place.leads)
    try:
        answer: Json = json.loads(result.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if late:
            return Imported(module=module, error=Error(LATE, f"it did not end within {seconds:g} s"))
        words = f"its Python ended: {_last(said) or 'it said nothing'}"
        return Imported(module=module, error=Error("Ended", words))
    answer = {**answer, "written": {**written, **answer.get("written", {})}}
    return replace(_with_last_words(read(answer, place), said, place), module=module, said=said[-_SAID:])


@contextlib.contextmanager
def _free(place: Place) -> Iterator[dict[Path, Path]]:
    """Copies of the folders of a release that may be written, which stand in for them; none where it may not be. What
    is written there is gone afterwards: the release is as it was for who looks at it next."""
    copies: dict[Path, Path] = {}
    where = place.scratch / "written"
    if place.writable and best().mounts:
        where.mkdir()
        for turn, folder in enumerate(_release(place), 1):
            copies[folder] = where / str(turn)
            done = run(
                ["cp", "--archive", "--reflink=auto", "--no-target-directory", folder, copies[folder]], _COPY_SECONDS
            )
            if done.status:
                raise WheelhouseError(f"{folder} could not be copied: {essence(done.text)}")
    try:
        yield copies
    finally:
        shutil.rmtree(where, ignore_errors=True)


def _release(place: Place) -> list[Path]:
    """The folders of a release, the working directory first."""
    return [place.root, *(folder for folder in [place.scratch / "venv"] if place.python.is_relative_to(folder))]


def _python_path(place: Place) -> list[str]:
    """The folders of the variable PYTHONPATH, relative ones from the working directory, as on a host."""
    value = environment(place).get("PYTHONPATH", "")
    return [os.path.normpath(place.root / folder) for folder in value.split(":") if folder]


def _furnish(place: Place) -> None:
    """Put into the scratch folder what the program and the project need to find there."""
    for name in ("home", "tmp", DATA, *(f"{DATA}/{folder}" for folder in place.folders)):
        (place.scratch / name).mkdir(parents=True, exist_ok=True)
    for name in place.repositories:
        run(["git", "init", "--quiet", place.scratch / DATA / name], _GIT_SECONDS)
    program = place.scratch / "program" / "headcount_inside"  # the checkout may lie where it is not seen
    shutil.copytree(PROGRAM, program, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)


def _with_last_words(found: Imported, said: str, place: Place) -> Imported:
    """Who exits, or makes no app, says why before, and not in the exception; a variable that is named there is
    missing."""
    error, words = found.error, _relative(_last(said), place)
    if error is None or not words:
        return found
    named = [item.name for item in found.variables if re.search(rf"(?<!\w){re.escape(item.name)}(?!\w)", words)]
    lacking = [name for name in named if name not in place.environment]
    if error.kind == "SystemExit" or (error.kind == "NotFound" and lacking):
        error = replace(error, message=f"{error.message}, after saying: {words}")
    missing = dict.fromkeys((*error.missing_variables, *lacking))
    return replace(found, error=replace(error, missing_variables=tuple(missing)))


def _argv(place: Place, command: Sequence[str | Path], copies: Mapping[Path, Path]) -> list[str]:
    words = [str(word) for word in command]
    sandbox = best()
    if not sandbox.mounts:
        return [*sandbox.argv, *words]
    free = str(next(iter(copies.values())).parent) if copies else ""
    disks = "\n".join(disks_of(Path("/proc/self/mountinfo").read_text(encoding="utf-8")))
    hidden = hidden_places()
    release, needed, away = map(_lines, (_release(place), pythons_hidden(place, hidden), hidden))
    return [*sandbox.argv, "sh", "-c", _SHELL, "sh", str(place.scratch), release, free, disks, needed, away, *words]


def _lines(paths: Sequence[Path]) -> str:
    return "".join(f"{path}\n" for path in paths)


def hidden_places() -> list[Path]:
    """What of the machine is hidden from the code: homes, sockets of services, passwords and keys."""
    own = Path(os.path.realpath(Path.home()))
    found = [Path(place) for place in _HIDDEN]
    outside = len(own.parts) > 2 and not any(own.is_relative_to(place) for place in [*found, Path("/tmp")])
    return [*found, own] if outside else found


def pythons_hidden(place: Place, hidden: Sequence[Path]) -> list[Path]:
    """The folders of the Python and of what it is made from that lie in /tmp or in what is hidden, and not in the
    scratch folder."""
    prefixes, link = {place.python.parent.parent, place.python.resolve().parent.parent}, place.python
    while link.is_symlink() and len(prefixes) < _MOST_DISKS:
        link = Path(os.path.normpath(link.parent / os.readlink(link)))
        prefixes.add(link.parent.parent)
    away = [Path("/tmp"), *hidden]
    missed = [prefix for prefix in prefixes if any(prefix.is_relative_to(folder) for folder in away)]
    return sorted(prefix for prefix in missed if not prefix.is_relative_to(place.scratch))


def disks_of(mounts: str) -> list[str]:
    """The mount points of disks in the words of /proc/self/mountinfo, but for those of containers and of the kernel."""
    found = []
    for line in mounts.splitlines():
        words, _, kind = line.partition(" - ")
        where = words.split()[4]
        inside = where.startswith(("/proc", "/sys", "/dev", "/run", "/tmp", "/var/lib/containers", "/var/lib/docker"))
        if not inside and _DISK.match(kind):
            found.append(where)
    return found[:_MOST_DISKS]


def _run(argv: Sequence[str], place: Place, seconds: float) -> tuple[str, bool]:
    """What it said on both streams, and whether it had to be ended."""
    log = place.scratch / "said.txt"
    late = False
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT, cwd=place.root,
            env=environment(place), start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            with contextlib.suppress(ProcessLookupError):  # all of it has ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return log.read_bytes()[-64_000:].decode("utf-8", errors="replace"), late


def _last(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return printable(lines[-1])[:300] if lines else ""


def read(answer: Json, place: Place) -> Imported:
    """The answer of the program, with paths as they are within the project."""
    error, config, setup = answer.get("error"), answer.get("config", {}), answer.get("setup", {})
    return Imported(
        module="",
        target=str(answer.get("target", "")),
        kind=str(answer.get("kind", "")),
        class_name=str(answer.get("class_name", "")),
        stage=str(answer["stage"]),
        error=_error(error, place) if error else None,
        import_seconds=float(answer.get("import_seconds", 0.0)),
        peak_mib=int(answer.get("peak_mib", 0)),
        routes=len(answer.get("routes", ())),
        rules=answer.get("rules"),
        pages=tuple(Page(**item) for item in answer.get("asked", ())),
        weighed=tuple(Weighed(**item) for item in answer.get("weighed", ())),
        variables=tuple(_variable(name, known, place) for name, known in sorted(answer.get("variables", {}).items())),
        written=_in_project(answer.get("written", {}), place),
        written_at={path: _within(at, place) for path, at in _in_project(answer.get("written_at", {}), place).items()},
        databases=tuple(dict.fromkeys(_address(uri, place) for uri in config.get("databases", ()))),
        other_host=answer.get("other_host"),
        host=str(answer.get("host", "")),
        https=bool(answer.get("https")),
        debug=bool(config.get("debug")),
        has_secret_key=config.get("secret_key"),
        temporary=dict(config.get("temporary", {})),
        within=_in_project_by_name(config.get("within", {}), place),
        weak={name: (item["state"], item["variable"]) for name, item in config.get("weak", {}).items()},
        setup=str(setup.get("command", "")),
        made=tuple(_kept(path, place) or _written(path, place) for path in setup.get("made", ())),
        commands={name: tuple(options) for name, options in answer.get("commands", {}).items()},
        settings_module=str(config.get("settings_module") or ""),
        static_root=_written(config["static_root"], place) if config.get("static_root") else config.get("static_root"),
        peers=tuple(answer.get("peers", ())),
        libraries=frozenset(answer.get("libraries", ())),
        machine=tuple(answer.get("machine", ())),
    )


def _variable(name: str, known: Json, place: Place) -> Variable:
    default = _address(known["default"], place) if known["default"] else None
    return Variable(name, default, bool(known["bare"]), tuple(_within(at, place) for at in known["places"]))


def _error(error: Json, place: Place) -> Error:
    return Error(
        kind=str(error["type"]),
        message=printable(_relative(str(error["message"]), place)),
        where=_within(str(error["where"]), place) if error.get("where") else "",
        missing_module=str(error.get("missing_module") or ""),
        missing_variables=tuple(error.get("missing_variables") or ()),
        read_only=bool(error.get("read_only")),
        unreached=bool(error.get("unreached")),
    )


def _in_project(by_path: Json, place: Place) -> dict[str, str]:
    """What is known of paths that were written, by these as they are within the project."""
    found = {_written(path, place): str(what) for path, what in by_path.items()}
    return {path: what for path, what in found.items() if path}


def _in_project_by_name(by_name: Json, place: Place) -> dict[str, str]:
    """Where what is named leads to within the project."""
    found = {name: _written(str(path).rstrip("/"), place) for name, path in by_name.items()}
    return {str(name): path for name, path in found.items() if path}


def _written(path: str, place: Place) -> str:
    """A path as `data.paths` has it; that of Flask's own folder; one that begins with `./` is in the working directory
    of a package."""
    if place.kept and f"{path}/".startswith(f"{place.kept}/"):
        return f"{INSTANCE}{path[len(str(place.kept)) :]}"
    if path.startswith(f"{place.code}/"):
        return path[len(str(place.code)) + 1 :]
    inside = _within(path, place)
    return f"./{inside}" if inside and not inside.startswith("/") else inside


def _kept(path: str, place: Place) -> str:
    """A path in the app's data as an entry has it: `{data}/shop.db`; "" elsewhere."""
    data = f"{place.scratch / DATA}/"
    return f"{{data}}/{path[len(data) :]}" if path.startswith(data) else ""


_IN_FILE: Final = re.compile(r"sqlite:///(?!:memory:|file:)([^?]+)(.*)", re.DOTALL)


def _address(text: str, place: Place) -> str:
    """Words without the scratch folder's name; of the address of a SQLite file the path as that of what was written,
    which it is compared with: a relative one begins in the working directory, and `//` at its beginning is `/`."""
    found = _IN_FILE.fullmatch(text)
    if found is None:
        return _relative(text, place)
    path = re.sub("^//", "/", posixpath.normpath(posixpath.join(str(place.root), found[1])))
    own = path.replace(str(place.scratch), "", 1) if path.startswith(f"{place.scratch}/") else path
    return f"sqlite:///{_kept(path, place) or _written(path, place) or own}{found[2]}"


def _within(path: str, place: Place) -> str:
    """A path as it is within the project, absolute where it lies elsewhere, "" for what is the sandbox's own."""
    for root in filter(None, (place.root, place.installed, *place.own)):
        if path.startswith(f"{root}/"):
            return path[len(str(root)) + 1 :]
    for item in place.beside:
        if path.startswith((f"{item}/", f"{item}:")):
            return path[len(str(item.parent)) + 1 :]
    inside = path.removeprefix(f"{place.scratch}/")
    return inside if inside == path or inside.startswith("venv/") else ""


def _relative(text: str, place: Place) -> str:
    """Words without the scratch folder's name."""
    text = text.replace(f"{place.kept}/", f"{INSTANCE}/") if place.kept else text
    text = re.sub(rf"{re.escape(str(place.code))}/", "", text)
    text = re.sub(rf"{re.escape(str(place.root))}/?", "", text)
    return text.replace(f"{place.scratch}/", "")


__all__ = ["Place", "Sandbox", "best", "environment", "look", "read"]
