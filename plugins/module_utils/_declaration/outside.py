# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which folders of a host an app may be given (`data.outside`). Pure. Loaded only where one is declared, or advised."""

from __future__ import annotations

import re
from typing import Final

from . import checks
from .data import UNTOLD, VOLATILE, below
from .fields import Invalid

_WHOLE: Final = ("/", "/bin", "/home", "/lib", "/opt", "/sbin", "/var", "/var/cache", "/var/lib", "/var/log")
_SYSTEM: Final = ("/dev", "/proc", "/sys", "/etc", "/usr", "/boot")
_HOMES: Final = ("/home", "/root", "/run/user")
_HEADCOUNTS: Final = ("/opt/headcount", "/var/lib/headcount")
_KEPT: Final = re.compile(r"/var/(?:lib|cache|log)/hc-(?P<app>[^/]+)(?=/|$)")
"""The folders of an app."""


def outside_folder(text: str) -> str:
    """A folder of the host that an app may be given: no system folder, none that loses what is in it."""
    path = checks.absolute(text).rstrip("/") or "/"
    if ".." in path.split("/") or "//" in path or UNTOLD.search(path):
        raise Invalid("systemd cannot be told of it as it is", None, "name the folder itself")
    if path in _WHOLE or below(path, _SYSTEM):
        raise Invalid("a folder of the system", "/srv/media")
    if below(path, VOLATILE):
        raise Invalid("what is there is lost", "/srv/media")
    if below(path, _HEADCOUNTS):
        raise Invalid("it is Headcount's own", "/srv/media")
    kept = _KEPT.match(path)
    if kept:
        what = f"it is the data of the app {kept['app']}, which the app has as {{data}}, {{cache}} or {{logs}}"
        raise Invalid(what, advice="a folder that both apps are let into, or remove it where it is this app's own")
    if below(path, _HOMES):
        raise Invalid("no app sees the homes of people", "/srv/media")
    return path


def may_be_outside(path: str) -> bool:
    """Whether an app may be given the folder `path` of the host."""
    try:
        return outside_folder(path) == path
    except Invalid:
        return False
