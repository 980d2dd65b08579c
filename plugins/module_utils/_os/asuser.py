# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether other accounts of the host, such as a proxy's, reach a unix socket: it is asked as they would.

What may connect is decided by the modes of every folder on the way, by access lists and by what else the kernel heeds;
so it is tried, in a process of its own that has become that account, and nothing else is concluded from modes than
which folder it is.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

NOBODY = 65534
SECONDS = 10.0

_PROGRAM = """\
import json, socket, sys
path, request, seconds = json.loads(sys.argv[1])
found = {}
try:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(request.encode("latin-1"))
        found["answer"] = connection.recv(200).decode("latin-1").partition("\\r\\n")[0]
except OSError as error:
    found["error"] = error.errno or 0
    found["words"] = str(error)
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Account:
    """Who asks: `name` for people, and the ids of its user, group and further groups."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]


def members(group: str) -> list[Account]:
    """The accounts of a group; somebody who is in it and in no other, where it has none. KeyError: no such group."""
    entry = grp.getgrnam(group)
    users = [user for user in pwd.getpwall() if user.pw_gid == entry.gr_gid or user.pw_name in entry.gr_mem]
    accounts = [
        Account(user.pw_name, user.pw_uid, user.pw_gid, tuple(os.getgrouplist(user.pw_name, user.pw_gid)))
        for user in users
        if user.pw_uid
    ]
    return accounts or [Account(f"a member of {group}", NOBODY, entry.gr_gid, (entry.gr_gid,))]


def anybody() -> Account:
    """An account without any right of its own."""
    return Account("an account of its own", NOBODY, NOBODY, (NOBODY,))


Ask = Callable[[Account, str, str], "tuple[str, bool]"]


def ask_as(account: Account, path: str, request: str) -> tuple[str, bool]:
    """What came of sending `request` to the unix socket `path` as `account`: (why it was refused, whether it was).

    Refused is a connection that permissions do not allow. Everything else is none, whatever was answered: others look
    at answers. Needs root.
    """
    command = [sys.executable, "-I", "-c", _PROGRAM, json.dumps([path, request, SECONDS])]
    try:
        done = subprocess.run(
            command,
            capture_output=True, text=True, timeout=2 * SECONDS, check=False, cwd="/",
            user=account.uid, group=account.gid, extra_groups=list(account.groups),
        )  # fmt: skip
        found = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return "", False  # it could not be tried, so that nothing is known
    refused = found.get("error") in (1, 13)  # EPERM, EACCES
    return str(found.get("words", "")), refused


def shut_out(path: str, accounts: Sequence[Account], request: str, ask: Ask = ask_as) -> str:
    """Why none of `accounts` reaches the unix socket `path`, in words; empty where one does, or nobody can tell."""
    for account in accounts:
        words, refused = ask(account, path, request)
        if not refused:
            return ""
    names = ", ".join(account.name for account in accounts[:3])
    return f"{names} cannot connect to {path} ({words}){''.join(barriers(path, accounts[-1]))}"


def barriers(path: str, account: Account) -> Iterator[str]:
    """What is in the way of `account`, by modes: the first folder that it cannot pass, else the socket's file."""
    folders = [path]
    while os.path.dirname(folders[0]) != folders[0]:
        folders.insert(0, os.path.dirname(folders[0]))
    for place in folders:
        try:
            status = os.stat(place)
        except OSError:
            return
        wanted = 2 if place == path else 1
        if status.st_uid == account.uid:
            mode = status.st_mode >> 6
        elif status.st_gid in (account.gid, *account.groups):
            mode = status.st_mode >> 3
        else:
            mode = status.st_mode
        if not mode & wanted:
            what = "the socket's file" if place == path else place
            yield f": {what} belongs to {_owner(status)} and has mode {status.st_mode & 0o7777:04o}"
            return


def _owner(status: os.stat_result) -> str:
    try:
        user = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        user = str(status.st_uid)
    try:
        return f"{user}:{grp.getgrgid(status.st_gid).gr_name}"
    except KeyError:
        return f"{user}:{status.st_gid}"
