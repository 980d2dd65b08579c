# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project's code says that a host has to say otherwise: secrets (keys, passwords, addresses with a password),
temporary folders in which something is kept, and where its Redis and its RabbitMQ are. Nothing is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from .inside.settings import SECRET, TEMPORARY

_CREDENTIAL: Final = re.compile(
    r"([A-Z0-9]+_)*(PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|SECRET_ACCESS_KEY|PRIVATE_KEY|(AUTH|ACCESS|API|BOT)_?TOKEN|"
    r"CLIENT_SECRET)"
)
"""Names of what others gave, as settings are called; a label or a field of a form is called in lower case."""
_CONNECTS: Final = re.compile(
    r"(^|\.)(connect|create_engine|create_pool|Redis|StrictRedis|MongoClient|Connection|login)$"
)
_IN_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s:@{}%$<]*:(?P<password>[^/\s@{}%$<]+)@[^\s]", re.IGNORECASE)
_STANDS_FOR: Final = re.compile(
    r"(your|my|the|some|change|replace|insert)[-_ ]?\w*|pass(word|wd)?|pw|token|secret|x+|\*+|\.+|example|dummy|none",
    re.IGNORECASE,
)
"""A word in the place of a password, as an example has it."""
_ELSEWHERE: Final = re.compile(r"(^|_)?(test|dev|local|debug|example|ci)", re.IGNORECASE)
_READS: Final = re.compile(r"(^|\.)(getenv|get_env|config|env|environ|environ\.get|environ\.setdefault|env\.\w+)$")


def written(text: str) -> list[tuple[str, int]]:
    """(name, line) of what is secret in the code of a module, in order: a name whose value is a literal, or `URL` for
    an address with a password. Defaults of variables, tests and settings of development do not count."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found = [item for node in tree.body for item in _in(node)]
    return list(dict.fromkeys(found))


_SESSIONS: Final = re.compile(
    r"flask_(login|wtf|security|admin|appbuilder|debugtoolbar|dance|oidc|seasurf|principal)\b|authlib\.|flask_oauthlib"
)
"""What keeps something in the session of a user."""
_IN_FLASK: Final = ("session", "flash", "get_flashed_messages")


def sessions(text: str) -> list[int]:
    """The lines of a module that import what needs Flask's session, and so a secret to sign it with."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    return sorted({line for node in ast.walk(tree) for line in _needing_session(node)})


def _needing_session(node: ast.AST) -> Iterator[int]:
    if isinstance(node, ast.Import):
        needs = any(_SESSIONS.match(f"{alias.name}.") for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module == "flask" and not node.level:
        needs = any(alias.name in _IN_FLASK for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        needs = not node.level and bool(_SESSIONS.match(f"{node.module}."))
    elif isinstance(node, ast.Attribute):
        needs = node.attr in _IN_FLASK and getattr(node.value, "id", "") == "flask"
    else:
        return
    if needs:
        yield node.lineno


def instance_files(text: str) -> list[str]:
    """The files of settings that a module reads from Flask's instance folder."""
    if "instance_relative_config=True" not in text:
        return []
    return re.findall(r"\.from_pyfile\(\s*['\"]([\w.-]+)['\"]", text)


def prefixes(text: str) -> list[str]:
    """The prefixes of the variables that a module has a Flask app take its settings from (from_prefixed_env)."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [
        _text((*node.args, *(keyword.value for keyword in node.keywords), ast.Constant("FLASK"))[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_prefixed_env"
    ]


def asked(text: str) -> list[tuple[str, int]]:
    """(name, line) of the variables that a module asks its environment for by name, whenever it runs that, also by a
    function of its own (`flag("SHOP_CLOSED")`)."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    found = ((_text(key), key.lineno) for node in ast.walk(tree) for key in _keys(node))
    return [(name, line) for name, line in found if _VARIABLE.fullmatch(name)]


_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]+")


def _keys(node: ast.AST) -> Iterator[ast.expr]:
    """What a part of the code may name a variable by."""
    if isinstance(node, ast.Call):
        yield from node.args[:1]
    elif isinstance(node, ast.Subscript) and _name(node.value) == "environ":
        yield node.slice
    elif isinstance(node, ast.Compare) and _name(node.comparators[0]) == "environ":
        yield node.left


def temporary(text: str) -> list[tuple[str, str, int]]:
    """(name, path, line) of the settings in the code of a module that lead to a temporary folder, in order."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [item for node in tree.body for item in _leads(node)]


_AT: Final = re.compile(r"(?P<scheme>rediss?|amqps?|pyamqp)://[^\s{}<>]*")
_SCHEMES: Final = {"redis": "Redis", "rediss": "Redis", "amqp": "RabbitMQ", "amqps": "RabbitMQ", "pyamqp": "RabbitMQ"}
_HOST: Final = re.compile(r"(?:\w+_)?(?:(?P<redis>REDIS)|RABBIT\w*|AMQP)_(?:\w+_)?HOST(?:NAME)?")
_CLIENTS: Final = {"Redis": "redis", "StrictRedis": "redis", "ConnectionParameters": "pika"}
"""What connects to the machine itself where it is given no host, by its module."""
_SERVERS: Final = {"redis": "Redis", "pika": "RabbitMQ"}
_OTHER_WAYS: Final = ("unix_socket_path", "connection_pool", None)


def services(text: str) -> list[tuple[str, str, int]]:
    """(service, address, line) of the Redis and the RabbitMQ whose places are written into the code of a module, in
    order, without their passwords. Defaults of variables, tests and settings of development do not count."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    modules = frozenset(re.findall(r"^\s*(?:from|import) (redis|pika)\b", text, re.MULTILINE))
    return list(dict.fromkeys(item for node in tree.body for item in _services(node, modules)))


def _services(node: ast.AST, modules: frozenset[str]) -> Iterator[tuple[str, str, int]]:
    if _is_aside(node) or _is_default(node):
        return
    found = _AT.fullmatch(_text(node)) if isinstance(node, ast.Constant) else None
    if found and isinstance(node, ast.Constant):
        yield _SCHEMES[found["scheme"]], re.sub(r"://[^/@]*@", "://***@", found[0]), node.lineno
    for name, value in _named(node):
        host, at = _HOST.fullmatch(name), _text(value)
        if host and at and not at.isupper():  # which would be a variable's name
            yield "Redis" if host["redis"] else "RabbitMQ", at, value.lineno
    if isinstance(node, ast.Call):
        yield from _connected(node, modules)
    for child in ast.iter_child_nodes(node):
        yield from _services(child, modules)


def _is_default(node: ast.AST) -> bool:
    """Whether a part of the code is, or holds, what something else goes before."""
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", "") in ("get", "pop")
    return isinstance(node, ast.keyword) and node.arg == "default"


def _connected(call: ast.Call, modules: frozenset[str]) -> Iterator[tuple[str, str, int]]:
    """Where a call connects to that names a host, or none."""
    module = _CLIENTS.get(ast.unparse(call.func).rpartition(".")[2], "")
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if module not in modules or any(way in keywords for way in _OTHER_WAYS):
        return
    host = _text((*call.args, keywords.get("host", ast.Constant("localhost")))[0])
    if host:
        yield _SERVERS[module], host, call.lineno


def _leads(node: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Those of the statements of a module and its classes that give an upper-case name a path."""
    if _is_aside(node) or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        for name, value in _named(node):
            if name.isupper() and isinstance(value, ast.Constant) and TEMPORARY.match(_text(value)):
                yield name, _text(value), value.lineno
        return
    for child in ast.iter_child_nodes(node):
        yield from _leads(child)


def _in(node: ast.AST) -> Iterator[tuple[str, int]]:
    if _is_aside(node):
        return
    for name, value in _named(node):
        if isinstance(value, ast.Constant) and _is_secret(name, value.value):
            yield name.rpartition(".")[2], value.lineno
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _has_password(node.value):
        yield "URL", node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _in(child)


def _is_aside(node: ast.AST) -> bool:
    """Whether a part of the code says nothing of how the app runs: it is for tests or development, it is a default of
    what the environment says, or it is a text about the code."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return bool(_ELSEWHERE.match(node.name))
    if isinstance(node, ast.If):
        return "__name__" in ast.dump(node.test)
    if isinstance(node, ast.Call):
        return bool(_READS.search(ast.unparse(node.func)))
    if isinstance(node, ast.BoolOp):
        return isinstance(node.op, ast.Or)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _named(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement or an expression gives values to."""
    if isinstance(node, ast.Assign):
        yield from ((_name(target), node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield _name(node.target), node.value
    elif isinstance(node, ast.Dict):
        yield from ((_text(key), value) for key, value in zip(node.keys, node.values) if key is not None)
    elif isinstance(node, ast.Call):
        connects = _CONNECTS.search(ast.unparse(node.func))
        for keyword in node.keywords:
            name = keyword.arg or ""
            yield name.upper() if connects and name in ("password", "passwd") else name, keyword.value


def _name(target: ast.expr) -> str:
    """`SECRET_KEY` of `SECRET_KEY`, `app.secret_key` and `app.config["SECRET_KEY"]`."""
    if isinstance(target, ast.Subscript):
        return _text(target.slice)
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def _text(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _is_secret(name: str, value: object) -> bool:
    if not isinstance(value, (str, bytes)) or not value:
        return False
    text = value if isinstance(value, str) else value.decode("latin-1")
    if SECRET.fullmatch(name):
        return True
    plain = not re.search(r"[\s{}%<>$]", text) and len(text) > 3
    return bool(_CREDENTIAL.fullmatch(name)) and plain and not _STANDS_FOR.fullmatch(text)


def _has_password(text: str) -> bool:
    found = _IN_URL.match(text)
    return found is not None and not _STANDS_FOR.fullmatch(found["password"])
