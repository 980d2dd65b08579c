# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The accounts of a host: whose a file is, and why an account that is there already cannot be an app's."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
from dataclasses import dataclass
from typing import Iterable

from .groups import ROOT_LIKE
from .paths import under

_NO_LOGIN = ("nologin", "false", "true", "sync", "halt", "shutdown")
_KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")


@dataclass(frozen=True)
class Account:
    """An account of the host. `password`: one works, or none is asked for (None: the host does not tell)."""

    name: str
    uid: int
    shell: str
    groups: tuple[str, ...] = ()
    password: bool | None = False
    keys: bool = False

    @property
    def has_shell(self) -> bool:
        """Whether its shell lets somebody in; one made by ensure_user() never does."""
        return os.path.basename(self.shell) not in _NO_LOGIN

    @property
    def may_log_in(self) -> bool:
        """Whether somebody can come in as this account. In doubt, where its password is kept elsewhere, yes."""
        return self.has_shell and (self.keys or self.password is not False)


def find(name: str, root: str = "/") -> Account | None:
    """The account `name`, wherever the host has its accounts from; None where there is none."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    groups = []
    for group in os.getgrouplist(name, entry.pw_gid):
        with contextlib.suppress(KeyError):
            groups.append(grp.getgrgid(group).gr_name)
    keys = any(os.path.exists(under(root, os.path.join(entry.pw_dir, file))) for file in _KEYS)
    return Account(name, entry.pw_uid, entry.pw_shell, tuple(groups), _password(name, root), keys)


def _password(name: str, root: str) -> bool | None:
    try:
        with open(under(root, "/etc/shadow"), encoding="utf-8", errors="replace") as stream:
            for line in stream:
                fields = line.split(":")
                if fields[0] == name and len(fields) > 1:
                    return not fields[1].startswith(("!", "*"))
    except OSError:
        pass
    return None


def sudoers(root: str = "/") -> list[str]:
    """The lines of the host's sudoers files, continued ones joined; empty where they cannot be read."""
    folder = under(root, "/etc/sudoers.d")
    files = [under(root, "/etc/sudoers")]
    with contextlib.suppress(OSError):
        # Those that sudo reads: no dot, no tilde at the end.
        files += [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not re.search(r"\.|~$", name)]
    lines: list[str] = []
    for file in files:
        with contextlib.suppress(OSError), open(file, encoding="utf-8", errors="replace") as stream:
            lines += stream.read().replace("\\\n", " ").splitlines()
    return lines


def in_sudoers(account: Account, lines: Iterable[str]) -> bool:
    """Whether a rule of sudo names the account, one of its groups, or an alias that does."""
    names = {account.name, f"#{account.uid}", *(f"%{group}" for group in account.groups)}
    rules = []
    for line in lines:
        text = line.strip()
        alias = re.fullmatch(r"User_Alias\s+(\w+)\s*=\s*([^:]*)", text)
        if alias and names & {word.strip() for word in alias[2].split(",")}:
            names.add(alias[1])
        elif not re.match(r"#(?![0-9])|@|Defaults|\w+_Alias\b", text):
            rules.append(text.partition("=")[0])
    # In front of the "=": who, and on which hosts.
    return any(names & {word.strip() for word in re.split(r"[,\s]+", rule)[:-1] if word} for rule in rules)


def unfit(account: Account, lines: Iterable[str] = ()) -> str | None:
    """Why an app must not run as `account`, in words; None when it may. `lines`: of the host's sudoers files."""
    if account.uid == 0:
        return "it is root (user id 0)"
    strong = [group for group in account.groups if group in ROOT_LIKE]
    if strong:
        return f"it is in the group {strong[0]}, so that a fault of the app would be one of the host"
    if in_sudoers(account, lines):
        return "sudo lets it become another user"
    if account.may_log_in:
        how = "by SSH key" if account.keys else "with a password"
        return f"somebody can log in as it ({how}, shell {account.shell}) and would read the app's secrets"
    return None


def account_problem(name: str, declared: bool, root: str = "/") -> str | None:
    """Why the app cannot run as the account `name` that is on this host, and what to do; None when it can.

    An account that is not there is made, so it is no problem. `declared`: whether the inventory names it.
    """
    account = find(name, root)
    reason = unfit(account, sudoers(root)) if account is not None else None
    take = ""
    if account is not None and reason is None and not declared and account.has_shell:
        # Locked today, and one `passwd` or one key later somebody reads the app's secrets.
        reason = f"it was not made for the app: its shell is {account.shell}"
        take = f"where it was made for the app, `usermod --shell /usr/sbin/nologin {name}`; else "
    if reason is None:
        return None
    fix = (
        "leave `user` out, and one is made for the app, or declare one without a login and without rights"
        if declared
        else "rename that account, or declare another `user`"
    )
    return f"the account {name} is no one for an app: {reason}; {take}{fix}"


def has_user(name: str) -> bool:
    """Whether the host has the user `name`."""
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def has_group(name: str) -> bool:
    """Whether the host has the group `name`."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def exists(name: str, root: str = "/") -> bool:
    """Whether the host has the user and the group `name`. Below another `root` its files are asked, if it has any."""
    if root == "/":
        return has_user(name) and has_group(name)
    for file in ("/etc/passwd", "/etc/group"):
        with contextlib.suppress(OSError), open(under(root, file), encoding="utf-8") as stream:
            if not any(line.startswith(f"{name}:") for line in stream):
                return False
    return True


def owner(path: str) -> str:
    """The account that a file or folder belongs to; its number where no account has that. Empty where there is none."""
    try:
        number = os.lstat(path).st_uid
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
    except OSError:
        return ""
