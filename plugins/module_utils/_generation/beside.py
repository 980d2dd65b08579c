# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A socket unit is opened on an address where somebody else listens, without a moment at which nobody does.

Until admit() whoever connects comes to the one that was there, then to the new one; give_way() takes that back. On a
TCP port both sockets say SO_REUSEPORT, and a filter leads new connections to one of them. A unix socket is reached by
its file: each has a second name, which is renamed to the one that users know.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from dataclasses import dataclass, field
from typing import Iterator

from .._os.background import begin_thread
from .._os.files import remove_file
from .._os.listeners import SYSTEM_MANAGER, Listener, held, hold
from .._os.paths import under
from .._os.sockets import BOUND_BESIDE
from .._os.systemd import Systemd, SystemdError
from .._os.twosockets import keep_alone, lead, lead_nowhere, let_beside, point, shut_beside
from .dropins import drop_in, undrop

NAME_SECONDS = 0.02
"""So often it is seen to that a socket has its name (name_kept)."""
FIRST, SECOND = 0, 1
"""Places of the two sockets of a port: who listened first, and who came to it."""


@contextlib.contextmanager
def name_kept(address: str, root: str = "/") -> Iterator[None]:
    """The file of the unix socket at `address` stays, whoever removes it meanwhile: it is there again at once, by a
    second name. Who puts another one in its place is let be. Of a port: nothing."""
    path = under(root, address[len("unix:") :]) if address.startswith("unix:") else ""
    if not path or not os.path.lexists(path):
        yield
        return
    second, end = f"{path}.headcount-kept", threading.Event()
    remove_file(second)
    os.link(path, second)

    def watch() -> None:
        while not end.wait(NAME_SECONDS):
            _name_again(path, second)

    thread = begin_thread(threading.Thread(target=watch, daemon=True))
    try:
        yield
    finally:
        end.set()
        thread.join()
        _name_again(path, second)
        remove_file(second)


def _name_again(path: str, second: str) -> None:
    with contextlib.suppress(OSError):  # it is there, most often; or the folder has gone with both
        os.link(second, path)


@dataclass
class Beside:
    """`unit` (a socket unit that is not active) is to listen where `first` does."""

    systemd: Systemd
    unit: str
    first: Listener
    root: str = "/"
    second: int = 0
    """The inode of the new socket, once it is open."""
    _held: list[socket.socket] = field(default_factory=list)

    @property
    def path(self) -> str:
        """The file of a unix socket; empty of a port."""
        return self.first.address[len("unix:") :] if self.first.address.startswith("unix:") else ""

    @property
    def names(self) -> tuple[str, str]:
        """The second names of both sockets, where they have files."""
        return f"{self.path}.headcount-first", f"{self.path}{BOUND_BESIDE}"

    def open(self) -> None:
        """Open the new socket; users still come to the first one. OSError or SystemdError where it cannot be."""
        if self.path:
            self._open_file()
        else:
            self._open_port()

    def _open_file(self) -> None:
        """systemd would remove the first one's file, bind its own in that place, and only then listen. So it binds the
        second name, which nobody asks yet; _close_file() has it know the socket by the first one."""
        first, second = self.names
        for name in self.names:
            remove_file(name)
        os.link(self.path, first)
        bound = second.replace("%", "%%")  # systemd.unit(5): specifiers
        drop_in(self.systemd, self.unit, f"[Socket]\nListenStream=\nListenStream={bound}\n", self.root)
        try:
            self.systemd.reload()
            self.systemd.start(self.unit)
        except (OSError, SystemdError):
            self._close_file()
            raise

    def _open_port(self) -> None:
        one = hold(self._first_now())
        self._held.append(one)
        let_beside(one)
        drop_in(self.systemd, self.unit, "[Socket]\nReusePort=yes\n", self.root)
        try:
            self.systemd.reload()
            # The filter is there before the new socket is: on a busy host many users come between two calls.
            with shut_beside(one):
                lead(one, FIRST)
                self.systemd.start(self.unit)
        finally:
            undrop(self.systemd, self.unit, root=self.root)
        new = [one for one in held([SYSTEM_MANAGER], self.root) if one.address == self.first.address]
        self._held += [hold(one) for one in new if one.inode != self.first.inode]
        self.second = next((one.inode for one in new if one.inode != self.first.inode), 0)

    def _first_now(self) -> Listener:
        """The first socket under the number that it has by now: systemd's change whenever it reads its units again."""
        return next((one for one in held([self.first.pid], self.root) if one.inode == self.first.inode), self.first)

    def admit(self) -> None:
        """Users come to the new socket from now on."""
        if self.path:
            point(self.path, self.names[1])
        else:
            lead(self._held[0], SECOND)

    def give_way(self) -> None:
        """Users come to the first socket again. Where the process that opened the second one has ended, too."""
        if self.path:
            if os.path.lexists(self.names[0]):
                point(self.path, self.names[0])
            return
        with contextlib.suppress(OSError):
            one = self._held[0] if self._held else hold(self._first_now())
            lead(one, FIRST)

    def close(self, stays: int = SECOND) -> None:
        """Who had one of the two sockets has ended, and the one that `stays` (FIRST or SECOND) has its address alone:
        what both needed goes."""
        if self.path:
            self._close_file()
        last, others = self._held[stays : stays + 1], self._held[:stays] + self._held[stays + 1 :]
        # A hold keeps a socket open whose server has ended. Were the filter taken away first, users would come to that
        # one too until it is closed, and be thrown out with it.
        for one in others:
            one.close()
        for one in last:
            for alone in (lead_nowhere, keep_alone):
                with contextlib.suppress(OSError):
                    alone(one)
            one.close()
        self._held.clear()

    def _close_file(self) -> None:
        """A systemd that reads its units again keeps the open sockets that they still name, and takes two paths for one
        where they lead to the same file: the second name goes when it has read that the unit names the first. Where it
        cannot be reloaded that name stays, for whoever does so next."""
        first, second = self.names
        remove_file(first)
        with contextlib.suppress(SystemdError):
            if not undrop(self.systemd, self.unit, root=self.root) and os.path.lexists(second):
                self.systemd.reload()
            remove_file(second)
