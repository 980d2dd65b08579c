# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The unprivileged system user that an app runs as: made where it is missing."""

from __future__ import annotations

from .accounts import exists, has_group, has_user
from .systemd import Runner, run


class UserError(Exception):
    """The user could not be made."""


def ensure_user(name: str, runner: Runner = run) -> bool:
    """Make the system user and group `name`, without a home and without a login. True when it was missing."""
    if exists(name):
        return False
    if has_user(name):
        return ensure_group(name, runner)
    done = runner(
        [
            "useradd",
            "--system",
            # Its group may have stayed when the user went; useradd refuses to make it a second time.
            *(["--gid", name] if has_group(name) else ["--user-group"]),
            "--no-create-home",
            "--home-dir=/nonexistent",
            "--shell=/usr/sbin/nologin",
            "--comment=Headcount app",
            name,
        ],
        30.0,
    )
    if done.status:
        raise UserError(f"cannot make the system user {name}: {done.err.strip() or done.out.strip()}")
    return True


def ensure_group(name: str, runner: Runner = run) -> bool:
    """Make the system group `name`. True when it was missing. Raises UserError."""
    if has_group(name):
        return False
    done = runner(["groupadd", "--system", name], 30.0)
    if done.status:
        raise UserError(f"cannot make the system group {name}: {done.err.strip() or done.out.strip()}")
    return True
