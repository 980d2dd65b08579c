# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Gunicorn's own settings under their own names: which are taken as they are, since which version, and why the others
are not. Held against gunicorn.config of 23.0.0 to 27.0.1; a newer one is taken to know what those know.

What the plan owns, and what would break something that Headcount promises, is refused with the key that does it, or the
reason.
"""

from __future__ import annotations

import ast
import ipaddress
import re
from collections.abc import Mapping
from typing import Final

from . import checks
from .fields import ABSENT, REQUIRED, Field, Invalid, Refusal

HOOKS: Final[Mapping[str, int]] = {
    "on_starting": 1,
    "on_reload": 1,
    "when_ready": 1,
    "pre_fork": 2,
    "post_fork": 2,
    "post_worker_init": 1,
    "worker_int": 1,
    "worker_abort": 1,
    "pre_exec": 1,
    "pre_request": 2,
    "post_request": 4,
    "child_exit": 2,
    "worker_exit": 2,
    "nworkers_changed": 3,
    "on_exit": 1,
}
"""Server hooks, each with the number of its arguments."""

_PLAN: Final = (
    "workers",
    "threads",
    "worker_connections",
    "preload_app",
    "backlog",
    "keepalive",
    "timeout",
    "graceful_timeout",
    "max_requests",
    "max_requests_jitter",
)
PLANNED: Final = ("worker_class", *_PLAN)
"""The settings of a plan that gunicorn.conf.py takes, under Gunicorn's own names."""

SINCE: Final[Mapping[str, tuple[int, ...]]] = {"enable_backlog_metric": (24, 1), "http_parser": (25, 2)}
"""What came after 23.0.0, and with which version."""

_GROUPS: Final[tuple[tuple[Refusal, tuple[str, ...]], ...]] = (
    (
        Refusal("Headcount asks and tries apps over plain HTTP/1.1; let the proxy in front do that"),
        (
            *("keyfile", "certfile", "ssl_version", "cert_reqs", "ca_certs", "suppress_ragged_eofs", "ssl_context"),
            *("do_handshake_on_connect", "ciphers", "http_protocols", "http2_cleartext", "http2_initial_window_size"),
            *("http2_max_concurrent_streams", "http2_max_frame_size", "http2_max_header_list_size"),
        ),
    ),
    (
        Refusal("it is for ASGI apps, and Headcount serves WSGI"),
        ("asgi_loop", "asgi_lifespan", "asgi_disconnect_grace_period", "websocket_max_message_size", "root_path"),
    ),
    (
        Refusal("its processes are in no plan, so that their memory is in no limit"),
        (
            *("dirty_apps", "dirty_workers", "dirty_timeout", "dirty_threads", "dirty_graceful_timeout"),
            *("on_dirty_starting", "dirty_post_fork", "dirty_worker_init", "dirty_worker_exit"),
        ),
    ),
    (
        Refusal("a generation does not change: what was tried is what serves"),
        ("reload", "reload_engine", "reload_extra_files"),
    ),
    (
        Refusal("two generations would take it from one another in a switch"),
        ("control_socket", "control_socket_mode", "control_socket_disable"),
    ),
    (
        Refusal("Headcount's own requests have no line of the PROXY protocol, and would be refused"),
        ("proxy_protocol", "proxy_allow_ips"),
    ),
    (Refusal("Headcount's own requests are HTTP"), ("protocol", "uwsgi_allow_ips")),
    (Refusal("it says which app is served", "entry_point of the app"), ("wsgi_app", "paste", "raw_paste_global_conf")),
    (
        Refusal("a release is what its processes import and where they work", "source of the app"),
        ("pythonpath", "chdir"),
    ),
    (Refusal("the unit runs as the app's account", "user of the app"), ("user", "group", "initgroups")),
    (Refusal("the processes have the app's name"), ("proc_name", "default_proc_name")),
    (Refusal("it ends Gunicorn at once"), ("check_config", "print_config")),
    (Refusal("hooks are functions", "gunicorn.hooks, which names a file with them"), tuple(HOOKS)),
)
REFUSED: Final[Mapping[str, Refusal]] = {
    **{name: refusal for refusal, names in _GROUPS for name in names},
    **{name: Refusal("the plan decides it", f"settings.{name}") for name in _PLAN},
    "worker_class": Refusal("the plan decides it", "worker_class of the app"),
    "bind": Refusal("systemd holds the socket, so that no request is lost in a switch", "listen of the app"),
    "reuse_port": Refusal("systemd holds the socket, and two generations share it in a switch"),
    "umask": Refusal("the unit does that", "sandbox.umask of the app"),
    "daemon": Refusal("systemd watches the master, and would take one that goes into the background for dead"),
    "pidfile": Refusal("the unit does that: systemctl show --property=MainPID tells it"),
    "config": Refusal("Headcount writes that file"),
    "spew": Refusal("it prints every line that is executed, and what is served so is not what was tried"),
    "worker_tmp_dir": Refusal("heartbeats are in memory, so that a slow disk does not look like a hung worker"),
    "errorlog": Refusal("errors go to the journal, where Headcount looks for why something failed"),
}
"""What is not taken, with why, and the key that does it."""


def _addresses(text: str) -> str:
    for part in text.split(","):
        try:
            if part.strip() != "*":
                ipaddress.ip_network(part.strip())
        except ValueError:
            raise Invalid(f"{part.strip()!r} is no address") from None
    return text


def _raw_env(values: list[str]) -> list[str]:
    for value in values:
        name, equals, _ = value.partition("=")
        if not equals:
            raise Invalid(f"{name!r} has no value", ["SHOP_REGION=eu"])
        checks.environment_name(name)
    return values


def _text(name: str, help_: str, example: str) -> Field:
    return Field(name, "str", help_, ABSENT, example, check=checks.plain)


def _number(name: str, help_: str, example: int) -> Field:
    return Field(name, "int", help_, ABSENT, example, minimum=0, maximum=2**31 - 1)


def _switch(name: str, help_: str) -> Field:
    return Field(name, "bool", help_, ABSENT, True)


GUNICORN: Final = Field(
    "gunicorn",
    "section",
    "Gunicorn's own settings under their own names, beside those that the plan decides (`settings`). They are in the"
    " generation's gunicorn.conf.py: no secrets here. What the planned Gunicorn does not know, what the plan decides"
    " and what would break a promise of Headcount's is refused, with the key that does it or the reason.",
    ABSENT,
    {"accesslog": "-", "forwarded_allow_ips": "10.0.0.5"},
    refused=REFUSED,
    fields=(
        _text("accesslog", "Where requests are logged; `-` is the journal.", "-"),
        _text(
            "access_log_format",
            "What is logged of a request, with Gunicorn's atoms; what it cannot fill in is refused, unless"
            " `logger_class` is declared.",
            '%(h)s "%(r)s" %(s)s %(b)s %(M)s ms',
        ),
        Field(
            "loglevel",
            "str",
            "How much Gunicorn logs. From error on nothing says of a worker that it was recycled.",
            ABSENT,
            "warning",
            choices=("debug", "info", "warning", "error", "critical"),
        ),
        _switch("capture_output", "Whether what the app prints goes to the error log."),
        _text("logger_class", "The class of Gunicorn's logger.", "shop.logs.Logger"),
        _text("logconfig", "A file of logging's on the host.", "/etc/shop/logging.ini"),
        _text("logconfig_json", "The same as JSON.", "/etc/shop/logging.json"),
        Field(
            "logconfig_dict", "plain", "The same in place.", ABSENT, {"loggers": {"gunicorn.access": {"level": "INFO"}}}
        ),
        _switch("disable_redirect_access_to_syslog", "Whether requests are kept out of syslog."),
        _switch("enable_stdio_inheritance", "Whether children of the workers write to the journal."),
        _text("syslog_addr", "Where syslog is.", "udp://10.0.0.9:514"),
        _switch("syslog", "Whether Gunicorn logs to syslog as well."),
        _text("syslog_prefix", "What it is called there.", "shop"),
        _text("syslog_facility", "The facility.", "local1"),
        _text("statsd_host", "Where a statsd is, host:port.", "127.0.0.1:8125"),
        _text("statsd_prefix", "What its metrics begin with.", "shop"),
        _text("dogstatsd_tags", "Tags of its metrics.", "env:live"),
        _switch("enable_backlog_metric", "Whether the backlog is one of its metrics. Since Gunicorn 24.1."),
        Field(
            "forwarded_allow_ips",
            "str",
            "From which proxies X-Forwarded-Proto and the like are believed.",
            ABSENT,
            "10.0.0.5,10.0.0.6",
            check=_addresses,
            allowed="addresses with commas between them, or *",
        ),
        Field(
            "secure_scheme_headers",
            "map",
            "Which headers of such a proxy mean https.",
            ABSENT,
            {"X-FORWARDED-PROTO": "https"},
            key_check=checks.header_name,
            items=Field("", "scalar", "The value.", REQUIRED, "https", check=checks.plain),
        ),
        _text("forwarder_headers", "Which headers of such a proxy reach the app as they are.", "SCRIPT_NAME,PATH_INFO"),
        Field(
            "header_map",
            "str",
            "What is done about headers whose names collide as variables.",
            ABSENT,
            "drop",
            choices=("drop", "refuse", "dangerous"),
        ),
        _number("limit_request_line", "The most bytes of a request's first line; 0 is no limit.", 8190),
        _number("limit_request_fields", "The most headers.", 200),
        _number("limit_request_field_size", "The most bytes of a header; 0 is no limit.", 16_380),
        _switch("permit_obsolete_folding", "Whether headers may go on in the next line."),
        _switch("strip_header_spaces", "Whether blanks between a header's name and its colon are passed over."),
        _switch("permit_unconventional_http_method", "Whether any method is taken."),
        _switch("permit_unconventional_http_version", "Whether any version of HTTP/1 is taken."),
        _switch("casefold_http_method", "Whether methods may be in lower case."),
        Field(
            "http_parser",
            "str",
            "Which parser reads requests. Since Gunicorn 25.2.",
            ABSENT,
            "python",
            choices=("auto", "fast", "python"),
        ),
        _switch("sendfile", "Whether files go out by sendfile(2)."),
        _text("tmp_upload_dir", "Where bodies of requests are kept while they are read.", "/tmp"),
        Field(
            "raw_env",
            "list",
            "More of the environment, set by Gunicorn itself.",
            ABSENT,
            ["SHOP_REGION=eu"],
            check=_raw_env,
            items=Field("", "str", "NAME=value.", REQUIRED, "SHOP_REGION=eu", check=checks.environment_value),
        ),
        Field(
            "hooks",
            "str",
            "A file of Python on the controller, found as `source.path` is, with server hooks (post_fork, child_exit"
            " and the like). They run after Headcount's own, and may import what the release holds.",
            ABSENT,
            "deploy/hooks.py",
            allowed="the path of a file on the controller",
            check=checks.plain,
        ),
    ),
)


def _prefix_words(text: str) -> list[str]:
    """The words of a command line, as a list of them is to be written."""
    from .meant import prefix_of

    return prefix_of(text)


def _prefix(words: list[str]) -> list[str]:
    """What Gunicorn is started by: a program, and each argument as a word of its own."""
    if not words[0].startswith("/") and re.search(r"\s|^[A-Za-z_]\w*=", words[0]):
        from .meant import prefix

        raise prefix(words)
    return words


PREFIX: Final = Field(
    "command_prefix",
    "list",
    "What Gunicorn is started by, for instrumentation that wraps a command: a program of the release (found in its"
    " environment) or an absolute path, and its arguments. It must end by executing what follows it.",
    ABSENT,
    ["opentelemetry-instrument"],
    minimum=1,
    check=_prefix,
    from_text=_prefix_words,
    items=Field("", "str", "A word.", REQUIRED, "ddtrace-run", check=checks.plain),
)
TEXT: Final = "hooks_text"
"""Where the text of that file is in a normalised app."""


def too_new(declared: Mapping[str, object], version: str) -> dict[str, str]:
    """The declared settings that the Gunicorn `version` ("==23.0.0") does not know yet, each with its first version."""
    parts = version.lstrip("=<>~! ").split(",")[0].split(".")[:2]
    planned = tuple(int(part) for part in parts if part.isdigit())
    return {name: ".".join(map(str, SINCE[name])) for name in declared if name in SINCE and planned < SINCE[name]}


def hooks_in(text: str) -> list[str]:
    """The server hooks that a file of Python has at its top, in the order of HOOKS. SyntaxError, ValueError."""
    known = {*_set(text), *_imported(text)}
    return [name for name in HOOKS if name in known]


def settings_in(text: str) -> list[str]:
    """Other settings of Gunicorn's that it sets at its top. SyntaxError, ValueError when it is no Python."""
    known = {item.name for item in GUNICORN.fields} | set(REFUSED)
    return [name for name in _set(text) if name in known and name not in HOOKS and name != "hooks"]


def _set(text: str) -> list[str]:
    """The names that a file of Python sets or defines at its top."""
    found: dict[str, None] = {}
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = None
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        found.update({name.id: None for one in targets for name in ast.walk(one) if isinstance(name, ast.Name)})
    return list(found)


def _imported(text: str) -> list[str]:
    nodes = [node for node in ast.parse(text).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return [alias.asname or alias.name for node in nodes for alias in node.names]


def belongs(name: str) -> str:
    """Where a setting of Gunicorn's is declared, in words; empty where it cannot be."""
    if name in HOOKS:
        return "gunicorn.hooks"
    if name in REFUSED:
        return REFUSED[name].instead.partition(" of the app")[0]
    return f"gunicorn.{name}" if any(item.name == name for item in GUNICORN.fields) else ""
