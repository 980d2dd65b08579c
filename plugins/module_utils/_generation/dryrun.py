# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether systemd can make the sandbox of an app's units on this host: tried with a program that does nothing.

Containers may have no mount namespaces, no user namespaces or no seccomp filter. The first unit would end with a bare
exit status there, when releases have been built already.
"""

from __future__ import annotations

import re
from typing import Sequence

from .._os.systemd import Runner
from . import inert

_SECONDS = 30.0
STEPS = {
    217: "run as the user, who is not there,",
    218: "drop capabilities",
    219: "set the process's group",
    225: "set up the network namespace",
    226: "set up mount namespaces",
    227: "set NoNewPrivileges=",
    228: "set the filter of system calls",
    229: "set the SELinux context",
    237: "set up the keyring",
    238: "make the state directory",
}
"""What systemd was at when it ended with an exit status of its own (systemd.exec(5))."""


def problem(properties: Sequence[str], runner: Runner) -> str:
    """Why units with these `properties` (NAME=VALUE) would not start here, with the fix; "" where they would.

    Where nothing can be tried, nothing is known: the first start tells then.
    """
    done = runner(inert.command(properties), _SECONDS)
    if done.status == 0:
        return ""
    found = re.search(r"status=(\d+)(?:/(\w+))?", f"{done.out}\n{done.err}")
    status = int(found[1]) if found else done.status
    if status not in STEPS:
        return ""
    name = f"/{found[2]}" if found and found[2] else ""
    told = (
        f"systemd cannot {STEPS[status]} for the sandbox of an app's units on this host (exit status {status}{name}); "
    )
    if status == 217:
        return f"{told}`useradd --system nobody`"
    return (
        f"{told}in a container, let it have them (LXC: security.nesting=true or features: nesting=1; Podman, Docker: "
        "--privileged or --security-opt seccomp=unconfined with SYS_ADMIN)"
    )
