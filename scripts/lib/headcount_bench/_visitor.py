# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A user of an app: pages, forms with their hidden fields, uploads, and JSON, over one session with cookies."""

from __future__ import annotations

import http.cookiejar
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from headcount_scripts.console import ScriptError

KINDS = ("get", "form", "post")
UPLOADED = "a file of a visitor's"
PATH = "@path"
_KEYS = {*KINDS, "name", "fields", "files", "json", "to", "text", "status", "keep", "headers"}


@dataclass(frozen=True)
class Use:
    """One thing that a user does: `kind` get (a page), form (a page with a form, which is sent with `fields`, to `to`
    or to itself) or post (`json`, or `fields` without a form). `files`: {field: file name} of files that go with it,
    each of which holds UPLOADED.

    Its answer has the `status`, or any below 400, and holds `text`. `keep`: {word: path of keys in the JSON of the
    answer}, or {word: PATH} for the path that the answer has after all redirects; a later {word} in a path, a field or
    a header is that.
    """

    name: str
    kind: str
    path: str
    fields: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    to: str = ""
    text: str = ""
    status: int = 0
    keep: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Mapping[str, Any], where: str) -> Use:
        """From the mapping in a file. Raises ScriptError, which begins with `where`."""
        unknown = sorted(set(data) - _KEYS)
        kinds = [kind for kind in KINDS if kind in data]
        if unknown or len(kinds) != 1:
            wrong = f"does not know {', '.join(unknown)}" if unknown else f"has {len(kinds)} of them"
            raise ScriptError(f"{where}: a use has one of {', '.join(KINDS)}, with its path; this one {wrong}", 2)
        kind = kinds[0]
        return cls(
            name=str(data.get("name", kind)),
            kind=kind,
            path=str(data[kind]),
            fields={str(key): str(value) for key, value in data.get("fields", {}).items()},
            body=data.get("json"),
            to=str(data.get("to", "")),
            text=str(data.get("text", "")),
            status=int(data.get("status", 0)),
            keep=dict(data.get("keep", {})),
            headers={str(key): str(value) for key, value in data.get("headers", {}).items()},
            files={str(key): str(value) for key, value in data.get("files", {}).items()},
        )


class _Hidden(HTMLParser):
    """The hidden fields of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden" and given.get("name"):
            self.found.setdefault(str(given["name"]), given.get("value") or "")


def hidden_fields(page: str) -> dict[str, str]:
    """Name to value of the hidden fields in a page, as tokens against forged requests are."""
    parser = _Hidden()
    parser.feed(page)
    return parser.found


def multipart(fields: Mapping[str, str], files: Mapping[str, str]) -> tuple[bytes, str]:
    """(body, its content type) of a form with files, as a browser sends it."""
    mark = "headcount-5f1d"
    parts = [f'name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    kind = "Content-Type: application/octet-stream"
    parts += [f'name="{name}"; filename="{file}"\r\n{kind}\r\n\r\n{UPLOADED}' for name, file in files.items()]
    body = "".join(f"--{mark}\r\nContent-Disposition: form-data; {part}\r\n" for part in parts)
    return f"{body}--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


class Visitor:
    """One user of the app at `base`, with cookies, and with what it kept of earlier answers."""

    def __init__(self, base: str, seconds: float = 30.0) -> None:
        self.base, self.seconds = base.rstrip("/"), seconds
        self.kept: dict[str, str] = {}
        self._at = ""
        # users reach an app through a proxy that speaks https: its cookies for https alone go along
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https"))
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar(policy))
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)

    def does(self, uses: Sequence[Use]) -> list[dict[str, Any]]:
        """All of them in order: {"name", "ok", "said"}. What follows one that failed is tried all the same."""
        return [{"name": use.name, "ok": not (said := self.do(use)), "said": said} for use in uses]

    def do(self, use: Use) -> str:
        """Do one thing; what was wrong with the answer, "" when nothing was."""
        fields = {name: self._filled(value) for name, value in use.fields.items()}
        path, data, headers = self._filled(use.path), None, dict(use.headers)
        if use.kind == "form":
            status, page = self._ask(path, None, headers)
            if status >= 400:
                return f"GET {path}: {status}"
            fields = {**hidden_fields(page), **fields}
            headers["Referer"] = self.base + path
            path = self._filled(use.to) or path
        if use.kind != "get":
            data = urllib.parse.urlencode(fields).encode()
            if use.body is not None:
                data = self._filled(json.dumps(use.body)).encode() if use.kind == "post" else data
                headers["Content-Type"] = "application/json"
            elif use.files:
                data, headers["Content-Type"] = multipart(fields, use.files)
        status, text = self._ask(path, data, headers)
        return self._wrong(use, f"{'GET' if data is None else 'POST'} {path}", status, text)

    def _wrong(self, use: Use, what: str, status: int, text: str) -> str:
        if status != use.status if use.status else status >= 400 or not status:
            return f"{what}: {status or text}"
        if self._filled(use.text) not in text:
            return f"{what}: {status}, but {use.text!r} is not in it"
        for word, keys in use.keep.items():
            if keys == PATH:
                self.kept[word] = self._at
                continue
            try:
                found = json.loads(text)
                for key in keys.split("."):
                    found = found[int(key)] if isinstance(found, list) else found[key]
            except (ValueError, KeyError, IndexError, TypeError):
                return f"{what}: {status}, but it is no JSON with {keys}"
            self.kept[word] = str(found)
        return ""

    def _filled(self, text: str) -> str:
        for word, value in self.kept.items():
            text = text.replace(f"{{{word}}}", value)
        return text

    def _ask(self, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, str]:
        """(status, text) of the answer, redirects followed; status 0 with the reason without an answer."""
        filled = {name: self._filled(value) for name, value in headers.items()}
        request = urllib.request.Request(self.base + path, data=data, headers=filled)
        try:
            with self._opener.open(request, timeout=self.seconds) as answer:
                self._at = urllib.parse.urlsplit(answer.geturl()).path
                return int(answer.status), answer.read(1 << 20).decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read(1 << 20).decode(errors="replace")
        except OSError as error:
            return 0, str(getattr(error, "reason", error))


__all__ = ["PATH", "UPLOADED", "Use", "Visitor", "hidden_fields", "multipart"]
