# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Who may connect to a unix socket: by the mode and the access list of its file, and by the folders on the way to it.
Read only; nobody is asked (asuser asks)."""

from __future__ import annotations

import grp
import os
import stat
from dataclasses import dataclass, field
from typing import Dict, Tuple

from .rights import WRITE, Rules, Who, closed_above, rules


@dataclass(frozen=True)
class Reach:
    """Who connects to a socket whose file has `mode` ("0770"): everybody, or members of `groups` and those of `users`
    who are in none of these, each with the group that is its own; root always does."""

    mode: str
    everybody: bool = False
    groups: Tuple[str, ...] = ()
    users: Dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """Whom it lets in."""
        if self.everybody:
            return "everybody"
        found = [*(f"the group {name}" for name in self.groups), *self.users]
        return f"{' and '.join([', '.join(found[:-1]), found[-1]] if len(found) > 1 else found or ['root alone'])}"


def reach(path: str) -> Reach | None:
    """Who connects to the socket whose file is at `path`; None where there is none."""
    own = rules(path)
    if own is None:
        return None
    mode = f"{stat.S_IMODE(os.lstat(path).st_mode):04o}"
    if _comes(path, own, Who("")):
        return Reach(mode, True)
    on_the_way = [own, *_above(path)]
    gids = sorted({number for one in on_the_way for number in (one.gid, *one.groups)} - {0})
    uids = sorted({number for one in on_the_way for number in (one.uid, *one.users)} - {0})
    groups = {gid: _group(gid) for gid in gids if _comes(path, own, Who("", None, gid, frozenset({gid})))}
    users = [Who.named(str(uid)) for uid in uids]
    alone = [one for one in users if _comes(path, own, one) and not one.gids & set(groups)]
    return Reach(mode, False, tuple(groups.values()), {one.name: _group(one.gid) for one in alone})


def _above(path: str) -> list[Rules]:
    """Those of the folders on the way to a file."""
    found, folder = [], os.path.dirname(os.path.realpath(path))
    while folder != "/":
        found.append(rules(folder))
        folder = os.path.dirname(folder)
    return [one for one in found if one is not None]


def _comes(path: str, own: Rules, who: Who) -> bool:
    return own.allow(who, WRITE) and not closed_above(path, who)


def _group(gid: int | None) -> str:
    """The name of a group; its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name if gid is not None else ""
    except KeyError:
        return str(gid)
