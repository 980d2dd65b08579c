# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which files of a project are shipped, in checkouts of git's and in plain folders."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._source import project
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import files, sources
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import BadSource, Done

KEY = "-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n"


def write(folder: Path, *names: str, text: str = "x\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def git(folder: Path, *words: str) -> None:
    setting = ["-c", "user.name=x", "-c", "user.email=x@y", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", *setting, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "app", "shop/__init__.py")
    write(tmp_path / "app", "pyproject.toml", text='[project]\nname = "shop"\nversion = "1"\n')
    return tmp_path / "app"


@pytest.fixture
def checkout(folder: Path) -> Path:
    git(folder, "init", "--quiet")
    write(folder, ".gitignore", text="local_settings.py\n.env\n*.db\ninstance/\nshop/static/dist/\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "x")
    return folder


def names(folder: Path, *include: str) -> set[str]:
    return set(files.shipped(folder, include, "source path 'app'").names) - {
        "pyproject.toml", "shop/__init__.py", ".gitignore"
    }  # fmt: skip


def notes(folder: Path, *include: str) -> str:
    return "\n".join(files.shipped(folder, include, "source path 'app'").notes)


def test_what_git_ignores_is_not_shipped_and_makes_no_other_source(checkout: Path) -> None:
    before = sources.source_identity({"kind": "path", "value": str(checkout)}, "/")
    write(checkout, ".env", "shop/.env", "local_settings.py", "dev.db", "instance/shop.sqlite")
    assert names(checkout) == set()
    assert sources.source_identity({"kind": "path", "value": str(checkout)}, "/") == before
    sources.copy_project(checkout, checkout.parent / "copy")
    assert not [path for path in (checkout.parent / "copy").rglob("*") if path.name in (".env", "dev.db")]


def test_what_git_ignores_of_a_project_of_poetry_is_not_shipped_before_its_first_commit(folder: Path) -> None:
    """Its build would ask git, which its copy does not have."""
    write(folder, "pyproject.toml", text='[tool.poetry]\nname = "shop"\nversion = "1"\n[build-system]\nrequires = []\n')
    write(folder, ".gitignore", text=".env\nlocal_settings.py\ndev.db\n")
    git(folder, "init", "--quiet")
    assert project.form_of(folder).kind == project.PACKAGE
    before = sources.source_identity({"kind": "path", "value": str(folder)}, "/")
    write(folder, ".env", "local_settings.py", "shop/local_settings.py", "shop/dev.db")
    assert names(folder) == set()
    assert sources.source_identity({"kind": "path", "value": str(folder)}, "/") == before
    sources.copy_project(folder, folder.parent / "copy")
    copied = {str(path.relative_to(folder.parent / "copy")) for path in (folder.parent / "copy").rglob("*.*")}
    assert copied == {"pyproject.toml", ".gitignore", "shop/__init__.py"}


def test_what_is_new_and_not_ignored_is_shipped_unless_it_looks_like_a_secret(checkout: Path) -> None:
    write(checkout, "shop/new.py", "shop/ä b.py", ".env.production", "prod.sqlite3", "venv/pyvenv.cfg", "venv/x.py")
    write(checkout, "env3/pyvenv.cfg", "env3/lib/y.py", "build/lib/shop.py", ".env.example", "dist/shop.whl")
    assert names(checkout) == {"shop/new.py", "shop/ä b.py", ".env.example"}
    assert "not shipped, because by its name" in notes(checkout)
    assert ".env.production, env3/, prod.sqlite3" in notes(checkout)


def test_what_is_tracked_is_shipped_and_told(checkout: Path) -> None:
    write(checkout, ".env", "dist/app.js", "shop/geo.sqlite")
    git(checkout, "add", "--force", ".env", "dist/app.js", "shop/geo.sqlite")
    assert names(checkout) == {".env", "dist/app.js", "shop/geo.sqlite"}
    assert notes(checkout) == (
        "source path 'app': shipped, because git tracks it, although by its name it is a secret or data: .env, "
        "shop/geo.sqlite; `git rm --cached` takes it out of the project"
    )


def test_what_was_deleted_and_not_committed_is_no_error(checkout: Path) -> None:
    (checkout / "shop/__init__.py").unlink()
    assert "shop/__init__.py" not in files.shipped(checkout).names


def test_a_folder_of_a_checkout_counts_the_ignore_files_above_it(checkout: Path) -> None:
    write(checkout, "services/shop/pyproject.toml", "services/shop/.env", "services/shop/a.db", "services/shop/b.py")
    assert set(files.shipped(checkout / "services/shop").names) == {"pyproject.toml", "b.py"}


def test_a_folder_that_the_checkout_around_it_ignores_is_a_project_of_its_own(checkout: Path) -> None:
    write(checkout, "instance/other/pyproject.toml", "instance/other/.env", "instance/other/b.py")
    assert set(files.shipped(checkout / "instance/other").names) == {"pyproject.toml", "b.py"}


def test_submodules_nested_repositories_and_worktrees(checkout: Path, tmp_path: Path) -> None:
    write(tmp_path / "lib", "lib.py", ".gitignore", "secret.txt")
    (tmp_path / "lib/.gitignore").write_text("secret.txt\n", encoding="utf-8")
    git(tmp_path / "lib", "init", "--quiet")
    git(tmp_path / "lib", "add", ".")
    git(tmp_path / "lib", "commit", "--quiet", "-m", "x")
    git(checkout, "submodule", "--quiet", "add", str(tmp_path / "lib"), "shop/lib")
    write(checkout, "shop/lib/secret.txt", "shop/lib/new.py")
    git(checkout, "clone", "--quiet", str(tmp_path / "lib"), "nested")
    git(checkout, "worktree", "add", "--quiet", "tree")
    inner = {".gitmodules", "shop/lib/.gitignore", "shop/lib/lib.py", "shop/lib/new.py"}
    assert names(checkout) == inner | {"nested/.gitignore", "nested/lib.py"}
    write(checkout / "tree", ".env", "new.py")
    assert set(files.shipped(checkout / "tree").names) >= {"new.py", "shop/__init__.py"}
    assert ".env" not in files.shipped(checkout / "tree").names
    git(checkout, "submodule", "--quiet", "deinit", "--force", "shop/lib")
    assert "shop/lib/lib.py" not in files.shipped(checkout).names
    assert "the submodule shop/lib is not checked out and is not shipped" in notes(checkout)


def test_links_bring_nothing_that_git_would_not_give(checkout: Path, tmp_path: Path) -> None:
    write(checkout, ".env", "services/shop/pyproject.toml", "LICENSE")
    write(tmp_path, "elsewhere.py")
    shop = checkout / "services/shop"
    (shop / "config.py").symlink_to("../../.env")
    (shop / "LICENSE").symlink_to("../../LICENSE")
    (shop / "outside.py").symlink_to(tmp_path / "elsewhere.py")
    (shop / "nowhere.py").symlink_to("gone")
    git(checkout, "add", ".")
    assert set(files.shipped(shop).names) == {"pyproject.toml", "LICENSE"}
    assert "config.py is a link to" in notes(shop)
    assert "which git ignores: it is not shipped" in notes(shop)
    assert "elsewhere.py, which is not in the checkout: it is not shipped" in notes(shop)
    (checkout / "shop/again").symlink_to("../services")
    assert "shop/again" in files.shipped(checkout).names
    sources.copy_project(checkout, tmp_path / "copy")
    assert (tmp_path / "copy/shop/again/shop/LICENSE").is_file()
    before = sources.source_identity({"kind": "path", "value": str(checkout)}, "/")
    (checkout / "shop/again").unlink()
    (checkout / "shop/again").symlink_to("../services/shop")
    assert sources.source_identity({"kind": "path", "value": str(checkout)}, "/") != before
    (checkout / "shop/assets").symlink_to(tmp_path)
    with pytest.raises(BadSource, match="shop/assets is a link to a folder"):
        files.shipped(checkout)


def test_built_assets_are_declared(checkout: Path) -> None:
    write(checkout, "shop/static/dist/app.js", "shop/static/dist/img/a.svg", "shop/static/dist/node_modules/x.js")
    assert names(checkout) == set()
    assert "git ignores this, so it is not shipped: shop/static/dist/" in notes(checkout)
    assert "source.include: ['shop/static/dist']" in notes(checkout)
    both = {"shop/static/dist/app.js", "shop/static/dist/img/a.svg"}
    assert both <= names(checkout, "shop/static/dist")
    assert both <= names(checkout, "shop/**/dist/**")
    assert notes(checkout, "shop/static/dist") == ""
    with pytest.raises(BadSource) as caught:
        names(checkout, "shop/static/build/*")
    assert str(caught.value) == (
        f"source path 'app': source.include 'shop/static/build/*' matches no file in {checkout}: build or copy it "
        "first, or correct the pattern"
    )


def test_git_that_refuses_is_told(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "fatal: detected dubious ownership in repository at '/srv/app'\nTo add an exception for this directory, call:\n"
        "\tgit config --global --add safe.directory /srv/app\n"
    )
    monkeypatch.setattr(files, "run", lambda *_, **__: Done(128, "", said))
    with pytest.raises(BadSource) as caught:
        files.shipped(checkout, (), "source path 'app'")
    assert "belongs to another user" in str(caught.value)
    assert "`git config --global --add safe.directory /srv/app`" in str(caught.value)
    monkeypatch.setattr(files, "run", lambda *_, **__: Done(128, "", "fatal: index file corrupt\n"))
    with pytest.raises(BadSource, match=r"git cannot read this checkout \(fatal: index file corrupt\)"):
        files.shipped(checkout)


def test_a_checkout_whose_repository_is_gone_is_no_plain_folder(folder: Path) -> None:
    write(folder, ".git", text="gitdir: /nowhere/.git/worktrees/app\n")
    with pytest.raises(BadSource, match="git cannot read this checkout"):
        files.shipped(folder)


def test_a_hook_of_another_repository_does_not_lead_git_away(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    write(checkout, ".env")
    assert names(checkout) == set()


def test_a_plain_folder_lacks_what_never_is_shipped(folder: Path) -> None:
    write(folder, ".env", "shop/.env.local", "dev.db", "instance/config.py", "deploy.key", "shop/app.log")
    write(folder, "env/pyvenv.cfg", "env/bin/x.py", "shop/id_ed25519", ".ssh/config")
    write(folder, "shop/server.pem", text=KEY)
    write(folder, "shop/cacert.pem", text="-----BEGIN CERTIFICATE-----\n")
    write(folder, ".env.example", ".env.sample", ".flaskenv", "shop/schema.sql", "shop/instance/__init__.py")
    kept = {".env.example", ".env.sample", ".flaskenv", "shop/schema.sql", "shop/instance/__init__.py"}
    assert names(folder) == kept | {"shop/cacert.pem"}
    told = notes(folder)
    assert told.startswith("source path 'app': not shipped, because by its name it is a secret, data or an environment")
    assert "env/" in told
    assert "source.include" in told
    assert ".env" in names(folder, ".env")
    assert "instance/config.py" in names(folder, "instance")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        (".npmrc", True),
        ("token.txt", True),
        ("github_token.txt", True),
        ("vault-password.txt", True),
        ("ansible_vault_pass", True),
        ("tokenizer.json", False),
        ("token.py", False),
        ("test_vault_password.py", False),
        ("password.html", False),
        (".npmrc.example", False),
        (".env", True),
        ("prod.env", True),
        (".ENV.Production", True),
        (".env.dist", False),
        ("sample.env", False),
        ("env.py", False),
        ("environment.yml", False),
        ("client_secret_42.json", True),
        ("package.json", False),
        ("a/.aws/config", True),
        ("data.sqlite3-wal", True),
        ("keys.py", False),
        ("id_rsa.bak", True),
        (".env~", True),
        ("prod.env.bak", True),
        ("secrets.yml", True),
        (".secrets.toml", True),
        ("secrets.py", False),
        ("production.tfvars", True),
        (".bash_history", True),
        ("schema.sql", False),
        ("app.py.orig", False),
    ],
)
def test_secrets_and_data_by_name(tmp_path: Path, name: str, secret: bool) -> None:
    write(tmp_path, name)
    assert files.looks_secret(name, tmp_path / name) is secret


def test_a_private_key_is_one_whatever_it_is_called(tmp_path: Path) -> None:
    write(tmp_path, "deploy_key", "cert.key.txt", "docs.md", "test_keys.py", text=KEY)
    write(tmp_path, "notes.txt", text=f"it begins with {KEY}")
    secret = {name for name in os.listdir(tmp_path) if files.looks_secret(name, tmp_path / name)}
    assert secret == {"deploy_key", "cert.key.txt"}


def test_a_link_of_a_plain_folder_brings_nothing_that_is_not_shipped_itself(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/passwords", "elsewhere/folder/x")
    write(folder, ".ssh/id_foo", ".aws/credentials", "instance/config.py", "real.txt", "data/x")
    links = {
        "stolen.txt": tmp_path / "elsewhere/passwords",
        "k.txt": ".ssh/id_foo",
        "creds.ini": ".aws/credentials",
        "conf.py": "instance/config.py",
        "cfg": "instance",
        "good.txt": "real.txt",
        "good": "data",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)
    assert names(folder) == {"real.txt", "data/x", "good.txt", "good"}
    said = notes(folder)
    for name in ("stolen.txt", "k.txt", "creds.ini", "conf.py", "cfg"):
        assert f"{name} is a link to " in said
    assert "stolen.txt" in names(folder, "stolen.txt")


def test_a_folder_that_became_a_link_is_the_link_alone(checkout: Path) -> None:
    write(checkout, "real/x", "a/x")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "-m", "x")
    (checkout / "a/x").unlink()
    (checkout / "a").rmdir()
    (checkout / "a").symlink_to("real")
    assert names(checkout) == {"real/x", "a"}


def test_a_link_to_a_folder_of_which_nothing_is_shipped_is_told(checkout: Path) -> None:
    write(checkout, "instance/x")
    (checkout / "seen").symlink_to("instance")
    assert names(checkout) == set()
    assert "seen is a link to " in notes(checkout)


def test_a_tracked_name_that_is_no_utf8_is_shipped(checkout: Path) -> None:
    name = os.fsdecode(b"m\xf6d.py")
    write(checkout, name)
    git(checkout, "add", ".")
    assert names(checkout) == {name}
