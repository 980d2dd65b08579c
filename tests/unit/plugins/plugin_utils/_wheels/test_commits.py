# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project takes from a branch, with the real uv, pip and git: its commit is decided once and kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.gathering import form_words
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import wheelhouse
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import WheelSet
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadSource, BuildFailed
from test_gathering_offline import BOOKWORM, gather, git, inside, links, project, tree

__all__ = ["links"]
TRIXIE = wheelhouse.Platform("3.13", "x86_64", "glibc 2.41")


def commit(remote: Path, name: str) -> str:
    """Another file in the repository; its commit."""
    (remote / name).write_text("", encoding="utf-8")
    git(remote, "add", ".")
    git(remote, "commit", "--quiet", "-m", name)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=remote, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def remote(tmp_path: Path, links: Path) -> Path:
    found = project(tmp_path / "remote", "shoplib")
    git(found, "init", "--quiet", "--initial-branch", "main")
    commit(found, "first.py")
    return found


def app_of(tmp_path: Path, line: str) -> Path:
    return tree(tmp_path / "app", {"requirements.txt": f"six==1.17.0\n{line}\n"})


def change(app: Path, text: str) -> None:
    (app / "app.py").write_text(f"# {text}\n", encoding="utf-8")


def has(found: WheelSet, name: str) -> bool:
    return any(item.endswith(name) for item in inside(found, "shoplib"))


WAYS = ["@main", "", "@v1"]


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_page_brings_no_other_commit_of_a_branch(tmp_path: Path, remote: Path, way: str) -> None:
    git(remote, "tag", "v1")
    app = app_of(tmp_path, f"shoplib @ git+file://{remote}{way}")
    first = gather(tmp_path, app)
    commit(remote, "second.py")
    git(remote, "tag", "--force", "v1")
    change(app, "another page")
    later = gather(tmp_path, app)
    assert later.id != first.id
    assert [wheel.sha256 for wheel in later.wheels] == [wheel.sha256 for wheel in first.wheels]
    assert later.notes == ()
    other = wheelhouse.gather(
        {"kind": "path", "value": str(app)}, TRIXIE, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path
    )
    assert not has(other, "second.py")


def test_the_commit_is_shown_with_the_file_that_it_is_kept_in(tmp_path: Path, remote: Path) -> None:
    now = commit(remote, "second.py")
    found = gather(tmp_path, app_of(tmp_path, f"shoplib @ git+file://{remote}@main"))
    assert f"shoplib @ git+file://{remote}@main at {now[:12]}" in form_words(found)
    assert found.commits_file in form_words(found)
    assert WheelSet.from_dict(found.to_dict()) == found


@pytest.mark.parametrize("whole", [True, False])
def test_what_was_kept_is_decided_anew_once_it_is_removed(tmp_path: Path, remote: Path, whole: bool) -> None:
    was = commit(remote, "second.py")
    app = app_of(tmp_path, f"shoplib @ git+file://{remote}@main")
    platforms = (BOOKWORM, TRIXIE)

    def gathered() -> list[WheelSet]:
        source = {"kind": "path", "value": str(app)}
        return [wheelhouse.gather(source, one, ["gunicorn==27.0.1"], tmp_path / "cache", tmp_path) for one in platforms]

    first = gathered()
    now = commit(remote, "third.py")
    assert [found.id for found in gathered()] == [found.id for found in first]
    kept = Path(first[0].commits_file)
    if whole:
        kept.unlink()
    else:
        kept.write_text("".join(line for line in kept.read_text().splitlines(True) if was not in line))
    found = gathered()
    assert all(has(one, "third.py") for one in found)  # also of the other platform, which was gathered before
    assert found[0].notes == (
        f"shoplib: commit {was} gives way to {now} (main of file://{remote}): what was kept of it was removed",
    )
    assert gathered()[0].notes == ()  # it is told by the run in which it happened


def test_another_line_decides_anew_and_names_both_commits(tmp_path: Path, remote: Path) -> None:
    was = commit(remote, "second.py")
    app = app_of(tmp_path, f"shoplib @ git+file://{remote}@main")
    gather(tmp_path, app)
    git(remote, "checkout", "--quiet", "-b", "next")
    now = commit(remote, "third.py")
    app_of(tmp_path, f"shoplib @ git+file://{remote}@next")
    found = gather(tmp_path, app)
    assert has(found, "third.py")
    (note,) = found.notes
    assert f"shoplib: commit {was} gives way to {now} (next of file://{remote}): it was asked for as" in note


def test_a_commit_in_the_line_needs_no_file(tmp_path: Path, remote: Path) -> None:
    exact = commit(remote, "second.py")
    found = gather(tmp_path, app_of(tmp_path, f"shoplib @ git+file://{remote}@{exact}"))
    assert (found.commits, found.commits_file) == ({}, "")
    assert not list((tmp_path / "cache/locks").glob("*.commits"))


def test_a_commit_that_cannot_be_built_is_not_kept(tmp_path: Path, remote: Path) -> None:
    whole = (remote / "backend.py").read_text(encoding="utf-8")
    (remote / "backend.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    commit(remote, "second.py")
    app = app_of(tmp_path, f"shoplib @ git+file://{remote}@main")
    with pytest.raises(BuildFailed):
        gather(tmp_path, app)
    (remote / "backend.py").write_text(whole, encoding="utf-8")
    commit(remote, "third.py")
    assert has(gather(tmp_path, app), "third.py")


def test_a_kept_commit_that_is_gone_is_refused_with_the_way_out(tmp_path: Path, remote: Path) -> None:
    app = app_of(tmp_path, f"shoplib @ git+file://{remote}@main")
    kept = Path(gather(tmp_path, app).commits_file)
    kept.write_text(kept.read_text().rpartition(" = ")[0] + f" = {'0' * 40}\n")
    with pytest.raises(BadSource, match=f"remove its line in {kept} to take what main of file://{remote} is now"):
        gather(tmp_path, app)


def test_a_branch_that_a_package_asks_for_is_kept_too(tmp_path: Path, remote: Path) -> None:
    app = project(tmp_path / "shop", "shop", f"'shoplib @ git+file://{remote}@main'")
    gather(tmp_path, app)
    commit(remote, "second.py")
    change(app, "another page")
    assert not has(gather(tmp_path, app), "second.py")
