# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Command lines that start an app: of Gunicorn, Flask, uWSGI, Waitress and Python, as projects write them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

_MODULE: Final = r"[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*"
_TARGET: Final = re.compile(rf"(?P<module>{_MODULE})(?::(?P<target>[A-Za-z_][\w.]*(?:\(.*\))?))?")
# Options of Gunicorn without a value; of any other one, the next word is the value.
_FLAGS: Final = frozenset(
    [
        "--preload",
        "--reload",
        "--daemon",
        "-D",
        "--check-config",
        "--print-config",
        "--no-sendfile",
        "--spew",
        "--reuse-port",
        "--capture-output",
        "-R",
        "--enable-stdio-inheritance",
        "--proxy-protocol",
        "--no-control-socket",
        "--initgroups",
        "--disable-redirect-access-to-syslog",
        "--log-syslog",
        "-q",
        "--suppress-ragged-eofs",
        "--do-handshake-on-connect",
        "--strip-header-spaces",
    ]
)
_PROCESSES: Final = re.compile(
    r"\b(celery|rq|huey_consumer|dramatiq|flask_apscheduler|arq|supercronic|sidekiq)\b|\bworker\b"
)


@dataclass(frozen=True)
class Started:
    """What a command line starts: `module` and `target` of the app, the folder it changes to, where it listens, the
    file of settings that Gunicorn is given."""

    module: str
    target: str = ""
    chdir: str = ""
    listen: str = ""
    timeout: int | None = None
    server: str = "gunicorn"
    config: str = ""


def words_of(line: str) -> list[str]:
    """The words of a shell's line; a line that no shell would take is split at its spaces."""
    text = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", line)
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


_IN_SHELL: Final = re.compile(r"\s*(?:exec\s+)?(?:/\S+/)?(?:ba|da)?sh\s+-[el]*c\s", re.DOTALL)


def unwrapped(line: str) -> str:
    """The line that a shell is given by another one (`bash -c "..."`, over several lines); any other as it is."""
    if not _IN_SHELL.match(line):
        return line
    try:
        words = shlex.split(line)
    except ValueError:
        return line
    at = next((index for index, word in enumerate(words) if re.fullmatch(r"-[el]*c", word)), len(words))
    return " ".join(words[at + 1].split()) if at + 1 < len(words) else line


def started(line: str) -> Started | None:
    """What a line starts, when it starts an app at all."""
    for part in re.split(r"&&|\|\||;", line):
        words = words_of(part)
        found = _of_words(words)
        if found is not None:
            return found
    return None


def _of_words(words: Sequence[str]) -> Started | None:
    for index, word in enumerate(words):
        base = word.rpartition("/")[2]
        rest = words[index + 1 :]
        if base == "gunicorn" or word in ("gunicorn.app.wsgiapp", "gunicorn.app.wsgiapp:run"):
            return _gunicorn(rest)
        if base == "waitress-serve":
            return _waitress(rest)
        if base == "uwsgi":
            return _uwsgi(rest)
        if base == "flask":
            return _flask(rest)
        if re.fullmatch(r"python[\d.]*", base) and rest and rest[0].endswith(".py"):
            module = module_of(rest[0])
            return Started(module, server="python") if module and "manage" not in module else None
    return None


def module_of(path: str) -> str:
    """The module that a file within a project is: `app/run.py` is app.run. "" for what is none."""
    name = path.removeprefix("./").removesuffix(".py").removesuffix("/__init__").strip("/").replace("/", ".")
    return name if re.fullmatch(_MODULE, name) else ""


def target_of(word: str) -> tuple[str, str] | None:
    """(module, target) of MODULE, MODULE:CALLABLE or MODULE:FACTORY(...); None for anything else."""
    match = _TARGET.fullmatch(word)
    return (match["module"], match["target"] or "") if match else None


def options_of(words: Sequence[str], flags: Iterable[str] = ()) -> tuple[dict[str, str], list[str]]:
    """The options of a command line with their values, the last of each, and the words beside them."""
    options: dict[str, str] = {}
    beside: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ("&", "|", ">", ">>", "2>&1"):
            break
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options[name] = value if equals or name in flags or not left else left.pop(0)
        elif word.startswith("-") and len(word) > 1:
            name, value = word[:2], word[2:]
            options[name] = value if value or name in flags or not left else left.pop(0)
        else:
            beside.append(word)
    return options, beside


def _gunicorn(words: Sequence[str]) -> Started | None:
    options, beside = options_of(words, _FLAGS)
    found = next((target for target in map(target_of, beside) if target), None)
    if found is None:
        return None
    bind = options.get("--bind") or options.get("-b") or ""
    chdir = options.get("--chdir") or options.get("--pythonpath") or ""
    timeout = options.get("--timeout") or options.get("-t") or ""
    config = (options.get("--config") or options.get("-c") or "").removeprefix("file:")
    return Started(*found, chdir, listen_of(bind), int(timeout) if timeout.isdigit() else None, config=config)


def _waitress(words: Sequence[str]) -> Started | None:
    options, beside = options_of(words, ("--call",))
    found = next((target for target in map(target_of, beside) if target), None)
    if found is None:
        return None
    target = f"{found[1]}()" if "--call" in options and found[1] and "(" not in found[1] else found[1]
    listen = listen_of(options.get("--listen") or options.get("--port") or "")
    return Started(found[0], target, listen=listen, server="waitress")


def _uwsgi(words: Sequence[str]) -> Started | None:
    options, _ = options_of(words, ("--master", "--die-on-term", "--enable-threads", "--lazy-apps", "--need-app"))
    return uwsgi({name.lstrip("-"): value for name, value in options.items()})


def uwsgi(options: dict[str, str]) -> Started | None:
    """What uWSGI's options start, from its command line or its ini file."""
    callable_name = options.get("callable") or ""
    named = options.get("module") or options.get("w") or ""
    if not named:
        named = module_of(options.get("wsgi-file") or options.get("file") or "")
    found = target_of(named)
    if found is None:
        return None
    listen = listen_of(options.get("http") or options.get("http-socket") or "")
    folder = next((options[key] for key in ("chdir", "pythonpath", "python-path", "pp") if options.get(key)), "")
    return Started(found[0], found[1] or callable_name, folder, listen, server="uwsgi")


def _flask(words: Sequence[str]) -> Started | None:
    options, beside = options_of(words, ("--debug", "--reload", "--no-reload", "--no-debug"))
    if "run" not in beside:
        return None
    app = options.get("--app") or options.get("-A") or ""
    listen = listen_of(
        f"{options.get('--host') or options.get('-h') or ''}:{options.get('--port') or options.get('-p') or ''}"
    )
    named = flask_app(app)
    return Started(*named, listen=listen, server="flask") if named else None


def flask_app(value: str) -> tuple[str, str] | None:
    """(module, target) of a FLASK_APP: a file, a module, either with :NAME or :FACTORY(...)."""
    path, _, target = value.strip().strip("\"'").partition(":")
    module = module_of(path) if path.endswith(".py") or "/" in path else path
    if not re.fullmatch(_MODULE, module or ""):
        return None
    return module, target if re.fullmatch(r"[A-Za-z_]\w*(\(.*\))?", target) else ""


_DAEMONS: Final = frozenset(("attach-daemon", "attach-daemon2", "smart-attach-daemon", "legion-attach-daemon"))


def uwsgi_lines(text: str) -> Iterator[tuple[str, str]]:
    """(key, value) of the lines of uWSGI's ini file that may be there several times: variables (`env`), and commands
    that it runs beside the app."""
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        key, words = name.strip(), value.strip()
        if equals and key == "env" and "=" in words:
            yield key, words
        elif equals and key in _DAEMONS and words:
            if key == "attach-daemon2":  # cmd=COMMAND,pidfile=FILE,...
                words = next((part.removeprefix("cmd=") for part in words.split(",") if part.startswith("cmd=")), "")
            elif key != "attach-daemon":  # FILE or LEGION before the command
                words = words.partition(" ")[2].strip()
            if words:
                yield key, words


def listen_of(bind: str) -> str:
    """An address for `listen` from what a server binds to; "" when it says no port."""
    text = bind.strip().strip("\"'").removeprefix("tcp://").removeprefix("http://")
    if text.startswith(("unix:", "fd:", "/")):
        return ""
    match = re.fullmatch(r"(?:(?P<host>[\w.*-]*|\[[0-9a-fA-F:]*\]):)?(?P<port>\d{1,5})", text)
    if not match or not 1 <= int(match["port"]) <= 65535:
        return ""
    host = match["host"] or "0.0.0.0"
    host = {"localhost": "127.0.0.1", "*": "0.0.0.0"}.get(host, host)
    if not re.fullmatch(r"[\d.]+|\[[0-9a-fA-F:]+\]", host):
        host = "0.0.0.0"
    return f"{host}:{match['port']}"


def is_process(name: str, command: str) -> bool:
    """Whether a declared process is one beside the web server's."""
    found = started(command)
    if name in ("web", "release") or (found is not None and found.server != "python"):
        return False
    return bool(_PROCESSES.search(command)) or bool(_PROCESSES.search(name)) or name in ("clock", "beat", "scheduler")


def procfile(text: str) -> Iterator[tuple[str, str]]:
    """(name, command) of each line of a Procfile."""
    for line in text.splitlines():
        name, colon, command = line.partition(":")
        if colon and re.fullmatch(r"[A-Za-z0-9_-]+", name.strip()) and command.strip():
            yield name.strip(), command.strip()


@dataclass(frozen=True)
class Image:
    """What a Dockerfile says: the command of its last stage, variables, the working directory, the first port, what its
    build runs, and what goes before the command."""

    command: str = ""
    variables: tuple[tuple[str, str], ...] = ()
    workdir: str = ""
    port: str = ""
    runs: tuple[str, ...] = ()
    entry: str = ""


def dockerfile(text: str) -> Image:
    """The last stage of a Dockerfile, with what it has of those that it is made from."""
    image, stage = Image(), ""
    stages: dict[str, Image] = {}
    joined = re.sub(r"\\\s*\n", " ", "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#")))
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM":
            stages[stage] = image
            words = [part for part in rest.lower().split() if not part.startswith("--")]
            image = stages.get(words[0], Image()) if words else Image()
            stage = words[-1] if words[1:2] == ["as"] else ""
        else:
            image = _instructed(image, word.upper(), rest.strip())
    return replace(image, command=" ".join(part for part in (image.entry, image.command) if part))


def _instructed(image: Image, word: str, rest: str) -> Image:
    """An image after one more line of its Dockerfile."""
    if word == "CMD":
        return replace(image, command=_exec_form(rest))
    if word == "ENTRYPOINT":
        return replace(image, entry=_exec_form(rest))
    if word == "ENV":
        return replace(image, variables=(*image.variables, *_env(rest)))
    if word == "RUN":
        return replace(image, runs=(*image.runs, _exec_form(rest)))
    if word == "WORKDIR":
        return replace(image, workdir=rest)
    if word == "EXPOSE" and rest:
        return replace(image, port=image.port or rest.partition("/")[0].partition(" ")[0])
    return image


def _exec_form(text: str) -> str:
    if not text.startswith("["):
        return text
    return shlex.join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))


def _env(text: str) -> list[tuple[str, str]]:
    words = words_of(text)
    if words and "=" not in words[0]:
        return [(words[0], " ".join(words[1:]))]
    return [(name, value) for name, equals, value in (word.partition("=") for word in words) if equals]


def dotenv(text: str) -> list[tuple[str, str]]:
    """(name, value) of each line of a file of variables."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", line)
        if match:
            value = match[2]
            quoted = value[:1] in ("'", '"')
            value = value[1:].split(value[0])[0] if quoted else re.sub(r"\s+#.*", "", value)
            found.append((match[1], value))
    return found
