# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The larger sections of an app in the table of what can be declared."""

from __future__ import annotations

from typing import Final

from . import checks
from .fields import ABSENT, REQUIRED, Field

SOURCE: Final = Field(
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
            "A folder on the controller with a project, be it a package or not (`as`). A relative path is looked for in"
            " the folder of the inventory's file, beside the playbook, in the folder above the playbook and in the"
            " working directory, in this order, unless `headcount_base_dir` says where. Keep it out of a folder that is"
            " the inventory as a whole: Ansible would execute the app's executable files.",
            example="app",
            check=checks.plain,
        ),
        Field(
            "wheel",
            "str",
            "A wheel on the controller; found as `path` is.",
            example="dist/shop-1.4.2-py3-none-any.whl",
            allowed="the path of a file NAME-VERSION-TAGS.whl",
            check=checks.wheel,
        ),
        Field(
            "pip",
            "str",
            "A released distribution, with its exact version: two runs of one inventory give the same release.",
            example="httpbin==0.10.2",
            allowed="NAME==VERSION, extras as NAME[extra]==VERSION",
            check=checks.pip,
        ),
        Field(
            "git",
            "str",
            "A repository, cloned by the controller.",
            example="https://git.example.com/shop.git",
            allowed="the URL of a repository (https, ssh, git, file), user@host:path or a path, without a password",
            check=checks.git,
        ),
        Field(
            "version",
            "str",
            "With git: the tag, commit or branch. A branch is resolved to its commit in each run.",
            example="v1.4.2",
            allowed="a tag, commit or branch",
            check=checks.git_version,
        ),
        Field(
            "lock",
            "str",
            "Which file says the versions: a lock (pylock.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock) or a"
            " requirements file; found as `path` is. No other one is then read.",
            example="app/requirements.lock",
            default_help="those in the folder of the source, which must not contradict each other; what none of"
            " them says is decided by the controller for each platform",
            check=checks.plain,
        ),
        Field(
            "subdirectory",
            "str",
            "With path and git: the folder of the project inside the source.",
            example="services/shop",
            allowed="a relative path inside the source",
            check=checks.relative,
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
                check=checks.include,
            ),
        ),
        Field(
            "as",
            "str",
            "With path and git: how the project is released. A `tree` is released as it is, as the working directory"
            " of its processes and on their path, with what it depends on beside it; of a `package` a wheel is built."
            " `auto` decides by what the project has: with a `[project]` and a `[build-system]`, a setup.py or the"
            " `[metadata]` of a setup.cfg it is a package, without them a tree. The plan says which, and why.",
            "auto",
            "tree",
            choices=("auto", "tree", "package"),
        ),
        Field(
            "requirements",
            "list",
            "With path and git: what the project depends on, instead of what it says itself: requirements files and"
            " locks inside the project, and requirements as pip reads them. What the metadata of a package asks for"
            " holds beside them. `[]` is for an app that needs nothing.",
            None,
            ["requirements/prod.txt", "psycopg[binary]==3.2.13"],
            default_help="the first of pylock.toml, uv.lock, poetry.lock, pdm.lock, Pipfile.lock, requirements.txt (or"
            " requirements/prod.txt and the like) that the project has, and its pyproject.toml",
            items=Field(
                "",
                "str",
                "A file inside the project, or a requirement.",
                REQUIRED,
                "requirements/prod.txt",
                allowed="the path of a requirements file or lock inside the project, or a requirement (flask==3.1.2)",
                check=checks.requirement,
            ),
        ),
    ),
)


def _headers(help_: str, default: object) -> Field:
    return Field(
        "headers",
        "map",
        help_,
        default,
        {"Accept": "application/json"},
        allowed="a mapping of names of headers to strings of one line",
        key_check=checks.header_name,
        items=Field(
            "",
            "scalar",
            "The value.",
            REQUIRED,
            "text/html",
            allowed="a string of one line",
            check=checks.plain,
            quiet=True,
        ),
        quiet=True,
    )


HEALTH: Final = Field(
    "health",
    "section",
    "How the app says that it is well. A bare string is its path.",
    {},
    "/healthz",
    shorthand="path",
    fields=(
        Field(
            "path", "str", "What is asked.", "/", "/healthz", allowed="a path that starts with /", check=checks.url_path
        ),
        Field(
            "status",
            "list",
            "The status codes that mean well.",
            [200],
            [200, 204],
            minimum=1,
            check=checks.status,
            items=Field("", "int", "A status code.", REQUIRED, 200, minimum=100, maximum=599),
        ),
        Field("contains", "str", "Text that the answer must hold.", example="ok", check=checks.plain),
        _headers("Headers of the health check, beside those that `host` and `scheme` make.", ABSENT),
        Field("timeout_seconds", "number", "One answer takes at most this.", 5.0, 5, "seconds", above=0, maximum=300),
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
)

LOAD: Final = Field(
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
                        check=checks.url_path,
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
                        "CPU time of a request of this path; of all paths or of none. The weigh replaces it, if it gets"
                        " the page.",
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
                    _headers(
                        "Headers, beside those that `host` and `scheme` make. They are in the process list of the load"
                        " host: no secrets here.",
                        {},
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
                    Field(
                        "contains",
                        "str",
                        "Text that its answers must hold. Looked for in the weigh, before and after the load of the"
                        " trial (five times each), in the verification and by status.",
                        ABSENT,
                        "Your basket",
                        check=checks.plain,
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
            check=checks.host_name,
        ),
        Field(
            "port",
            "int",
            "With a remote load: the port at which the candidate listens while it is tried, and no longer.",
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
            "With a remote load: the address of the app's host, as the load host reaches it.",
            ABSENT,
            "10.0.0.11",
            default_help="the address of `listen` where it names one, else ansible_host",
            allowed="an IP address of the app's host",
            check=checks.ip,
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
)

LIMITS: Final = Field(
    "limits",
    "section",
    "What the trial must keep. Beside that, p50 and p95 are held against those of the live generation under the same "
    "load, whether they have a limit or not; p99 has its limit alone. They are not where there is no live generation "
    "that can be loaded, and not where the app's part of the host has become smaller (another app shares it, or the "
    "host shrank) and its plan with it: what has fewer workers need not be as fast as what had more. Then a latency "
    "without a limit is not judged, and the evidence says so.",
    {},
    {"p95_ms": 250, "error_rate": 0.01},
    fields=(
        Field("p50_ms", "number", "Median latency.", unit="ms", above=0, maximum=3_600_000, example=100),
        Field("p95_ms", "number", "95th percentile of latency.", unit="ms", above=0, maximum=3_600_000, example=250),
        Field("p99_ms", "number", "99th percentile of latency.", unit="ms", above=0, maximum=3_600_000, example=800),
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
        Field(
            "cpu_ms",
            "number",
            "CPU that a request may take on average. Without it, a request may take 30 % (and 1 ms) more than one of "
            "the live generation's; declare it where a release is meant to take more.",
            ABSENT,
            20,
            "ms",
            above=0,
            maximum=3_600_000,
            default_help="held against the live generation's",
        ),
        Field(
            "idle_cores",
            "number",
            "Cores that an instance may use while nobody asks it. Without it, 0.1 more than the live generation, and "
            "three times as much, are a fault; declare it where a release is meant to work by itself.",
            ABSENT,
            0.5,
            "cores",
            minimum=0,
            maximum=1024,
            default_help="held against the live generation's",
        ),
    ),
)

SETTINGS: Final = Field(
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
        Field("timeout", "number", "How long a worker may be silent.", ABSENT, 60, "seconds", above=0, maximum=86_400),
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
        Field("max_requests_jitter", "int", "Spread of max_requests.", ABSENT, 1000, minimum=0, maximum=1_000_000_000),
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
        Field("memory_high_mib", "int", "MemoryHigh of the unit.", ABSENT, 900, "MiB", minimum=16, maximum=16_777_216),
        Field("memory_max_mib", "int", "MemoryMax of the unit.", ABSENT, 1024, "MiB", minimum=16, maximum=16_777_216),
        Field(
            "gunicorn_version",
            "str",
            "Which Gunicorn serves, instead of the one that the project pins, or the newest that was tested.",
            ABSENT,
            "26.1.0",
            allowed="an exact version from 23.0.0 on, in quotes",
            check=checks.gunicorn_version,
        ),
    ),
)
