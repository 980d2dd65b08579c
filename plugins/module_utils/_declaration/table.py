# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Everything that can be declared: the one table behind validation, defaults, argument_specs and docs/variables.md.

To add a variable: add a :class:`Field` to ``VARIABLES`` (a variable of the inventory) or to ``APP_FIELDS`` (a key of
an app), run ``scripts/docs``, and use it. Nothing else repeats a name, a default or a bound.
"""

from __future__ import annotations

import ast
import ipaddress
import re
from typing import Final

from .fields import ABSENT, REQUIRED, Field, Invalid

PROFILE_WAIT_RATIO: Final = {"cpu": 0.05, "mixed": 4.0, "io": 50.0}
"""What a profile says about waiting: time a request waits, divided by the CPU time it takes (Goetz' W/C).

cpu: a request that computes still waits a little, on its socket and its log. mixed: the waiting end of what the word
covers, 80 % of the time; io: 50 ms of waiting on 1 ms of CPU, a thin route over a database or another service. The two
upper values lean to more waiting on purpose: too few slots cost throughput in proportion (a waiting app on two
CPU-sized workers serves a tenth of what it could), while too many cost a little memory, and memory is a limit of its
own. A weighed candidate replaces the value by its own.
"""

PROFILE_RANGE: Final = {"cpu": (0.0, 0.2), "mixed": (0.2, 9.0), "io": (9.0, float("inf"))}
"""The wait ratios that a profile's name covers: cpu waits at most a sixth of its time, io more than nine tenths, mixed
in between.
"""

WORKER_CLASSES: Final = ("sync", "gthread", "gevent", "eventlet")

_APP_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,22}")
_WHEEL_STORE: Final = "wheels"
_MODULE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_PIN: Final = re.compile(
    r"(?P<name>[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?P<extras>\[[A-Za-z0-9._,\s-]+\])?"
    r"\s*===?\s*(?P<version>[A-Za-z0-9.+!_-]+)"
)
_WHEEL: Final = re.compile(r"[^/\s]+-[^-/\s]+(-[0-9][^-/\s]*)?-[^-/\s]+-[^-/\s]+-[^-/\s]+\.whl")
_GIT: Final = re.compile(r"((https|http|ssh|git|file)://\S+|[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:\S+|(\.{0,2}/)\S+)")
_GIT_PASSWORD: Final = re.compile(r"[a-z+]+://([^/@\s:]*:[^/@\s]*)@")
_GIT_TOKEN: Final = re.compile(r"https?://[^/@\s]+@")
_GIT_VERSION: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@-]*")
_VARIABLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_URL_PATH: Final = re.compile(r"/[!-~]*")
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_SLICE: Final = re.compile(r"[A-Za-z0-9_.\\:-]+\.slice")
_DISTRIBUTION: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:-]*[A-Za-z0-9_])?")
_BATCH: Final = re.compile(r"(?P<count>[0-9]{1,6})(?P<percent>%?)")
_PRIVATE_SOCKETS: Final = "/run/headcount/"
_UNIX_PATH_BYTES: Final = 107
_OWN_VARIABLES: Final = {
    "GUNICORN_CMD_ARGS": "it would change the plan behind its back; use settings",
    "LISTEN_FDS": "systemd sets it",
    "LISTEN_PID": "systemd sets it",
    "LISTEN_FDNAMES": "systemd sets it",
    "NOTIFY_SOCKET": "systemd sets it",
    "MAINPID": "systemd sets it",
    "INVOCATION_ID": "systemd sets it",
    "CREDENTIALS_DIRECTORY": "systemd sets it",
    "RUNTIME_DIRECTORY": "systemd sets it",
}


def profile_of(wait_ratio: float) -> str:
    """The profile whose range holds a wait ratio (wait / CPU, 0 or more)."""
    return next(name for name, (low, high) in PROFILE_RANGE.items() if low <= wait_ratio < high)


def _app_name(text: str) -> str:
    if text.endswith("-trial"):
        raise Invalid("the ending -trial is used for candidates", text[: -len("-trial")] or None)
    if text == _WHEEL_STORE:
        raise Invalid("the folder of that name holds the wheels of all apps", f"{text}-app")
    if not _APP_NAME.fullmatch(text) or text.endswith("-"):
        better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789")[:23].strip("-")
        raise Invalid("", better if better and _APP_NAME.fullmatch(better) else None)
    return text


def _plain(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Invalid("it holds a line break or a control character")
    return text


def _absolute(text: str) -> str:
    if not _plain(text).startswith("/") or re.search(r"\s", text):
        raise Invalid()
    return text


def _relative(text: str) -> str:
    parts = _plain(text).split("/")
    if text.startswith("/") or ".." in parts:
        raise Invalid("it leads out of the source")
    return text.rstrip("/")


def _include(text: str) -> str:
    if not _relative(text).strip("/") or "" in text.rstrip("/").split("/"):
        raise Invalid("it names nothing inside the project")
    return text.rstrip("/")


def _wheel(text: str) -> str:
    if not _WHEEL.fullmatch(_plain(text).rsplit("/", 1)[-1]):
        raise Invalid("not the name of a wheel")
    return text


def _pip(text: str) -> str:
    match = _PIN.fullmatch(text.strip())
    if not match:
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text.strip())
        raise Invalid("no exact version" if name else "", f"{name.group()}==1.2.3" if name else None)
    return text.strip()


def _git(text: str) -> str:
    if _GIT_PASSWORD.match(text) or _GIT_TOKEN.match(text):
        without = re.sub(r"(?<=://)[^/@\s]*@", "", text)
        raise Invalid(
            "it carries a credential, which would end in files and output; use a git credential helper or ssh", without
        )
    if not _GIT.fullmatch(text):
        raise Invalid()
    return text


def _git_version(text: str) -> str:
    if not _GIT_VERSION.fullmatch(text) or ".." in text:
        raise Invalid()
    return text


def _entry_point(text: str) -> str:
    """Gunicorn's own rule: ``module:name`` or ``module:name(literals)``."""
    module, colon, target = text.partition(":")
    if not colon:
        raise Invalid("no callable is named", f"{text}:app" if _MODULE.fullmatch(text) else None)
    if not _MODULE.fullmatch(module):
        raise Invalid(f"{module!r} is not the name of a module")
    try:
        expression = ast.parse(target, mode="eval").body
    except (SyntaxError, ValueError):
        raise Invalid(f"{target!r} is neither a name nor a call") from None
    if isinstance(expression, ast.Name):
        return text
    if not isinstance(expression, ast.Call) or not isinstance(expression.func, ast.Name):
        raise Invalid(f"{target!r} is neither a name nor a call")
    try:
        for argument in [*expression.args, *(keyword.value for keyword in expression.keywords)]:
            ast.literal_eval(argument)
    except (ValueError, TypeError, SyntaxError):
        raise Invalid("an argument is not a literal", f"{module}:{expression.func.id}()") from None
    return text


def split_listen(listen: str) -> tuple[str, int]:
    """A checked TCP listen address as (address, port): ``[::]:80`` is ``("::", 80)``."""
    address, _, port = listen.rpartition(":")
    return address.strip("[]"), int(port)


def _listen(text: str) -> str:
    if text.startswith("unix:"):
        return _listen_unix(text)
    address, colon, port = text.rpartition(":")
    if not colon and text.isdigit():
        raise Invalid("no address", f"0.0.0.0:{text}")
    if not colon or not port:
        raise Invalid("no port", f"{text.rstrip(':')}:8000" if _is_ip(text.rstrip(":"), 4) else None)
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise Invalid(f"{port!r} is not a port from 1 to 65535")
    return f"{_listen_address(address, port)}:{int(port)}"


def _listen_address(address: str, port: str) -> str:
    if address in ("", "*"):
        raise Invalid("no address", f"0.0.0.0:{port}")
    if address == "localhost":
        raise Invalid("systemd does not look names up", f"127.0.0.1:{port}")
    if address.startswith("[") and address.endswith("]") and _is_ip(address[1:-1], 6):
        return f"[{ipaddress.IPv6Address(address[1:-1])}]"
    if _is_ip(address, 6):
        raise Invalid("an IPv6 address needs brackets", f"[{address}]:{port}")
    if not _is_ip(address, 4):
        raise Invalid(f"{address!r} is not an IP address")
    return address


def _listen_unix(text: str) -> str:
    path = _plain(text)[len("unix:") :]
    if not path.startswith("/"):
        raise Invalid("the path is not absolute", f"unix:/run/{path.lstrip('./') or 'shop.sock'}")
    if re.search(r"[\s%\"'\\]", path) or path.endswith("/") or "//" in path or {".", ".."} & set(path.split("/")):
        raise Invalid("the path is not a plain one")
    if len(path.encode()) > _UNIX_PATH_BYTES:
        raise Invalid(f"the path is longer than the {_UNIX_PATH_BYTES} bytes that a socket may have")
    if path.startswith(_PRIVATE_SOCKETS):
        raise Invalid(f"{_PRIVATE_SOCKETS} holds Headcount's own sockets", f"unix:/run/{path.rsplit('/', 1)[-1]}")
    return text


def _ip(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not _is_ip(bare, 4) and not _is_ip(bare, 6):
        raise Invalid()
    if ipaddress.ip_address(bare).is_unspecified:
        raise Invalid("it stands for all addresses")
    return bare


def _is_ip(text: str, version: int) -> bool:
    try:
        if version == 4:
            ipaddress.IPv4Address(text)
        else:
            ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _url_path(text: str) -> str:
    if not text.startswith("/"):
        raise Invalid("it does not start with /", f"/{text}" if _URL_PATH.fullmatch(f"/{text}") else None)
    if not _URL_PATH.fullmatch(text) or "#" in text:
        raise Invalid("it holds a character that must be percent-encoded")
    return text


def _environment_name(text: str) -> str:
    if not _VARIABLE_NAME.fullmatch(text):
        raise Invalid("not the name of an environment variable")
    if text in _OWN_VARIABLES:
        raise Invalid(_OWN_VARIABLES[text], advice="remove it")
    return text


def _environment_value(text: str) -> str:
    """systemd drops the rest of an environment file at a NUL and ignores values that are not clean UTF-8
    (env_value_is_valid).
    """
    for character in text:
        code = ord(character)
        if code == 0:
            raise Invalid("it holds a NUL byte", advice="take the NUL byte out")
        if 0xD800 <= code <= 0xDFFF or 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE:
            raise Invalid("it holds a character that systemd drops", advice="encode the value, as base64")
    return text


def _header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise Invalid("not the name of a header")
    return text


def _distribution(text: str) -> str:
    if not _DISTRIBUTION.fullmatch(text):
        raise Invalid("not the name of a distribution")
    return re.sub(r"[-_.]+", "-", text).lower()


def _user(text: str) -> str:
    if text == "root":
        raise Invalid("an app does not run as root", advice="leave user out, and a user is made for the app")
    if not _USER.fullmatch(text):
        raise Invalid()
    return text


def _slice(text: str) -> str:
    if not _SLICE.fullmatch(text):
        raise Invalid("", f"{text}.slice" if _SLICE.fullmatch(f"{text}.slice") else None)
    return text


def _host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise Invalid()
    return text


def _status(values: list[int]) -> list[int]:
    return sorted(set(values))


def _batch(text: str) -> str:
    match = _BATCH.fullmatch(text.strip())
    if not match or int(match["count"]) < 1 or (match["percent"] and int(match["count"]) > 100):
        raise Invalid()
    return text.strip()


_ENVIRONMENT_VALUE: Final = Field(
    "",
    "scalar",
    "The value. Line breaks are kept.",
    REQUIRED,
    "value",
    allowed="a string without NUL",
    check=_environment_value,
    quiet=True,
)

APP_FIELDS: Final[tuple[Field, ...]] = (
    Field(
        "name",
        "str",
        "Names the app on the host: its units, its user, its folders, its history.",
        REQUIRED,
        "shop",
        allowed="a lower-case name of at most 23 letters, digits and hyphens that starts with a letter and does not"
        " end in - or -trial",
        check=_app_name,
    ),
    Field(
        "source",
        "section",
        "Where the app comes from: exactly one of path, wheel, pip and git.",
        REQUIRED,
        {"path": "app"},
        replace=True,
        fields=(
            Field(
                "path",
                "str",
                "A folder on the controller with a pyproject.toml. A relative path is looked for in the folder of the"
                " inventory's file, beside the playbook, in the folder above the playbook and in the working directory,"
                " in this order, unless `headcount_base_dir` says where. Keep it out of a folder that is the inventory"
                " as a whole: Ansible would execute the app's executable files.",
                example="app",
                check=_plain,
            ),
            Field(
                "wheel",
                "str",
                "A wheel on the controller; found as `path` is.",
                example="dist/shop-1.4.2-py3-none-any.whl",
                allowed="the path of a file NAME-VERSION-TAGS.whl",
                check=_wheel,
            ),
            Field(
                "pip",
                "str",
                "A released distribution, with its exact version: two runs of one inventory give the same release.",
                example="httpbin==0.10.2",
                allowed="NAME==VERSION, extras as NAME[extra]==VERSION",
                check=_pip,
            ),
            Field(
                "git",
                "str",
                "A repository, cloned by the controller.",
                example="https://git.example.com/shop.git",
                allowed="the URL of a repository (https, ssh, git, file), user@host:path or a path, without a password",
                check=_git,
            ),
            Field(
                "version",
                "str",
                "With git: the tag, commit or branch. A branch is resolved to its commit in each run.",
                example="v1.4.2",
                allowed="a tag, commit or branch",
                check=_git_version,
            ),
            Field(
                "lock",
                "str",
                "Which file says the versions: a lock (pylock.toml, uv.lock, poetry.lock, Pipfile.lock) or a"
                " requirements file; found as `path` is. No other one is then read.",
                example="app/requirements.lock",
                default_help="those in the folder of the source, which must not contradict each other; what none of"
                " them says is decided by the controller for each platform",
                check=_plain,
            ),
            Field(
                "subdirectory",
                "str",
                "With path and git: the folder of the project inside the source.",
                example="services/shop",
                allowed="a relative path inside the source",
                check=_relative,
            ),
            Field(
                "include",
                "list",
                "With path: what is shipped although git ignores it (built assets, compiled translations), or although"
                " it looks like a secret, data or an environment.",
                [],
                ["shop/static/dist/**", "shop/translations/**/*.mo"],
                items=Field(
                    "",
                    "str",
                    "A file, a folder or a pattern inside the project.",
                    REQUIRED,
                    "shop/static/dist/**",
                    allowed="a relative path inside the project, with *, ** and ? for what may differ",
                    check=_include,
                ),
            ),
        ),
    ),
    Field(
        "entry_point",
        "str",
        "The WSGI callable, or the factory that makes it, as Gunicorn takes it.",
        REQUIRED,
        "shop.wsgi:create_app()",
        allowed="module:callable or module:factory(), arguments as literals",
        check=_entry_point,
    ),
    Field(
        "listen",
        "str",
        "Where users reach the app. systemd holds this socket, whatever generation serves it.",
        REQUIRED,
        "0.0.0.0:8000",
        allowed="IPv4:port, [IPv6]:port or unix:/path",
        check=_listen,
    ),
    Field(
        "profile",
        "str",
        "What requests do most: compute (cpu), wait (io), or both (mixed). The weigh replaces it by what is measured.",
        choices=("cpu", "io", "mixed"),
        example="io",
        default_help="taken as mixed until the app has been weighed",
    ),
    Field(
        "wait_ratio",
        "number",
        "Instead of a profile: the time a request waits, divided by the CPU time it takes.",
        unit="",
        minimum=0,
        maximum=100_000,
        example=8.0,
        default_help="from `cpu_ms` and `wait_ms`, else from the profile",
    ),
    Field("cpu_ms", "number", "CPU time of one request.", unit="ms", above=0, maximum=3_600_000, example=2.0),
    Field("wait_ms", "number", "Time that one request waits.", unit="ms", minimum=0, maximum=3_600_000, example=20.0),
    Field(
        "mix",
        "str",
        "Whether requests take about the same CPU time (uniform) or long ones come among short ones (mixed).",
        choices=("uniform", "mixed"),
        example="uniform",
        default_help="taken as mixed until several paths have been weighed and are alike",
    ),
    Field(
        "worker_class",
        "str",
        "The kind of Gunicorn worker; auto lets the plan choose.",
        "auto",
        "gthread",
        choices=("auto", *WORKER_CLASSES),
    ),
    Field(
        "concurrency",
        "int",
        "Requests in flight at peak on one host.",
        minimum=1,
        maximum=1_000_000,
        example=200,
        default_help="from `rate` by Little's law where it is declared, else what the host can carry",
    ),
    Field(
        "rate",
        "number",
        "Requests a second at peak on one host.",
        unit="per second",
        above=0,
        maximum=1_000_000,
        example=120.0,
    ),
    Field(
        "memory",
        "section",
        "What the app needs, where it is known before it is weighed.",
        {},
        {"worker_mib": 90},
        fields=(
            Field("worker_mib", "number", "One worker, loaded.", unit="MiB", above=0, maximum=16_777_216, example=90.0),
            Field(
                "slot_mib",
                "number",
                "One request in flight, on top.",
                unit="MiB",
                minimum=0,
                maximum=16_777_216,
                example=0.5,
            ),
        ),
    ),
    Field(
        "environment",
        "map",
        "Environment of the app. It can be read on the host and in reports: secrets go under `secrets`.",
        {},
        {"SHOP_CURRENCY": "EUR"},
        allowed="a mapping of names of environment variables to strings",
        key_check=_environment_name,
        items=_ENVIRONMENT_VALUE,
        quiet=True,
    ),
    Field(
        "secrets",
        "map",
        "Environment that is secret: it is in one file that only root can read, and in no log, diff, process list or"
        " ledger.",
        {},
        {"DATABASE_URL": "{{ vault_shop_database_url }}"},
        allowed="a mapping of names of environment variables to strings",
        key_check=_environment_name,
        items=_ENVIRONMENT_VALUE,
        quiet=True,
    ),
    Field(
        "health",
        "section",
        "How the app says that it is well. A bare string is its path.",
        {},
        "/healthz",
        shorthand="path",
        fields=(
            Field(
                "path", "str", "What is asked.", "/", "/healthz", allowed="a path that starts with /", check=_url_path
            ),
            Field(
                "status",
                "list",
                "The status codes that mean well.",
                [200],
                [200, 204],
                minimum=1,
                check=_status,
                items=Field("", "int", "A status code.", REQUIRED, 200, minimum=100, maximum=599),
            ),
            Field("contains", "str", "Text that the answer must hold.", example="ok", check=_plain),
            Field(
                "timeout_seconds", "number", "One answer takes at most this.", 5.0, 5, "seconds", above=0, maximum=300
            ),
            Field(
                "boot_seconds",
                "number",
                "The first good answer comes within this after the start.",
                60.0,
                60,
                "seconds",
                above=0,
                maximum=3600,
            ),
        ),
    ),
    Field(
        "load",
        "section",
        "The load of the trial.",
        {},
        {"paths": ["/"], "rate": 50, "seconds": 30},
        fields=(
            Field(
                "paths",
                "list",
                "What is asked for; a bare string is a path.",
                ["/"],
                ["/", "/products"],
                minimum=1,
                items=Field(
                    "",
                    "section",
                    "One kind of request.",
                    REQUIRED,
                    "/products",
                    shorthand="path",
                    fields=(
                        Field(
                            "path",
                            "str",
                            "Path and query.",
                            REQUIRED,
                            "/products?page=2",
                            allowed="a path that starts with /",
                            check=_url_path,
                        ),
                        Field(
                            "weight",
                            "number",
                            "Its share of the requests, against the others.",
                            1.0,
                            3,
                            above=0,
                            maximum=1_000_000,
                        ),
                        Field(
                            "cpu_ms",
                            "number",
                            "CPU time of a request of this path; of all paths or of none. The weigh replaces it.",
                            unit="ms",
                            above=0,
                            maximum=3_600_000,
                            example=300.0,
                        ),
                        Field(
                            "wait_ms",
                            "number",
                            "Time that a request of this path waits, beside cpu_ms.",
                            unit="ms",
                            minimum=0,
                            maximum=3_600_000,
                            example=20.0,
                            default_help="0 where cpu_ms is declared",
                        ),
                        Field(
                            "method",
                            "str",
                            "The method.",
                            "GET",
                            "POST",
                            choices=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
                        ),
                        Field(
                            "body",
                            "str",
                            "The body, with POST, PUT, PATCH and DELETE.",
                            example='{"q": "tea"}',
                            quiet=True,
                        ),
                        Field(
                            "headers",
                            "map",
                            "Headers. They are in the process list of the load host: no secrets here.",
                            {},
                            {"Accept": "application/json"},
                            allowed="a mapping of names of headers to strings of one line",
                            key_check=_header_name,
                            items=Field(
                                "",
                                "scalar",
                                "The value.",
                                REQUIRED,
                                "text/html",
                                allowed="a string of one line",
                                check=_plain,
                                quiet=True,
                            ),
                            quiet=True,
                        ),
                        Field(
                            "status",
                            "list",
                            "Statuses that mean well; any other answer counts as a failed request.",
                            ABSENT,
                            [200, 302],
                            default_help="every 2xx",
                            minimum=1,
                            items=Field("", "int", "A status.", REQUIRED, 200, minimum=100, maximum=599),
                        ),
                    ),
                ),
            ),
            Field(
                "rate",
                "number",
                "Requests a second, all paths together.",
                unit="per second",
                above=0,
                maximum=100_000,
                example=50,
                default_help="a share of the capacity that was weighed",
            ),
            Field("seconds", "number", "How long.", 30.0, 30, "seconds", minimum=1, maximum=3600),
            Field(
                "from",
                "str",
                "Where the load comes from; from another machine it needs a `listen` that is reached from there.",
                ABSENT,
                "loadgen1",
                default_help="host",
                allowed="host, controller, or the name of another host of the inventory",
                check=_host_name,
            ),
            Field(
                "port",
                "int",
                "With a load from elsewhere: the port at which the candidate listens while it is tried, and no longer.",
                ABSENT,
                8001,
                default_help="the port of `listen` + 1",
                minimum=1,
                maximum=65535,
                allowed="a port from 1 to 65535",
            ),
            Field(
                "address",
                "str",
                "With a load from elsewhere: the address of the app's host, as the load host reaches it.",
                ABSENT,
                "10.0.0.11",
                default_help="the address of `listen` where it names one, else ansible_host",
                allowed="an IP address of the app's host",
                check=_ip,
            ),
            Field(
                "warmup_requests",
                "int",
                "Requests before the measurement, thrown away.",
                minimum=0,
                maximum=1_000_000,
                example=500,
                default_help="100 for each worker",
            ),
        ),
    ),
    Field(
        "limits",
        "section",
        "What the trial must keep. A latency without a limit is judged against the live generation only.",
        {},
        {"p95_ms": 250, "error_rate": 0.01},
        fields=(
            Field("p50_ms", "number", "Median latency.", unit="ms", above=0, maximum=3_600_000, example=100),
            Field(
                "p95_ms", "number", "95th percentile of latency.", unit="ms", above=0, maximum=3_600_000, example=250
            ),
            Field(
                "p99_ms", "number", "99th percentile of latency.", unit="ms", above=0, maximum=3_600_000, example=800
            ),
            Field(
                "error_rate",
                "number",
                "Share of requests that may fail.",
                0.01,
                0.01,
                "a share",
                minimum=0,
                below=1,
                allowed="a share from 0 to below 1",
            ),
            Field(
                "memory_percent",
                "number",
                "Peak memory, of the generation's MemoryMax.",
                80.0,
                80,
                "percent",
                above=0,
                maximum=100,
            ),
        ),
    ),
    Field(
        "share",
        "section",
        "The app's part of the host, among the apps on it.",
        {},
        {"weight": 2},
        fields=(
            Field("weight", "number", "Its weight against the other apps.", 1.0, 2, above=0, maximum=10_000),
            Field("cores", "number", "Instead of the weight: cores.", unit="cores", above=0, maximum=4096, example=1.5),
            Field(
                "memory_mib",
                "number",
                "Instead of the weight: memory.",
                unit="MiB",
                above=0,
                maximum=16_777_216,
                example=1024,
            ),
        ),
    ),
    Field(
        "buffering_proxy",
        "bool",
        "Whether a proxy in front reads whole requests and answers before it passes them on (nginx does, HAProxy"
        " only when told to).",
        False,
        True,
    ),
    Field(
        "database",
        "section",
        "A database that the whole fleet shares: hosts x slots must fit.",
        {},
        {"max_connections": 200, "reserved": 10},
        fields=(
            Field("max_connections", "int", "What the server allows.", minimum=1, maximum=10_000_000, example=200),
            Field(
                "connections_per_slot",
                "number",
                "Connections that one request in flight holds.",
                1.0,
                1,
                minimum=0,
                maximum=1000,
            ),
            Field("reserved", "int", "Connections kept for everything else.", 0, 10, minimum=0, maximum=10_000_000),
        ),
    ),
    Field(
        "settings",
        "section",
        "Values that override the plan; the plan says so.",
        {},
        {"timeout": 60},
        fields=(
            Field("workers", "int", "Worker processes.", ABSENT, 4, minimum=1, maximum=4096),
            Field("threads", "int", "Threads of each worker (gthread).", ABSENT, 8, minimum=1, maximum=4096),
            Field(
                "worker_connections",
                "int",
                "Connections of each worker (gthread, gevent, eventlet).",
                ABSENT,
                500,
                minimum=1,
                maximum=1_000_000,
            ),
            Field("preload_app", "bool", "Whether the app is imported before the workers are forked.", ABSENT, True),
            Field("backlog", "int", "Connections that wait to be accepted.", ABSENT, 2048, minimum=1, maximum=65535),
            Field(
                "keepalive",
                "number",
                "How long an idle connection is kept.",
                ABSENT,
                5,
                "seconds",
                minimum=0,
                maximum=3600,
            ),
            Field(
                "timeout", "number", "How long a worker may be silent.", ABSENT, 60, "seconds", above=0, maximum=86_400
            ),
            Field(
                "graceful_timeout",
                "number",
                "How long a worker may finish its requests.",
                ABSENT,
                30,
                "seconds",
                above=0,
                maximum=86_400,
            ),
            Field(
                "max_requests",
                "int",
                "Requests after which a worker is replaced; 0 is never.",
                ABSENT,
                10_000,
                minimum=0,
                maximum=1_000_000_000,
            ),
            Field(
                "max_requests_jitter", "int", "Spread of max_requests.", ABSENT, 1000, minimum=0, maximum=1_000_000_000
            ),
            Field("limit_nofile", "int", "Open files.", ABSENT, 65_536, minimum=64, maximum=1_073_741_816),
            Field(
                "malloc_trim_threshold_mib",
                "int",
                "Freed memory that a worker keeps for its next requests; 0 leaves that to glibc.",
                ABSENT,
                64,
                "MiB",
                minimum=0,
                maximum=1_048_576,
            ),
            Field(
                "switch_interval_ms",
                "number",
                "How soon threads of one gthread worker take turns; 0 leaves that to Python (5 ms).",
                ABSENT,
                0.5,
                "ms",
                minimum=0,
                maximum=1000,
            ),
            Field(
                "memory_high_mib", "int", "MemoryHigh of the unit.", ABSENT, 900, "MiB", minimum=16, maximum=16_777_216
            ),
            Field(
                "memory_max_mib", "int", "MemoryMax of the unit.", ABSENT, 1024, "MiB", minimum=16, maximum=16_777_216
            ),
        ),
    ),
    Field(
        "profile_mismatch",
        "str",
        "What happens when the app contradicts its declared profile: said, refused, or planned anew from what was"
        " measured.",
        "warn",
        "use_measured",
        choices=("warn", "fail", "use_measured"),
    ),
    Field(
        "on_inconclusive",
        "str",
        "What happens when the trial cannot tell.",
        "revert",
        "promote",
        choices=("revert", "promote"),
    ),
    Field(
        "async_libraries",
        "map",
        "Libraries to add to (or correct in) the table of those that block gevent and eventlet.",
        {},
        {"acme-client": {"blocks": True, "remedy": "acme-client 3 has a cooperative mode"}},
        allowed="a mapping of names of distributions to blocks and remedy",
        key_check=_distribution,
        items=Field(
            "",
            "section",
            "What is known of the library.",
            REQUIRED,
            {"blocks": True, "remedy": "acme-client 3 has a cooperative mode"},
            fields=(
                Field("blocks", "bool", "Whether it blocks the event loop.", REQUIRED, True),
                Field(
                    "remedy", "scalar", "What to do about it.", "", "acme-client 3 has a cooperative mode", check=_plain
                ),
            ),
        ),
    ),
    Field(
        "retain",
        "section",
        "What is kept on the host.",
        {},
        {"good": 5},
        fields=(
            Field(
                "good",
                "int",
                "Generations that have served, the live one included.",
                minimum=2,
                maximum=100,
                example=5,
                default_help="`headcount_retain`",
            ),
        ),
    ),
    Field(
        "verify_seconds",
        "number",
        "How long the real socket is watched after the promotion.",
        5.0,
        5,
        "seconds",
        minimum=0,
        maximum=3600,
    ),
    Field(
        "user",
        "str",
        "The system user that the app runs as.",
        example="shop",
        default_help="made for the app, without login",
        allowed="the name of an unprivileged system user",
        check=_user,
    ),
    Field(
        "slice",
        "str",
        "The systemd slice that the app runs in; its limits count.",
        "system.slice",
        "web.slice",
        allowed="the name of a slice unit",
        check=_slice,
    ),
)

VARIABLES: Final[tuple[Field, ...]] = (
    Field(
        "headcount_apps",
        "list",
        "The apps of the host.",
        REQUIRED,
        [
            {
                "name": "shop",
                "source": {"path": "app"},
                "entry_point": "shop.wsgi:create_app()",
                "listen": "0.0.0.0:8000",
            }
        ],
        allowed="a list of apps, at least one",
        minimum=1,
        items=Field(
            "", "section", "One app.", REQUIRED, fields=APP_FIELDS, allowed="a mapping with the keys of an app"
        ),
        quiet=True,
    ),
    Field(
        "headcount_app_overrides",
        "map",
        "What is different on this host or in this group, by the app's name; merged over the app. Lists and `source`"
        " are replaced as a whole.",
        {},
        {"shop": {"concurrency": 50}},
        allowed="a mapping of names of apps to keys of an app",
        items=Field(
            "",
            "section",
            "Keys of an app.",
            REQUIRED,
            {"concurrency": 50},
            fields=APP_FIELDS,
            allowed="a mapping with keys of an app",
        ),
        quiet=True,
    ),
    Field(
        "headcount_base_dir",
        "str",
        "The folder on the controller that relative paths of sources and locks start from.",
        example="/srv/deploy",
        default_help="looked for in the places that `source.path` names",
        allowed="the absolute path of a folder on the controller",
        check=_plain,
    ),
    Field(
        "headcount_work_dir",
        "str",
        "The folder on the controller for the notes of runs and the gathered wheels.",
        example="/var/lib/deploy/headcount",
        default_help=".headcount in the working directory",
        allowed="the path of a folder on the controller",
        check=_plain,
    ),
    Field(
        "headcount_python",
        "str",
        "The Python on the host that releases run on; 3.9 or later.",
        "/usr/bin/python3",
        "/usr/bin/python3.13",
        allowed="an absolute path",
        check=_absolute,
    ),
    Field(
        "headcount_reserve_memory_mib",
        "number",
        "Memory that is left to the system and everything that is not declared here.",
        unit="MiB",
        minimum=0,
        maximum=16_777_216,
        example=512,
        default_help="derived from the memory of the host",
    ),
    Field(
        "headcount_rollout_headroom",
        "bool",
        "Whether the plan leaves room for two generations side by side, which a rollout without a lost request needs.",
        True,
        False,
    ),
    Field(
        "headcount_install_packages",
        "bool",
        "Whether missing distribution packages (h2load, psutil, venv) are installed.",
        True,
        False,
    ),
    Field(
        "headcount_retain",
        "int",
        "Generations that have served and are kept, for every app that does not say `retain.good`.",
        3,
        5,
        minimum=2,
        maximum=100,
    ),
    Field(
        "headcount_retune_at_boot",
        "bool",
        "Whether a host whose hardware has changed tunes itself again at boot, from what is on it. It is noticed and"
        " told in any case.",
        False,
        True,
    ),
    Field(
        "headcount_canary",
        "str",
        "The host that goes first, where it is in the play.",
        example="web1",
        default_help="the first host of each hardware class",
        allowed="the name of a host of the inventory",
        check=_host_name,
        same_for_all=True,
    ),
    Field(
        "headcount_rollout_batches",
        "list",
        "Sizes of the batches, as numbers of hosts or shares of the play; the last one is repeated.",
        ["1", "10%", "50%", "100%"],
        ["1", "10%", "50%", "100%"],
        minimum=1,
        items=Field(
            "",
            "scalar",
            "One size.",
            REQUIRED,
            "10%",
            allowed="a number of hosts from 1, or a share from 1% to 100%",
            check=_batch,
        ),
        same_for_all=True,
    ),
    Field(
        "headcount_rollout_wait_seconds",
        "number",
        "The wait between two batches.",
        0.0,
        300,
        "seconds",
        minimum=0,
        maximum=86_400,
        same_for_all=True,
    ),
    Field(
        "headcount_rollout_max_failed",
        "int",
        "Hosts that may fail before the rollout stops.",
        0,
        2,
        minimum=0,
        maximum=1_000_000,
        same_for_all=True,
    ),
    Field(
        "headcount_on_failure",
        "str",
        "What happens to the hosts already promoted when a rollout stops: they go back, stay, or you are asked.",
        "revert_all",
        "keep",
        choices=("revert_all", "keep", "ask"),
        same_for_all=True,
    ),
    Field(
        "headcount_drain_tasks",
        "str",
        "A task file on the controller that takes the host out of its load balancer before it is changed.",
        example="tasks/drain.yml",
        check=_plain,
    ),
    Field(
        "headcount_undrain_tasks",
        "str",
        "A task file on the controller that puts the host back into its load balancer.",
        example="tasks/undrain.yml",
        check=_plain,
    ),
)

COMMAND_VARIABLES: Final[tuple[Field, ...]] = (
    Field(
        "headcount_hosts",
        "str",
        "The hosts that a playbook is for, as a pattern of Ansible.",
        example="web_small",
        default_help="all",
        check=_plain,
    ),
    Field(
        "headcount_app",
        "str",
        "The app that a playbook is about.",
        example="shop",
        default_help="all apps in history.yml, required in rollback.yml and remove.yml",
        allowed="the name of an app",
        check=_app_name,
    ),
    Field(
        "headcount_to",
        "int",
        "The generation that rollback.yml goes back to.",
        minimum=1,
        maximum=1_000_000_000,
        example=7,
        default_help="the good one before the live one",
    ),
    Field(
        "headcount_last",
        "int",
        "How many events history.yml prints.",
        minimum=1,
        maximum=1_000_000,
        example=50,
        default_help="20",
    ),
    Field(
        "headcount_report_path",
        "str",
        "Where the report of a run is written, as JSON.",
        example="report.json",
        default_help="`report.json` in `headcount_work_dir`",
        check=_plain,
    ),
)
"""What is said on the command line (`-e`), for one call of a playbook. No role has a default for these."""

ROLE_VARIABLES: Final[dict[str, tuple[Field, ...]]] = {
    "history": (
        Field(
            "history_apps",
            "list",
            "Names of the apps; an empty list means all.",
            [],
            ["shop"],
            items=Field("", "str", "A name.", REQUIRED, "shop", allowed="the name of an app", check=_app_name),
        ),
        Field("history_last", "int", "How many events are printed.", 20, 50, minimum=1, maximum=1_000_000),
    ),
    "plan": (
        Field(
            "plan_mode",
            "str",
            "For a rollout, a re-tune (only what the hosts themselves did counts), or to be told only.",
            "rollout",
            "retune",
            choices=("rollout", "retune", "plan", "drift"),
        ),
    ),
    "pull": (
        Field(
            "pull_url",
            "str",
            "The repository, a checkout of Headcount with your inventory in it.",
            REQUIRED,
            "https://git.example.com/fleet.git",
            check=_plain,
        ),
        Field("pull_version", "str", "A branch, a tag or a commit.", "main", "stable", check=_plain),
        Field(
            "pull_inventory",
            "str",
            "The inventory, as a path in the repository.",
            REQUIRED,
            "inventories/production",
            check=_relative,
        ),
        Field(
            "pull_playbook",
            "str",
            "The playbook, as a path in the repository.",
            "site.yml",
            "playbooks/retune.yml",
            check=_relative,
        ),
        Field("pull_calendar", "str", "When, as a calendar event of systemd.", "hourly", "*-*-* 04:00", check=_plain),
        Field(
            "pull_splay_seconds",
            "int",
            "Each host waits its own part of this, the same each time.",
            1800,
            3600,
            "seconds",
            minimum=0,
            maximum=86_400,
        ),
        Field(
            "pull_packages",
            "list",
            "What pip installs for it.",
            ["ansible-core>=2.16", "uv", "packaging"],
            ["ansible-core==2.19.14", "uv", "packaging"],
            items=Field("", "str", "A requirement.", REQUIRED, "uv", check=_plain),
        ),
        Field(
            "pull_pip_options",
            "str",
            "More options of pip for that.",
            "",
            "--index-url https://pypi.example.com/simple",
            check=_plain,
        ),
        Field(
            "pull_options",
            "list",
            "More options of ansible-pull.",
            [],
            ["--vault-password-file=/root/vault-password"],
            items=Field("", "str", "A word of the command line.", REQUIRED, "--diff", check=_plain),
        ),
    ),
    "remove": (
        Field("remove_app", "str", "Name of the app.", REQUIRED, "shop", allowed="the name of an app", check=_app_name),
    ),
    "report": (
        Field(
            "report_path",
            "str",
            "Where the JSON goes.",
            example="report.json",
            default_help="`report.json` in `headcount_work_dir`",
            check=_plain,
        ),
    ),
    "rollback": (
        Field(
            "rollback_app", "str", "Name of the app.", REQUIRED, "shop", allowed="the name of an app", check=_app_name
        ),
        Field(
            "rollback_to",
            "int",
            "Number of the generation.",
            minimum=1,
            maximum=1_000_000_000,
            example=7,
            default_help="the good one before the live one",
        ),
    ),
}
"""Parameters of single roles, which their callers set; by the role's name, which they begin with."""

INTERNAL_PREFIXES: Final = ("headcount__", "headcount_lab_")
"""Variables that are no inputs: what the roles themselves set, and what a lab's inventory says about the lab."""
