# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The unprivileged system user that an app runs as."""

from __future__ import annotations

import grp
import pwd

from .systemd import Runner, run


class UserError(Exception):
    """The user could not be made."""


def ensure_user(name: str, runner: Runner = run) -> bool:
    """Make the system user and group `name`, without a home and without a login. True when it was missing."""
    try:
        pwd.getpwnam(name)
        grp.getgrnam(name)
    except KeyError:
        pass
    else:
        return False
    done = runner(
        [
            "useradd",
            "--system",
            "--user-group",
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
    try:
        grp.getgrnam(name)
    except KeyError:
        pass
    else:
        return False
    done = runner(["groupadd", "--system", name], 30.0)
    if done.status:
        raise UserError(f"cannot make the system group {name}: {done.err.strip() or done.out.strip()}")
    return True
