# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which accounts an app may run as."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import accounts, users
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.accounts import Account, in_sudoers, sudoers, unfit
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.users import ensure_user

NOLOGIN = "/usr/sbin/nologin"


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (Account("hc-shop", 998, NOLOGIN, ("hc-shop",)), None),
        (Account("www-data", 33, NOLOGIN, ("www-data",)), None),
        (Account("jenkins", 110, "/bin/bash", ("jenkins",), password=False), None),
        (Account("toor", 0, "/bin/bash", ("root",)), "it is root (user id 0)"),
        (Account("op", 990, NOLOGIN, ("op", "sudo")), "it is in the group sudo"),
        (Account("op", 990, NOLOGIN, ("op", "docker")), "it is in the group docker"),
        (Account("anna", 1000, "/bin/bash", ("anna",), password=True), "somebody can log in as it (with a password"),
        (Account("anna", 1000, "/bin/sh", ("anna",), keys=True), "somebody can log in as it (by SSH key"),
        (Account("ldap-anna", 20000, "/bin/zsh", ("staff",), password=None), "somebody can log in as it"),
        (Account("sftp", 1001, "/bin/false", ("sftp",), password=True, keys=True), None),
    ],
)
def test_accounts_that_an_app_may_run_as(account: Account, reason: str | None) -> None:
    said = unfit(account)
    assert said is None if reason is None else str(said).startswith(reason)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ("op ALL=(ALL) NOPASSWD: ALL", True),
        ("op  web1=(root) /usr/bin/systemctl", True),
        ("anna, op ALL=(ALL) ALL", True),
        ("%ops ALL=(ALL) ALL", True),
        ("#990 ALL=(ALL) ALL", True),
        ("User_Alias WEB = anna, op\nWEB ALL=(ALL) ALL", True),
        ("op \\\nALL=(ALL) ALL", True),
        ("# op ALL=(ALL) ALL", False),
        ("Defaults:op !requiretty", False),
        ("operator ALL=(ALL) ALL\nroot ALL=(op) ALL\n@includedir /etc/sudoers.d", False),
        ("User_Alias WEB = anna, op", False),
        ("Cmnd_Alias OP = /bin/op", False),
    ],
)
def test_rules_of_sudo(tmp_path: Path, rules: str, named: bool) -> None:
    (tmp_path / "etc/sudoers.d").mkdir(parents=True)
    (tmp_path / "etc/sudoers.d/ours").write_text(rules, encoding="utf-8")
    (tmp_path / "etc/sudoers.d/old.bak").write_text("op ALL=(ALL) ALL", encoding="utf-8")
    (tmp_path / "etc/sudoers").write_text("root ALL=(ALL:ALL) ALL\n", encoding="utf-8")
    account = Account("op", 990, NOLOGIN, ("op", "ops"))
    assert in_sudoers(account, sudoers(str(tmp_path))) is named


def test_the_words_name_the_account_and_the_fix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accounts, "find", lambda name, root: Account(name, 0, "/bin/sh"))
    assert accounts.account_problem("toor", declared=True, root=str(tmp_path)) == (
        "the account toor is no one for an app: it is root (user id 0); leave `user` out, and one is made for the app, "
        "or declare one without a login and without rights"
    )
    assert str(accounts.account_problem("hc-shop", declared=False, root=str(tmp_path))).endswith(
        "rename that account, or declare another `user`"
    )
    monkeypatch.setattr(accounts, "find", lambda name, root: None)
    assert accounts.account_problem("hc-shop", declared=False, root=str(tmp_path)) is None


def test_an_account_with_a_shell_was_not_made_for_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    locked = Account("hc-shop", 1001, "/bin/bash", ("hc-shop",), password=False)
    monkeypatch.setattr(accounts, "find", lambda name, root: locked)
    assert accounts.account_problem("hc-shop", declared=False, root=str(tmp_path)) == (
        "the account hc-shop is no one for an app: it was not made for the app: its shell is /bin/bash; "
        "where it was made for the app, `usermod --shell /usr/sbin/nologin hc-shop`; else rename "
        "that account, or declare another `user`"
    )
    assert accounts.account_problem("hc-shop", declared=True, root=str(tmp_path)) is None


def test_what_shadow_says(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    lines = ("anna:$y$j9T$x:1::", "locked:!$y$x:1::", "system:*:1::", "open::1::", "")
    (tmp_path / "etc/shadow").write_text("\n".join(lines), encoding="utf-8")
    found = {name: accounts._password(name, str(tmp_path)) for name in ("anna", "locked", "system", "open", "ldap")}
    assert found == {"anna": True, "locked": False, "system": False, "open": True, "ldap": None}


@pytest.mark.parametrize(
    ("user", "group", "asked"),
    [
        (False, False, ["useradd", "--system", "--user-group"]),
        (False, True, ["useradd", "--system", "--gid", "hc-shop"]),
        (True, False, ["groupadd", "--system", "hc-shop"]),
        (True, True, []),
    ],
)
def test_an_account_is_made_from_what_is_left_of_it(
    monkeypatch: pytest.MonkeyPatch, user: bool, group: bool, asked: list[str]
) -> None:
    monkeypatch.setattr(users, "has_user", lambda name: user)
    monkeypatch.setattr(users, "has_group", lambda name: group)
    said: list[str] = []

    def runner(command: Sequence[str], seconds: float) -> Completed:
        said.extend(command)
        return Completed(0, "", "")

    assert ensure_user("hc-shop", runner) is bool(asked)
    assert said[: len(asked)] == asked
