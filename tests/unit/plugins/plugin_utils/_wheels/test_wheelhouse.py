# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Gathering wheels, with an index that is scripted: what is asked of uv and pip, and what is kept of their answers."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Sequence

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import contents as _releasefiles
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import releases as _releases
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import fetch, indexes, sources, wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import HostBuild, Wheel
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import Done, WheelhouseError
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.wheelhouse import Platform
from packaging.tags import parse_tag

BOOKWORM = Platform("3.11", "x86_64", "glibc 2.36")
TRIXIE = Platform("3.13.5", "x86_64", "glibc 2.41")


def make_wheel(folder: Path, filename: str, content: str = "A = 1\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    name, version = filename.split("-")[:2]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / filename, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr(f"{info}/RECORD", "")
        archive.writestr(f"{name}.py", content)
    return folder / filename


class Index:
    """Stands for uv and pip. `wheels` can be downloaded, `sdists` only as source."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[list[str]] = []
        self.inputs: list[list[str]] = []
        self.wheels: dict[str, Path] = {}
        self.sdists: dict[str, Path] = {}
        self.refuse = ""

    def wheel(self, filename: str) -> None:
        self.wheels["==".join(filename.split("-")[:2])] = make_wheel(self.folder, filename)

    def sdist(self, filename: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / filename
        with tarfile.open(path, "w:gz"):
            pass
        self.sdists["==".join(filename.removesuffix(".tar.gz").rsplit("-", 1))] = path

    def run(self, argv: Sequence[str | Path], seconds: float, **more: Any) -> Done:
        words = [str(word) for word in argv]
        self.calls.append(words)
        if "compile" in words:
            return self._compile(words, more["cwd"])
        return self._download(words)

    def _compile(self, words: list[str], cwd: Path) -> Done:
        lines = (cwd / words[words.index("compile") + 1]).read_text(encoding="utf-8").split("\n")[:-1]
        self.inputs.append(lines)
        if self.refuse:
            return Done(1, "", self.refuse)
        files = {**self.sdists, **self.wheels}
        known = {key.split("==")[0]: key for key in files}
        names = {re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines if " @ " not in line}
        if any(">" in line for line in lines) or not names <= set(known):
            return Done(1, "", "No solution found when resolving dependencies")
        text = "".join(
            f"{known[name]} \\\n    --hash=sha256:{sources.file_digest(files[known[name]])}\n    # via -r inputs-0.in\n"
            for name in sorted(names)
        )
        return Done(0, text, "")

    def _download(self, words: list[str]) -> Done:
        out = Path(words[words.index("--dest") + 1])
        source = self.sdists if "--no-binary" in words else self.wheels
        wanted = Path(words[words.index("-r") + 1]).read_text(encoding="utf-8").splitlines()
        for key in (line.split(" ")[0] for line in wanted):
            if key not in source:
                return Done(1, "", f"ERROR: No matching distribution found for {key}\n")
            (out / source[key].name).write_bytes(source[key].read_bytes())
        return Done(0, "", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    made = Index(tmp_path / "index")
    made.wheel("pip-26.3-py3-none-any.whl")
    made.wheel("gunicorn-27.0.1-py3-none-any.whl")
    made.wheel("flask-3.1.3-py3-none-any.whl")
    monkeypatch.setattr(fetch, "run", made.run)
    monkeypatch.setattr(indexes, "pip_config", dict)
    monkeypatch.setattr(fetch, "uv", lambda: ["uv"])
    monkeypatch.setattr(fetch, "pip", lambda: ("pip",))
    return made


def gather(tmp_path: Path, value: str = "flask==3.1.3", platform: Platform = BOOKWORM, **more: Any) -> Any:
    source = {"kind": "pip", "value": value, "lock": more.pop("lock", None)}
    return wheelhouse.gather(source, platform, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path, **more)


def test_a_set_is_the_locked_wheels_of_app_and_server(tmp_path: Path, index: Index) -> None:
    found = gather(tmp_path)
    assert found.distributions == {"flask": "3.1.3", "gunicorn": "27.0.1"}
    assert (found.app, found.app_version, found.pip.filename) == ("flask", "3.1.3", "pip-26.3-py3-none-any.whl")
    lock = _releases.parse_lock(found.lock_text)
    assert (lock.python, lock.machine, lock.pip.name) == ("3.11", "x86_64", "pip")
    assert found.id == _releases.release_id(found.lock_text)
    for item in found.files:
        assert sources.file_digest(Path(item.path)) == item.sha256 == Path(item.path).parent.name
    assert index.inputs[0] == ["flask==3.1.3", "gunicorn==27.0.1"]
    compile_words = index.calls[0]
    assert compile_words[compile_words.index("--python-platform") + 1] == "x86_64-manylinux_2_36"
    assert "--generate-hashes" in compile_words
    download = index.calls[1]
    assert {"--require-hashes", "--no-deps", "manylinux_2_36_x86_64", "manylinux2014_x86_64"} <= set(download)


def fetched(index: Index) -> list[str]:
    """What was fetched as a wheel, call by call."""
    lines = [Path(words[words.index("-r") + 1]) for words in index.calls if "download" in words]
    return [path.name for path in lines]


def test_what_was_fetched_for_the_same_pins_is_not_fetched_again(tmp_path: Path, index: Index) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "app.py").write_text("import flask\n", encoding="utf-8")
    (app / "requirements.txt").write_text("flask==3.1.3\n", encoding="utf-8")

    def gathered(platform: Platform = BOOKWORM) -> Any:
        return wheelhouse.gather(
            {"kind": "path", "value": str(app)}, platform, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path
        )

    first, before = gathered(), len(fetched(index))
    (app / "app.py").write_text("import flask  # changed\n", encoding="utf-8")
    second = gathered()
    assert (first.id != second.id, first.wheels == second.wheels) == (True, True)
    assert len(fetched(index)) == before
    Path(second.wheels[0].path).write_bytes(b"damaged")
    (app / "app.py").write_text("import flask  # again\n", encoding="utf-8")
    assert gathered().wheels == first.wheels
    assert len(fetched(index)) == before + 1
    gathered(Platform("3.13.1", "x86_64", "glibc 2.41"))
    assert len(fetched(index)) > before + 1, "another platform may have other files"


def test_a_set_survives_as_plain_data(tmp_path: Path, index: Index) -> None:
    found = gather(tmp_path)
    assert wheelhouse.WheelSet.from_dict(found.to_dict()) == found


def test_what_was_gathered_is_not_asked_for_again(tmp_path: Path, index: Index) -> None:
    first = gather(tmp_path)
    asked = len(index.calls)
    assert gather(tmp_path) == first
    assert len(index.calls) == asked
    assert gather(tmp_path, refresh=True) == first
    assert len(index.calls) > asked


def test_a_cache_that_cannot_be_written(tmp_path: Path, index: Index) -> None:
    (tmp_path / "cache").write_text("in the way", encoding="utf-8")
    with pytest.raises(WheelhouseError) as caught:
        gather(tmp_path)
    assert str(caught.value) == f"source pip 'flask==3.1.3': {tmp_path}/cache/sets on the controller: Not a directory"


def test_threads_share_one_cache(tmp_path: Path, index: Index) -> None:
    platforms = [BOOKWORM, TRIXIE] * 8
    with ThreadPoolExecutor(len(platforms)) as pool:
        found = list(pool.map(lambda platform: gather(tmp_path, platform=platform), platforms))
    assert len({item.id for item in found}) == 2
    assert len([call for call in index.calls if "compile" in call]) == 4  # app and pip, for two platforms
    assert not [path for path in (tmp_path / "cache").rglob(".*") if path.is_file()]


def test_a_damaged_cache_is_gathered_again(tmp_path: Path, index: Index) -> None:
    first = gather(tmp_path)
    Path(first.wheels[0].path).write_text("damaged", encoding="utf-8")
    asked = len(index.calls)
    assert gather(tmp_path) == first
    assert len(index.calls) > asked
    assert sources.file_digest(Path(first.wheels[0].path)) == first.wheels[0].sha256


def test_another_python_is_another_release(tmp_path: Path, index: Index) -> None:
    one, two = gather(tmp_path), gather(tmp_path, platform=TRIXIE)
    assert one.id != two.id
    assert one.wheels == two.wheels


def test_a_conflict_names_its_cause(tmp_path: Path, index: Index) -> None:
    index.refuse = (
        "error: No solution found when resolving dependencies\n  cause: Because a==1 depends on g>=3 and b==2 depends "
        "on g<3, we can conclude that your requirements are unsatisfiable.\n"
    )
    with pytest.raises(wheelhouse.ResolutionConflict) as caught:
        gather(tmp_path)
    assert caught.value.cause == "a==1 needs g>=3, but b==2 needs g<3"
    assert not list((tmp_path / "cache/sets").glob("*.json"))


def test_a_source_is_built_here_once_when_it_is_pure(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.sdist("flasgger-0.9.7.1.tar.gz")
    built: list[str] = []

    def build(project: Path, out_dir: Path, what: str, environ: Any) -> Path:
        built.append(what)
        return make_wheel(out_dir, "flasgger-0.9.7.1-py3-none-any.whl")

    monkeypatch.setattr(sources, "build_wheel", build)
    for platform in (BOOKWORM, TRIXIE):
        found = gather(tmp_path, "flasgger==0.9.7.1", platform)
        assert found.distributions["flasgger"] == "0.9.7.1"
        assert found.needs_host_build == ()
    assert built == ["flasgger 0.9.7.1"]


def test_a_source_that_is_not_pure_is_left_to_a_host(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for filename in ("setuptools-84.0-py3-none-any.whl", "wheel-0.48-py3-none-any.whl"):
        index.wheel(filename)
    index.sdist("native-1.0.tar.gz")
    monkeypatch.setattr(
        sources, "build_wheel", lambda _, out, *__: make_wheel(out, "native-1.0-cp311-cp311-linux_x86_64.whl")
    )
    found = gather(tmp_path, "native==1.0")
    assert found.id == ""
    (build,) = found.needs_host_build
    assert build.sdist.filename == "native-1.0.tar.gz"
    assert [item.name for item in build.build_wheels] == ["setuptools", "wheel"]
    assert "native-1.0.tar.gz" not in {item.filename for item in found.files}

    made = make_wheel(tmp_path / "host", "native-1.0-cp311-cp311-linux_x86_64.whl")
    origin = {"host": "web1", "compiler": "cc 12"}
    with pytest.raises(wheelhouse.WheelMissing) as caught:
        wheelhouse.keep_built(tmp_path / "cache", TRIXIE, build.sdist, made, origin)
    assert str(caught.value) == (
        "wheel built on web1: native-1.0-cp311-cp311-linux_x86_64.whl is not for Python 3.13 on x86_64 with glibc "
        "2.41; build it for that platform, or give a source that can be built"
    )
    other = make_wheel(tmp_path / "host", "native-2.0-cp311-cp311-linux_x86_64.whl")
    with pytest.raises(wheelhouse.BuildFailed) as refused:
        wheelhouse.keep_built(tmp_path / "cache", BOOKWORM, build.sdist, other, origin)
    assert str(refused.value) == (
        "wheel built on web1: native-2.0-cp311-cp311-linux_x86_64.whl is not what native-1.0.tar.gz holds (native 1.0)"
    )
    wheelhouse.keep_built(tmp_path / "cache", BOOKWORM, build.sdist, made, origin)
    (kept,) = (tmp_path / "cache/built").glob("*.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["origin"] == {
        **origin,
        "platform": "cp311-x86_64-glibc2.36",
        "sdist": "native-1.0.tar.gz",
    }
    whole = gather(tmp_path, "native==1.0")
    assert whole.needs_host_build == ()
    assert whole.distributions["native"] == "1.0"
    monkeypatch.setattr(sources, "build_wheel", lambda *_: pytest.fail("it is known here that this is not pure"))
    assert gather(tmp_path, "native==1.0", TRIXIE).needs_host_build  # each platform builds its own
    pure = make_wheel(tmp_path / "host", "native-1.0-py3-none-any.whl")
    wheelhouse.keep_built(tmp_path / "cache", BOOKWORM, build.sdist, pure, origin)
    assert gather(tmp_path, "native==1.0", TRIXIE).needs_host_build == ()  # but a pure one counts for all


def test_an_older_version_that_has_a_wheel_is_taken_before_a_host_builds(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    for filename in ("setuptools-84.0-py3-none-any.whl", "wheel-0.48-py3-none-any.whl"):
        index.wheel(filename)
    index.sdist("native-2.0.tar.gz")
    monkeypatch.setattr(
        sources, "build_wheel", lambda _, out, *__: make_wheel(out, "native-2.0-cp311-cp311-linux_x86_64.whl")
    )
    compile_, asked = index._compile, []

    def compile_with_older(words: list[str], cwd: Path) -> Done:
        if "--only-binary" in words and "--resolution" not in words:
            asked.append(words[words.index("--only-binary") + 1])
            index.sdists.clear()
            index.wheel("native-1.0-cp311-cp311-manylinux2014_x86_64.whl")
        return compile_(words, cwd)

    monkeypatch.setattr(index, "_compile", compile_with_older)
    found = gather(tmp_path, "native")
    assert asked == ["native"]
    assert found.needs_host_build == ()
    assert found.distributions["native"] == "1.0"


def test_neither_wheel_nor_source(tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.wheel("other-1.0-py3-none-any.whl")
    download = index._download

    def without_other(words: list[str]) -> Done:
        index.wheels.pop("other==1.0", None)
        return download(words)

    monkeypatch.setattr(index, "_download", without_other)
    with pytest.raises(wheelhouse.WheelMissing) as caught:
        gather(tmp_path, "other==1.0")
    assert str(caught.value) == (
        "other 1.0: neither a wheel for Python 3.11 on x86_64 with glibc 2.36 nor a source; allow another version of it"
    )


def test_a_version_without_a_wheel_names_the_pythons_that_it_has_one_for(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.sdist("native-1.0.tar.gz")
    compiled = index._compile

    def with_wheels(words: list[str], cwd: Path) -> Done:
        python = words[words.index("--python-version") + 1]
        if "--only-binary" in words and python not in ("3.9", "3.10"):
            return Done(1, "", "No solution found when resolving dependencies")
        return compiled(words, cwd)

    monkeypatch.setattr(index, "_compile", with_wheels)
    fetching = fetch.Fetching(BOOKWORM, tmp_path / "cache")
    fetching.work = tmp_path / "work"
    fetching.work.mkdir()
    build = HostBuild(Wheel("native", "1.0", "native-1.0.tar.gz", "a" * 64, 1, "/cache/native-1.0.tar.gz"), ())
    assert fetching.with_newer(build).pythons == ("3.9", "3.10")


@pytest.mark.parametrize("named", ["app.lock", "uv.lock", ""])
def test_a_file_that_is_not_the_locked_one(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    said = (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. ...\n"
        "    flask==3.1.3 from https://files.example/a/flask-3.1.3-py3-none-any.whl#sha256=ab (from -r x.txt):\n"
    )
    monkeypatch.setattr(index, "_download", lambda words: Done(1, "", said))
    digest = "a" * 64
    text = f"flask==3.1.3 --hash=sha256:{digest}\n"
    if named == "uv.lock":
        text = (
            '[[package]]\nname = "flask"\nversion = "3.1.3"\nsource = {registry = "x"}\n'
            f'wheels = [{{url = "https://x/flask-3.1.3-py3-none-any.whl", hash = "sha256:{digest}"}}]\n'
        )
    if named:
        (tmp_path / named).write_text(text, encoding="utf-8")
    who = named or "the index"
    fix = {"uv.lock": "make it again with `uv lock` where", "app.lock": "make it again where", "": "find out which of"}
    with pytest.raises(wheelhouse.BadLock) as caught:
        gather(tmp_path, "flask", lock=named or None)
    assert str(caught.value).startswith(
        f"flask==3.1.3 (flask-3.1.3-py3-none-any.whl) is not the file that {who} names: its hash differs; {fix[named]}"
    )


@pytest.mark.parametrize("kind", ["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"])
def test_nobody_changed_a_file_that_the_lock_does_not_name(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    said = (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. ...\n"
        "    flask==3.1.3 from https://x/flask-3.1.3-cp311-cp311-linux_x86_64.whl#sha256=ab (from -r x):\n"
    )
    monkeypatch.setattr(index, "_download", lambda words: Done(1, "", said))
    digest, other = "a" * 64, "flask-3.1.3-cp314-cp314-linux_x86_64.whl"
    head = 'name = "flask"\nversion = "3.1.3"\n'
    of_uv = f'source = {{registry = "x"}}\nwheels = [{{url = "https://x/{other}", hash = "sha256:{digest}"}}]\n'
    text = {
        "uv.lock": f"[[package]]\n{head}{of_uv}",
        "poetry.lock": f'[[package]]\n{head}files = [{{file = "{other}", hash = "sha256:{digest}"}}]\n',
        "pdm.lock": f'[[package]]\n{head}files = [{{url = "https://x/{other}", hash = "sha256:{digest}"}}]\n',
        "pylock.toml": f'[[packages]]\n{head}wheels = [{{name = "{other}", hashes = {{sha256 = "{digest}"}}}}]\n',
    }
    (tmp_path / kind).write_text(text[kind], encoding="utf-8")
    with pytest.raises(wheelhouse.BadLock) as caught:
        gather(tmp_path, "flask", lock=kind)
    assert f"{kind} names no such file, but {other}: it was made for other Pythons" in str(caught.value)
    assert "headcount_python" in str(caught.value)
    assert "changed" not in str(caught.value)


def test_a_lock_decides_versions_and_hashes(tmp_path: Path, index: Index) -> None:
    digest = sources.file_digest(index.wheels["flask==3.1.3"])
    (tmp_path / "app.lock").write_text(f"flask==3.1.3 --hash=sha256:{digest}\n", encoding="utf-8")
    found = gather(tmp_path, "flask", lock="app.lock")
    assert index.inputs[0] == ["flask", "flask==3.1.3", "gunicorn==27.0.1"]
    assert found.distributions == {"flask": "3.1.3", "gunicorn": "27.0.1"}
    (tmp_path / "app.lock").write_text(f"other==1 --hash=sha256:{digest}\n", encoding="utf-8")
    with pytest.raises(wheelhouse.BadLock) as caught:
        gather(tmp_path, "flask", lock="app.lock")
    assert str(caught.value) == "app.lock: flask itself is not in the lock; make the lock from 'flask'"


def test_a_wheel_for_another_python(tmp_path: Path, index: Index) -> None:
    make_wheel(tmp_path, "shop-1.0-cp39-cp39-manylinux2014_x86_64.whl")
    source = {"kind": "wheel", "value": "shop-1.0-cp39-cp39-manylinux2014_x86_64.whl"}
    with pytest.raises(wheelhouse.WheelMissing, match=r"is not for Python 3\.11 on x86_64 with glibc 2\.36; build it"):
        wheelhouse.gather(source, BOOKWORM, [], tmp_path / "cache", tmp_path)


def test_only_what_a_host_lacks_is_packed(tmp_path: Path, index: Index) -> None:
    found = gather(tmp_path)
    assert {item.filename for item in wheelhouse.missing(found, set())} == {item.filename for item in found.files}
    lacking = wheelhouse.missing(found, {found.pip.sha256, found.wheels[0].sha256})
    assert [item.name for item in lacking] == ["gunicorn"]
    one = wheelhouse.pack(found.files, tmp_path / "one.tar")
    two = wheelhouse.pack(reversed(found.files), tmp_path / "two.tar")
    assert one.read_bytes() == two.read_bytes()
    assert sorted(_releases.unpack(str(one), str(tmp_path / "host"))) == sorted(item.sha256 for item in found.files)
    assert wheelhouse.missing(found, _releasefiles.present(str(tmp_path / "host"))) == ()


@pytest.mark.parametrize(
    ("platform", "uv_name", "first", "accepts", "refuses"),
    [
        (
            BOOKWORM,
            "x86_64-manylinux_2_36",
            "manylinux_2_36_x86_64",
            "cp311-cp311-manylinux_2_28_x86_64",
            "cp312-abi3-any",
        ),
        (
            TRIXIE,
            "x86_64-manylinux_2_40",
            "manylinux_2_41_x86_64",
            "cp39-abi3-manylinux1_x86_64",
            "cp311-cp311-linux_x86_64",
        ),
        (
            Platform("3.9", "aarch64", "glibc 2.31"),
            "aarch64-manylinux_2_31",
            "manylinux_2_31_aarch64",
            "py3-none-any",
            "cp39-cp39-manylinux_2_34_aarch64",
        ),
        (
            Platform("3.12", "x86_64", "glibc 2.30"),
            "x86_64-manylinux_2_28",
            "manylinux_2_30_x86_64",
            "py3-none-any",
            "py2-none-any",
        ),
        (
            Platform("3.12", "x86_64", "musl 1.2"),
            "x86_64-unknown-linux-musl",
            "musllinux_1_2_x86_64",
            "cp312-cp312-musllinux_1_1_x86_64",
            "cp312-cp312-manylinux2014_x86_64",
        ),
    ],
)
def test_platforms(platform: Platform, uv_name: str, first: str, accepts: str, refuses: str) -> None:
    assert platform.uv_platform() == uv_name
    assert platform.tags()[0] == first
    assert platform.accepts(parse_tag(accepts))
    assert not platform.accepts(parse_tag(refuses))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("2.7", "x86_64", "glibc 2.36"), "Python '2.7' of the host is not understood: 3.9 or later is needed"),
        (("3.11", "s390x", "glibc 2.36"), "machine 's390x' of the host is not supported: x86_64 or aarch64"),
        (("3.11", "x86_64", "?"), "C library '?' of the host is not understood: 'glibc 2.36' or 'musl 1.2'"),
    ],
)
def test_hosts_that_are_not_supported(words: tuple[str, str, str], message: str) -> None:
    with pytest.raises(WheelhouseError) as caught:
        Platform(*words)
    assert str(caught.value) == message


def test_a_platform_comes_from_host_facts() -> None:
    facts = {"python": {"version": "3.11"}, "platform": {"machine": "x86_64", "libc": "glibc 2.36"}}
    assert Platform.from_facts(facts) == BOOKWORM


# -- what a project declares ------------------------------------------------------------------------------------------


def app_folder(folder: Path, dependencies: str, more: str = "", name: str = "shop") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = f'[project]\nname = "{name}"\nversion = "1.0"\ndependencies = [{dependencies}]\n{more}'
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def built(index: Index, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Builds a project as its pyproject.toml says, without a build backend, which drops where things come from."""
    made: list[str] = []

    def build(project: Path, out_dir: Path, what: str, environ: Any) -> Path:
        text = (project / "pyproject.toml").read_text(encoding="utf-8")
        name = re.findall(r'name = "([^"]+)"', text)[0]
        needs = re.findall(r'"([^"]+)"', re.findall(r"(?m)^dependencies = \[(.*)\]$", text)[0])
        made.append(name)
        path = out_dir / f"{name}-1.0-py3-none-any.whl"
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + "".join(f"Requires-Dist: {x}\n" for x in needs)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}-1.0.dist-info/METADATA", head + "\nRequires-Dist: of-the-description\n")
            archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
        return path

    monkeypatch.setattr(sources, "build_wheel", build)
    return made


def gather_folder(tmp_path: Path, folder: Path, platform: Platform = BOOKWORM) -> Any:
    source = {"kind": "path", "value": str(folder)}
    return wheelhouse.gather(source, platform, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path)


def test_pins_without_hashes_beside_a_project_are_honoured(tmp_path: Path, index: Index, built: list[str]) -> None:
    folder = app_folder(tmp_path / "app", '"flask>=2"')
    (folder / "requirements.txt").write_text("flask==3.1.3\n", encoding="utf-8")
    found = gather_folder(tmp_path, folder)
    assert index.inputs[0][1:] == ["flask==3.1.3", "gunicorn==27.0.1"]
    limits = index.calls[0][index.calls[0].index("--constraint") + 1]
    assert Path(limits).name == "constraint-0.txt"
    assert found.distributions == {"shop": "1.0", "flask": "3.1.3", "gunicorn": "27.0.1"}


def test_the_projects_own_gunicorn_gives_way_and_that_is_told(tmp_path: Path, index: Index, built: list[str]) -> None:
    folder = app_folder(tmp_path / "app", '"flask>=2"')
    (folder / "requirements.txt").write_text("flask==3.1.3\ngunicorn==21.2.0\n", encoding="utf-8")
    found = gather_folder(tmp_path, folder)
    assert index.inputs[0][1:] == ["flask==3.1.3", "gunicorn==27.0.1"]
    assert [note.partition("requirements.txt")[1:] for note in found.notes] == [
        (
            "requirements.txt",
            ", line 2: gunicorn==21.2.0 gives way to gunicorn 27.0.1, which the plan needs; settings.gunicorn_version "
            "decides which Gunicorn it is",
        )
    ]


def test_a_member_of_the_workspace_is_built_and_not_looked_up(tmp_path: Path, index: Index, built: list[str]) -> None:
    (tmp_path / "mono").mkdir()
    (tmp_path / "mono/pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["*/*"]\n', encoding="utf-8")
    app_folder(tmp_path / "mono/packages/six", "", name="six")
    shop = app_folder(
        tmp_path / "mono/services/shop", '"flask", "six"', "[tool.uv.sources]\nsix = {workspace = true}\n"
    )
    index.wheel("six-1.17.0-py3-none-any.whl")  # the public one
    found = gather_folder(tmp_path, shop)
    assert found.distributions["six"] == "1.0"
    assert built == ["shop", "six"]
    overrides = index.calls[0][index.calls[0].index("--override") + 1]
    assert Path(overrides).name == "override-0.txt"
    assert not [line for line in index.inputs[0] if line.startswith("six") and "@ file://" not in line]


def test_a_requirement_of_a_repository_is_built_at_its_commit(
    tmp_path: Path, index: Index, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def checkout(source: Any, commit: str, cache: Path, target: Path) -> None:
        seen.append((source.value, commit))
        app_folder(target, "", name="shoplib")

    monkeypatch.setattr(sources, "checkout", checkout)
    commit = "0a" * 20
    folder = app_folder(tmp_path / "app", '"flask"')
    compile_ = index._compile

    def compile_with_git(words: list[str], cwd: Path) -> Done:
        known = "--override" in words and "shoplib" in Path(words[words.index("--override") + 1]).read_text("utf-8")
        done = compile_(words, cwd)
        more = "" if known or len(index.inputs) > 2 else f"shoplib @ git+https://h.example/s.git@{commit}\n"
        return Done(0, more + done.stdout, "")

    monkeypatch.setattr(index, "_compile", compile_with_git)
    found = gather_folder(tmp_path, folder)
    assert seen == [("https://h.example/s.git", commit)]
    assert found.distributions["shoplib"] == "1.0"
    assert built == ["shop", "shoplib"]


def scripted(index: Index, monkeypatch: pytest.MonkeyPatch, direct: bool) -> list[list[str]]:
    """An index whose newest `native` has no wheel, and whose older one comes with an older `frame`."""
    for filename in ("setuptools-84.0-py3-none-any.whl", "wheel-0.48-py3-none-any.whl", "frame-3.0-py3-none-any.whl"):
        index.wheel(filename)
    index.wheel("frame-1.0-py3-none-any.whl")
    index.wheel("native-1.0-cp311-cp311-manylinux2014_x86_64.whl")
    index.sdist("native-2.0.tar.gz")
    asked: list[list[str]] = []
    compile_ = index._compile

    def line(key: str, owner: str) -> str:
        path = {**index.sdists, **index.wheels}[key]
        return f"{key} \\\n    --hash=sha256:{sources.file_digest(path)}\n    # via {owner}\n"

    def compiled(words: list[str], cwd: Path) -> Done:
        done = compile_(words, cwd)
        if not any("shop @" in text for text in index.inputs[-1]):
            return done
        bare = [words[at + 1] for at, word in enumerate(words) if word == "--only-binary"]
        asked.append(bare)
        limits = Path(words[words.index("--constraint") + 1]).read_text("utf-8") if "--constraint" in words else ""
        old = bool(bare) and "frame==3.0" not in limits
        if bare and not old:
            return Done(1, "", "error: No solution found when resolving dependencies\n  cause: native needs frame<2\n")
        both = [("frame==1.0", "shop" if direct else "other"), ("native==1.0", "other")]
        new = [("frame==3.0", "shop" if direct else "other"), ("native==2.0", "other")]
        return Done(0, "".join(line(*item) for item in (both if old else new)) + line("gunicorn==27.0.1", "x"), "")

    monkeypatch.setattr(index, "_compile", compiled)
    monkeypatch.setattr(
        sources, "build_wheel", lambda project, out, what, environ: make_wheel(
            out, "native-2.0-cp311-cp311-linux_x86_64.whl" if "native" in what else "shop-1.0-py3-none-any.whl"
        ),
    )  # fmt: skip
    return asked


def test_what_the_project_asks_for_is_never_lowered_to_get_a_wheel(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scripted(index, monkeypatch, direct=True)
    found = gather_folder(tmp_path, app_folder(tmp_path / "app", '"frame"'))
    assert asked == [[], ["native"]]
    assert [build.sdist.filename for build in found.needs_host_build] == ["native-2.0.tar.gz"]
    assert found.distributions["frame"] == "3.0"


def test_what_others_need_may_be_lowered_and_is_told(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(index, monkeypatch, direct=False)
    found = gather_folder(tmp_path, app_folder(tmp_path / "app", '"other"'))
    assert found.needs_host_build == ()
    assert (found.distributions["frame"], found.distributions["native"]) == ("1.0", "1.0")
    (note,) = found.notes
    assert "there is no wheel of native for Python 3.11 on x86_64" in note
    assert "frame 1.0 instead of 3.0, native 1.0 instead of 2.0" in note
    assert wheelhouse.WheelSet.from_dict(found.to_dict()).notes == found.notes


def test_the_cache_is_its_owners_alone(tmp_path: Path, index: Index) -> None:
    (tmp_path / "cache").mkdir(mode=0o755)
    gather(tmp_path)
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
