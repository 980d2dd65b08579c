# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The folders of a host that an app uses beside its own (`data.outside`): whose they are, and whether it is let in.

Asked by the probe, which is sent to hosts, so it knows the declaration as plain values and imports little.
"""

from __future__ import annotations

import os
import pwd
from typing import Container, Iterable, Mapping

from .._os.accounts import has_user, owner
from .._os.files import as_mapping
from .._os.folders import Unsafe, hindrance
from .._os.paths import Layout
from .._os.rights import Who, closed_above, rules

Plain = Mapping[str, object]

NO_LOGIN = "/usr/sbin/nologin"


def outside_of(app: Plain) -> list[tuple[str, str]]:
    """Path and access ("read" or "write") of each of `data.outside`."""
    folders = as_mapping(app.get("data")).get("outside") or ()
    return [(str(folder["path"]), str(folder.get("access", "write"))) for folder in folders]


def shut_out(layout: Layout, app: Plain, made: bool = True, told: Container[str] = ()) -> list[str]:
    """Which folders outside do not let the app in, one sentence each, with the fix. Asked as the app's account.

    `made`: those that were missing have been made, and one that is missing still is told too. `told`: those that are
    told already.
    """
    user = str(app.get("user") or layout.user)
    there = [folder for folder in outside_of(app) if folder[0] not in told and (made or os.path.lexists(folder[0]))]
    return [words for words in (_shut_out(path, access == "write", user) for path, access in there) if words]


def _shut_out(path: str, writes: bool, user: str) -> str:
    if not os.path.isdir(path):
        what = "missing"
        if os.path.lexists(path):
            what = f"no folder: name the one that it is in ({os.path.dirname(path)}), or move it to one of its own"
        return f"data.outside: {path} is {what}"
    if may(path, user, os.R_OK | os.X_OK | (os.W_OK if writes else 0)):
        return ""
    whose = owner(path)
    rights = "rwX" if writes else "rX"
    lets = f"setfacl -R -m u:{user}:{rights} {path}; setfacl -R -d -m u:{user}:{rights} {path}"
    words = (
        f"data.outside: {user} may not {'write to' if writes else 'read'} {path}, which belongs to {whose}: let it in, "
        f"to what is there and to what comes, by access lists (`{lets}`), or by a group that has these rights there"
    )
    above = closed_above(path, Who.named(user))
    if above:
        words += f"; {above} has to let it pass too (`setfacl -m u:{user}:x {above}`)"
    if not has_user(user):
        words += f"; that account is to be there first (`useradd --system --no-create-home --shell {NO_LOGIN} {user}`)"
    if whose == "root":
        words += f"; where nobody else uses it, `chown {user}: {path}` gives it to the app"
    return words


def unmade(app: Plain, user: str) -> list[str]:
    """Which missing folders outside Headcount does not make for the account `user`, one sentence each, with the fix:
    they lie where an account without rights could have root make, or give away, another one."""
    missing = [path for path, access in outside_of(app) if access == "write" and not os.path.lexists(path)]
    found = []
    for path in missing:
        above = next((one for one in missing if path.startswith(f"{one}/")), None)
        hinders = hindrance(path)
        if above is not None:
            found.append(
                f"data.outside: {path} is missing, and lies in {above}, which is made for the app: leave it out, and "
                "have the app make it"
            )
        elif hinders is not None:
            found.append(unmade_words(path, hinders, user))
    return found


def unmade_words(path: str, hinders: Unsafe, user: str) -> str:
    """That the missing folder `path` is not made, and why, in a sentence with the fix."""
    words = f"data.outside: {path} is missing, and root makes no folder there, as {hinders}"
    if not hinders.owner:
        return f"{words}: name another place, or make it by hand"
    make = f"make it as that account (`runuser -u {hinders.owner} -- mkdir -p {path}`)"
    return f"{words}: {make}" + ("" if hinders.owner == user else f" and let {user} in, or name another place")


def of_another_app(layout: Layout, app: Plain, apps: Iterable[str]) -> list[str]:
    """Which folders outside lead into what Headcount keeps of another one of `apps`, one sentence
    each: by a link, for what is written so is refused before."""
    found = []
    for folder, _ in outside_of(app):
        real = os.path.realpath(folder)
        for name in apps:
            other = Layout(name, layout.root)
            kept = [os.path.realpath(path) for path in (other.data, other.cache, other.logs, other.home, other.state)]
            if name != layout.app and any(real == path or real.startswith(f"{path}/") for path in kept):
                found.append(
                    f"data.outside: {folder} leads to {real}, which is the app {name}'s: name a folder that both "
                    "are let into"
                )
    return found


def may(path: str, user: str, rights: int) -> bool:
    """Whether the account `user` has `rights` (os.R_OK, ...) on `path`, asked as that account; by modes and access
    lists where it is not there yet. True where nobody can be asked, without root."""
    if os.geteuid() != 0:
        return True
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        found, who = rules(os.path.realpath(path)), Who.named(user)
        return found is None or (found.allow(who, rights) and not closed_above(path, who))
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(os.getgrouplist(user, entry.pw_gid))
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
            os._exit(0 if os.access(path, rights) else 1)
        finally:
            os._exit(2)
    return os.waitpid(child, 0)[1] == 0
