# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the load of a trial comes from (`load.from`), and at which addresses it meets the host. Pure functions.

From the host itself the load goes through private unix sockets; from anywhere else it has
to go over TCP: to the live generation through the app's public port, to the candidate through `load.port`, which is
open for the trial alone.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from .app import ON_THE_HOST, Load

HOST: Final = ON_THE_HOST
CONTROLLER: Final = "controller"
FREE_PORT: Final = "free it, or declare another `load.port`"


def is_remote(load: Load) -> bool:
    """Whether the load comes from another machine than the app's host."""
    return load.origin != HOST


def words(name: str) -> str:
    """An origin in a sentence: "the host itself", "the controller", "load host lg1"."""
    return {HOST: "the host itself", CONTROLLER: "the controller"}.get(name, f"load host {name}")


def is_tcp(listen: str) -> bool:
    """Whether a checked `listen` is an address and a port."""
    return not listen.startswith("unix:")


def reachable(listen: str) -> bool:
    """Whether another machine can reach what listens on `listen` (checked): neither a unix socket nor a loopback."""
    return is_tcp(listen) and not ipaddress.ip_address(_address(listen)).is_loopback


def trial_listen(listen: str, load: Load) -> str | None:
    """Where a candidate listens while it is loaded remotely: the app's address, with `load.port`. Else None."""
    if not is_remote(load) or not listen or not is_tcp(listen) or load.port is None:
        return None
    return f"{listen.rpartition(':')[0]}:{load.port}"


def target(listen: str, load: Load, host_address: str) -> str:
    """ "address:port" at which the load host reaches what listens on `listen` (TCP, not a loopback).

    The address is `load.address`, or that of `listen` where it names one, or `host_address` (ansible_host).
    """
    bound = ipaddress.ip_address(_address(listen))
    address = str(load.address or (host_address if bound.is_unspecified else bound))
    port = listen.rpartition(":")[2]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _address(listen: str) -> str:
    return listen.rpartition(":")[0].strip("[]")
