# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a value may be where its type alone does not say it: a name, a path, an address, an entry point.

Each returns the value as it is kept, or raises Invalid with what is wrong and, where it is clear, a better value.
"""

from __future__ import annotations

import ast
import ipaddress
import re
from typing import Final

from .._os.paths import HIDDEN
from . import urls
from .fields import Invalid

_APP_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,22}")
_WHEEL_STORE: Final = "wheels"
_OWN: Final = frozenset({"headcount", "headcount-boot", "headcount-exporter"})
_MODULE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")  # what importlib finds
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
    "HEADCOUNT_ROLE": "it tells an instance whether it is weighed, tried or live",
    "HEADCOUNT_GENERATION": "it tells an instance its number",
    "STATE_DIRECTORY": "it is the app's folder, which systemd tells it; `{data}` gives that another name",
    "CACHE_DIRECTORY": "systemd sets it with data.cache; `{cache}` gives that another name",
    "LOGS_DIRECTORY": "systemd sets it with data.logs; `{logs}` gives that another name",
}


def app_name(text: str) -> str:
    if text.endswith("-trial"):
        raise Invalid("the ending -trial is used for candidates", text[: -len("-trial")] or None)
    if text == _WHEEL_STORE:
        raise Invalid("the folder of that name holds the wheels of all apps", f"{text}-app")
    if text in _OWN:
        raise Invalid("units and commands of that name are Headcount's own", f"my-{text}")
    if not _APP_NAME.fullmatch(text) or text.endswith("-"):
        better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-0123456789")[:23].strip("-")
        raise Invalid("", better if better and _APP_NAME.fullmatch(better) else None)
    return text


def plain(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise Invalid("it holds a line break or a control character")
    return text


def absolute(text: str) -> str:
    if not plain(text).startswith("/") or re.search(r"\s", text):
        raise Invalid()
    return text


def interpreter(text: str) -> str:
    absolute(text)
    hidden = next((folder for folder in HIDDEN if text.startswith(folder + "/")), None)
    if hidden:
        raise Invalid(f"{HIDDEN[hidden]} of the app's units hides {hidden}")
    return text


def relative(text: str) -> str:
    parts = plain(text).split("/")
    if text.startswith("/") or ".." in parts:
        raise Invalid("it leads out of the source")
    return text.rstrip("/")


def include(text: str) -> str:
    if not relative(text).strip("/") or "" in text.rstrip("/").split("/"):
        raise Invalid("it names nothing inside the project")
    return text.rstrip("/")


def requirement(text: str) -> str:
    if plain(text).strip().startswith("-"):
        raise Invalid("it is an option of pip", advice="write the option into a requirements file and name that")
    if re.search(r"://[^/@\s]*:[^/@\s]+@", text):
        raise Invalid("it holds a password", advice="let git's credential helper or ~/.netrc know it")
    parameter = urls.secret_parameter(text)
    if parameter:
        raise Invalid(
            f"its parameter {parameter} is a credential", advice="let git's credential helper or ~/.netrc know it"
        )
    return text.strip()


def gunicorn_version(text: str) -> str:
    version = text.strip().lstrip("= ")
    if not re.fullmatch(r"[0-9]+(\.[0-9]+){1,2}", version):
        raise Invalid("no exact version", "23.0.0")
    if int(version.split(".")[0]) < 23:
        raise Invalid("it has known holes: CVE-2024-1135 is fixed in 22.0, CVE-2024-6827 in 23.0", "23.0.0")
    return version


def wheel(text: str) -> str:
    if not _WHEEL.fullmatch(plain(text).rsplit("/", 1)[-1]):
        raise Invalid("not the name of a wheel")
    return text


def pip(text: str) -> str:
    match = _PIN.fullmatch(text.strip())
    if not match:
        name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", text.strip())
        raise Invalid("no exact version" if name else "", f"{name.group()}==1.2.3" if name else None)
    return text.strip()


def git(text: str) -> str:
    if _GIT_PASSWORD.match(text) or _GIT_TOKEN.match(text):
        without = re.sub(r"(?<=://)[^/@\s]*@", "", text)
        raise Invalid(
            "it carries a credential, which would end in files and output; use a git credential helper or ssh", without
        )
    parameter = urls.secret_parameter(text)
    if parameter:
        raise Invalid(
            f"its parameter {parameter} is a credential, which would end in files and output; use a git credential "
            "helper or ssh",
            text.partition("?")[0],
        )
    if not _GIT.fullmatch(text):
        raise Invalid()
    return text


def git_version(text: str) -> str:
    if not _GIT_VERSION.fullmatch(text) or ".." in text:
        raise Invalid()
    return text


def entry_point(text: str) -> str:
    """Gunicorn's own rule: `module:name` or `module:name(literals)`."""
    module, colon, target = text.partition(":")
    if not colon:
        raise Invalid("no callable is named", f"{text}:app" if _MODULE.fullmatch(text) else None)
    if module.endswith(".py") or "/" in module:
        named = module.removesuffix(".py").strip("./").replace("/", ".")
        raise Invalid(f"{module!r} is a file and not the name of a module", f"{named}:{target}")
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
    """A checked TCP listen address as (address, port): `[::]:80` is `("::", 80)`."""
    address, _, port = listen.rpartition(":")
    return address.strip("[]"), int(port)


def listen(text: str) -> str:
    if text.startswith("unix:"):
        return listen_unix(text)
    address, colon, port = text.rpartition(":")
    if not colon and text.isdigit():
        raise Invalid("no address", f"0.0.0.0:{text}")
    if not colon or not port:
        raise Invalid("no port", f"{text.rstrip(':')}:8000" if is_ip(text.rstrip(":"), 4) else None)
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise Invalid(f"{port!r} is not a port from 1 to 65535")
    return f"{listen_address(address, port)}:{int(port)}"


def exporter_listen(text: str) -> str:
    if text.startswith("unix:"):
        raise Invalid("Prometheus asks over TCP", "127.0.0.1:9788")
    return listen(text)


def listen_address(address: str, port: str) -> str:
    if address in ("", "*"):
        raise Invalid("no address", f"0.0.0.0:{port}")
    if address == "localhost":
        raise Invalid("systemd does not look names up", f"127.0.0.1:{port}")
    if address.startswith("[") and address.endswith("]") and is_ip(address[1:-1], 6):
        return f"[{ipaddress.IPv6Address(address[1:-1])}]"
    if is_ip(address, 6):
        raise Invalid("an IPv6 address needs brackets", f"[{address}]:{port}")
    if not is_ip(address, 4):
        raise Invalid(f"{address!r} is not an IP address")
    return address


def listen_unix(text: str) -> str:
    path = plain(text)[len("unix:") :]
    if not path.startswith("/"):
        raise Invalid("the path is not absolute", f"unix:/run/{path.lstrip('./') or 'shop.sock'}")
    if re.search(r"[\s%\"'\\]", path) or path.endswith("/") or "//" in path or {".", ".."} & set(path.split("/")):
        raise Invalid("the path is not a plain one")
    if len(path.encode()) > _UNIX_PATH_BYTES:
        raise Invalid(f"the path is longer than the {_UNIX_PATH_BYTES} bytes that a socket may have")
    if path.startswith(_PRIVATE_SOCKETS):
        raise Invalid(f"{_PRIVATE_SOCKETS} holds Headcount's own sockets", f"unix:/run/{path.rsplit('/', 1)[-1]}")
    return text


def ip(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not is_ip(bare, 4) and not is_ip(bare, 6):
        raise Invalid()
    if ipaddress.ip_address(bare).is_unspecified:
        raise Invalid("it stands for all addresses")
    return bare


def is_ip(text: str, version: int) -> bool:
    try:
        if version == 4:
            ipaddress.IPv4Address(text)
        else:
            ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def url_path(text: str) -> str:
    if not text.startswith("/"):
        raise Invalid("it does not start with /", f"/{text}" if _URL_PATH.fullmatch(f"/{text}") else None)
    if not _URL_PATH.fullmatch(text) or "#" in text:
        raise Invalid("it holds a character that must be percent-encoded")
    return text


def environment_name(text: str) -> str:
    if not _VARIABLE_NAME.fullmatch(text):
        raise Invalid("not the name of an environment variable")
    if text in _OWN_VARIABLES:
        raise Invalid(_OWN_VARIABLES[text], advice="remove it")
    return text


def environment_value(text: str) -> str:
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


def header_name(text: str) -> str:
    if not _HEADER_NAME.fullmatch(text):
        raise Invalid("not the name of a header")
    return text


def distribution(text: str) -> str:
    if not _DISTRIBUTION.fullmatch(text):
        raise Invalid("not the name of a distribution")
    return re.sub(r"[-_.]+", "-", text).lower()


def user(text: str) -> str:
    if text == "root":
        raise Invalid("an app does not run as root", advice="leave user out, and a user is made for the app")
    if not _USER.fullmatch(text):
        raise Invalid()
    return text


def slice(text: str) -> str:
    if not _SLICE.fullmatch(text):
        raise Invalid("", f"{text}.slice" if _SLICE.fullmatch(f"{text}.slice") else None)
    return text


def host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise Invalid()
    return text


def status(values: list[int]) -> list[int]:
    return sorted(set(values))


def batch(text: str) -> str:
    match = _BATCH.fullmatch(text.strip())
    if not match or int(match["count"]) < 1 or (match["percent"] and int(match["count"]) > 100):
        raise Invalid()
    return text.strip()
