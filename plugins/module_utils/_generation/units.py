# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The files of a generation: Gunicorn's configuration and the systemd units, rendered from a plan. Pure functions."""

from __future__ import annotations

import math
from typing import Any

from .._declaration.app import Plain
from .._declaration.candidate import own_of
from .._declaration.gunicorn import PLANNED
from .._declaration.socketmode import mode_of
from .._facts import workerthreads
from .._facts.workerends import HOOKS
from .._os.paths import Layout
from .._os.secretfiles import MARK
from .._recorder import configuration as recorder
from .._release.contents import TREE
from .._release.hubmonitor import MONITOR_HOOK, monitor_environment
from . import accepting, data, lingering, loadtestunits, sandbox, serverhooks
from .commands import surroundings
from .processnames import starters
from .processunits import ROLE, process_files

STOP_SLACK_SECONDS = 10
"""systemd waits this much longer than Gunicorn's graceful_timeout before it kills: a drain is never cut short."""

MAX_BLOCKING_SECONDS = 0.1
"""How long a candidate's gevent hub may be blocked before its monitor writes down the line that blocks it."""

OWN_ACCOUNT = "RemoveIPC=yes"
"""Only for the account that Headcount makes: where others run as it too, it would take their shared memory away."""

SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where an app looks for programs after its release's own."""

ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONFAULTHANDLER": "1",
}

MMAP_THRESHOLD_MIB = 32
"""The most that glibc takes (mallopt(3), DEFAULT_MMAP_THRESHOLD_MAX): larger blocks are mapped each on its own."""


def _setting(plan: Plain, name: str) -> Any:
    return plan["settings"][name]["value"]


def gunicorn_conf(app: Plain, plan: Plain, number: int) -> str:
    """gunicorn.conf.py: each derived setting with its reason beside it."""
    name = app["name"]
    worker_class = _setting(plan, "worker_class")
    lines = [
        f"# {name}, generation {number}. Written by Headcount; edits are seen as drift and are not kept.",
        "# Each number has its reason; `headcount plan " + name + "` prints the limits that were considered.",
        "",
    ]
    if worker_class in ("gevent", "eventlet") and _setting(plan, "preload_app"):
        module = "gevent.monkey" if worker_class == "gevent" else "eventlet"
        call = "gevent.monkey.patch_all()" if worker_class == "gevent" else "eventlet.monkey_patch()"
        lines += [
            f"import {module}",
            "",
            "# Before the app is preloaded: modules imported unpatched would block the hub.",
            call,
            "",
        ]
    lines += [f"wsgi_app = {app['entry_point']!r}", f"proc_name = {name!r}"]
    for key in PLANNED:
        entry = plan["settings"].get(key)
        if entry is None or entry["value"] is None:
            continue
        reason = " ".join(str(entry.get("reason", "")).split())
        lines += [
            "",
            f"# {reason}" if reason else f"# {entry.get('winner', '')}",
            f"{key} = {_literal(entry['value'])}",
        ]
    lines += [
        "",
        "# Heartbeats in memory: a slow disk must not look like a hung worker.",
        'worker_tmp_dir = "/dev/shm"',
        "",
        "# Errors go to the journal by way of standard error.",
        'errorlog = "-"',
        "",
        *serverhooks.declared(app),
    ]
    lines += _taking_turns(plan)
    if _has_control_socket(plan):
        lines += [
            "# It has one path per user: the two instances of a rollout would take it from one another.",
            "control_socket_disable = True",
            "",
        ]
    lines += [HOOKS, *filter(None, [recorder.loaded(app, plan["settings"]), recorder.logging(app, number)])]
    if worker_class in lingering.CLASSES:
        lines += ["", lingering.closer(worker_class)]
    if worker_class in accepting.CLASSES:
        lines += ["", accepting.ACCEPTER]
    if worker_class == "gevent":
        lines += ["", MONITOR_HOOK]
    parts = (serverhooks.address(app), recorder.answers(app), workerthreads.HOOK, serverhooks.hooks(app))
    lines += [f"\n{part}" for part in parts if part]
    return "\n".join(lines)


def _taking_turns(plan: Plain) -> list[str]:
    """How soon the threads of a worker take turns, where the plan says that."""
    switch = plan["settings"].get("switch_interval_ms") or {}
    if not switch.get("value"):
        return []
    reason = " ".join(str(switch.get("reason", "")).split())
    return [
        f"# {reason}" if reason else "# How soon threads take turns.",
        "def post_worker_init(worker):",
        "    import sys",
        "",
        f"    sys.setswitchinterval({float(switch['value']) / 1000!r})",
        "",
        "",
    ]


def _literal(value: Any) -> str:
    """A value as Gunicorn takes it: its numbers are whole, so seconds declared as 2.5 become 3."""
    return repr(math.ceil(value)) if isinstance(value, float) else repr(value)


def _has_control_socket(plan: Plain) -> bool:
    """The control socket came with Gunicorn 25.1; older ones refuse its setting."""
    specifier = str(_setting(plan, "gunicorn_version"))
    version = specifier.lstrip("=<>~! ").split(",")[0].split(".")
    return tuple(int(part) for part in version[:2] if part.isdigit()) >= (25, 1)


def public_socket(app: Plain, plan: Plain, number: int, layout: Layout) -> str:
    """The socket that users reach. Wants= starts the generation at boot; Service= names what a request wakes."""
    listen = app["listen"]
    address = listen[len("unix:") :] if listen.startswith("unix:") else listen
    group = f"SocketGroup={app['listen_group']}\n" if app.get("listen_group") else ""
    unix = f"SocketMode={mode_of(app)}\n{group}" if listen.startswith("unix:") else ""
    service = layout.service_unit(number)
    further = starters([*process_files(app, number, layout, "", {}), *loadtestunits.units(app, number, layout)])
    return (
        f"# {app['name']}, generation {number}. Written by Headcount.\n"
        "[Unit]\n"
        f"Description={app['name']}: the socket its users reach\n"
        f"Wants={' '.join([service, *further])}\n"
        "\n"
        "[Socket]\n"
        f"ListenStream={address}\n"
        f"Backlog={_setting(plan, 'backlog')}\n"
        f"{unix}"
        "TriggerLimitIntervalSec=0\n"
        f"Service={service}\n"
        "\n"
        "[Install]\n"
        "WantedBy=sockets.target\n"
    )


def private_socket(app: Plain, number: int, path: str, service: str, what: str) -> str:
    """A unix socket, root only, that reaches exactly one instance."""
    return (
        f"# {app['name']}, generation {number}. Written by Headcount.\n"
        "[Unit]\n"
        f"Description={app['name']}: reaches {what} {number} alone\n"
        "\n"
        "[Socket]\n"
        f"ListenStream={path}\n"
        "SocketMode=0600\n"
        "DirectoryMode=0755\n"
        "RemoveOnStop=yes\n"
        f"Service={service}\n"
    )


def is_tree(app: Plain) -> bool:
    """Whether the app of a generation is released as it is: then its folder is where its processes work.

    Gunicorn puts the folder that it works in on the path of its workers.
    """
    return (app.get("source") or {}).get("as") == TREE


def service(app: Plain, plan: Plain, number: int, layout: Layout, trial: bool) -> str:
    """The service of generation `number`; `trial` gives the candidate's, which users cannot reach."""
    name = app["name"]
    generation = layout.generation(number)
    user = app["user"] or layout.user
    graceful = int(_setting(plan, "graceful_timeout"))
    boot = float(app["health"]["boot_seconds"])
    own = layout.trial_socket_unit(number) if trial else layout.socket_unit(number)
    sockets = own if trial else f"{layout.public_socket_unit} {own}"
    high = plan["settings"].get("memory_high_mib", {}).get("value")
    lines = [
        f"# {name}, generation {number}{' (candidate on trial)' if trial else ''}. Written by Headcount.",
        "[Unit]",
        f"Description={name}: Gunicorn, {'candidate' if trial else 'generation'} {number}",
        f"Requires={own}",
        f"After=network.target {sockets}",
        f"RequiresMountsFor={' '.join(filter(None, [layout.home, data.mounts(app)]))}",
        # The real one never gives up: a start limit that is hit would take the public socket down with it, also that
        # of the generation beside it.
        *(["StartLimitIntervalSec=60", "StartLimitBurst=5"] if trial else ["StartLimitIntervalSec=0"]),
        "",
        "[Service]",
        "Type=notify",
        "NotifyAccess=main",
        f"Sockets={sockets}",
        # Two generations share one open socket. Without this, systemd makes it blocking whenever one of them starts,
        # also for the other: an event loop would then stand still in accept(), for ever when the new one dies early.
        "NonBlocking=yes",
        f"User={user}",
        f"Group={user}",
        # The app's releases are readable by this group alone.
        *([] if user == layout.group else [f"SupplementaryGroups={layout.group}"]),
        f"Slice={app['slice']}",
        f"WorkingDirectory={generation}/release{'/' + TREE if is_tree(app) else ''}",
        *_runtime_directory(layout, number, trial),
        *_environment_lines(plan, number, layout, trial),
        *data.unit_lines(app, number, layout),
        # A journal that counts would leave out what the app says of its errors, too.
        *(["LogRateLimitIntervalSec=0"] if recorder.logged(app) else []),
        f"ExecStart={serverhooks.command(app, _setting(plan, 'worker_class'), generation)}",
        "KillMode=mixed",
        f"TimeoutStartSec={boot + 30:.0f}",
        f"TimeoutStopSec={graceful + STOP_SLACK_SECONDS}",
        *(["Restart=no"] if trial else ["Restart=always", "RestartSec=1"]),
        "OOMPolicy=continue",
        f"LimitNOFILE={_setting(plan, 'limit_nofile')}",
        "TasksMax=" + str(_tasks_max(plan)),
        "MemoryAccounting=yes",
        *([f"MemoryHigh={high}M"] if high else []),
        f"MemoryMax={_setting(plan, 'memory_max_mib')}M",
        "MemorySwapMax=0",
        "CPUAccounting=yes",
        "",
        *sandbox.lines(app),
        *([OWN_ACCOUNT] if app["user"] is None else []),
    ]
    return "\n".join(lines) + "\n"


def _environment_lines(plan: Plain, number: int, layout: Layout, trial: bool) -> list[str]:
    """What an instance finds in its environment: Headcount's own, then what is declared, then what a candidate has."""
    environment = dict(ENVIRONMENT)
    if trial and _setting(plan, "worker_class") == "gevent":
        # The monitor names the line that blocks the hub; it costs a thread, so only the candidate has it.
        environment.update(monitor_environment(MAX_BLOCKING_SECONDS))
    environment.update(malloc_environment(plan))
    return [
        f"Environment={' '.join(f'{key}={value}' for key, value in sorted(environment.items()))}",
        f"Environment=HEADCOUNT_GENERATION={number} HEADCOUNT_ROLE={'trial' if trial else 'live'}",
        f"Environment=PATH={layout.generation(number)}/release/venv/bin:{SYSTEM_PATH}",
        f"EnvironmentFile={layout.environment(number)}",
        *([f"EnvironmentFile={layout.trial_environment(number)}"] if trial else []),
    ]


def _runtime_directory(layout: Layout, number: int, trial: bool) -> list[str]:
    """What was counted outlives a master that died, and is gone with its generation."""
    line = f"RuntimeDirectory={layout.runtime_directory(number, trial)}"
    return [line] if trial else [line, "RuntimeDirectoryPreserve=restart"]


def _tasks_max(plan: Plain) -> int:
    """Processes and threads that the plan needs, four times over: a fork bomb ends here, an app's own pools fit."""
    return 64 + 4 * int(_setting(plan, "workers")) * (int(_setting(plan, "threads") or 1) + 16)


def malloc_environment(plan: Plain) -> dict[str, str]:
    """What has glibc keep as much freed memory as the plan says (mallopt(3)); {} where it decides by itself.

    A threshold that is set ends glibc's own adjustment of both, so the other one is set to where that leads.
    """
    kept = plan["settings"].get("malloc_trim_threshold_mib", {}).get("value")
    if not kept:
        return {}
    return {
        "MALLOC_MMAP_THRESHOLD_": str(MMAP_THRESHOLD_MIB * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(int(kept) * 2**20),
    }


def environment_file(environment: dict[str, str], secrets: dict[str, str], candidate: bool = False) -> str:
    """systemd's EnvironmentFile format, every value in double quotes (systemd.exec(5)); newlines are kept.

    What all instances of the app have, or what a `candidate` has alone (_declaration.candidate).

    Its first line names the secrets, so that nobody who comes upon one tells it (secrecy).
    """
    environment, secrets = own_of(environment, candidate), own_of(secrets, candidate)
    lines = [" ".join([MARK, *sorted(secrets)])]
    for key, value in sorted({**environment, **secrets}.items()):
        escaped = "".join("\\" + char if char in '"\\`$' else char for char in value)
        lines.append(f'{key}="{escaped}"')
    return "\n".join(lines) + "\n"


def render(app: Plain, plan: Plain, number: int, layout: Layout) -> dict[str, str]:
    """All files of generation `number` by their names within its directory; no secret is in any of them."""
    trial, real = layout.trial_service_unit(number), layout.service_unit(number)
    serving = service(app, plan, number, layout, trial=False)
    beside = surroundings(f"{layout.generation(number)}/release", app, ROLE) if app.get("processes") else {}
    return {
        **process_files(app, number, layout, serving, beside),
        **loadtestunits.units(app, number, layout),
        "gunicorn.conf.py": gunicorn_conf(app, plan, number),
        **serverhooks.files(app, _setting(plan, "worker_class")),
        **recorder.programs(app),
        data.SCRIPT: data.script(app, number, layout),
        layout.public_socket_unit: public_socket(app, plan, number, layout),
        layout.socket_unit(number): private_socket(app, number, layout.private_socket(number), real, "generation"),
        real: serving,
        layout.trial_socket_unit(number): private_socket(app, number, layout.trial_socket(number), trial, "candidate"),
        trial: service(app, plan, number, layout, trial=True),
    }
