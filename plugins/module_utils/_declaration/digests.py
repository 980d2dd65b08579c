# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Digests of a declared app, and what of it may be shown: pure functions."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import replace
from typing import Final

from .app import App

REDACTED: Final = "(secret)"
_SECRET_WORDS: Final = re.compile(r"(?i)(^|_|:)(password|passwd|secret|token|api_?key|private_?key|credentials?)(_|$)")
_SECRET_HEADERS: Final = re.compile(r"(?i)authorization|cookie|token|secret|api-?key|password")
_URL_PASSWORD: Final = re.compile(r"://[^/@\s:]*:[^/@\s]+@")
_PBKDF2_ROUNDS: Final = 50_000


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable of the environment is probably a secret, by its name or by a password in an URL."""
    return bool(_SECRET_WORDS.search(name) or _URL_PASSWORD.search(value))


def raw_env(app: App) -> list[str]:
    """What Gunicorn itself sets of the environment, each NAME=value."""
    declared = (app.gunicorn or {}).get("raw_env")
    return [str(pair) for pair in declared] if isinstance(declared, (list, tuple)) else []


def _redacted_pair(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"{name}={REDACTED}" if looks_secret(name, value) else pair


def secret_header(name: str) -> bool:
    """Whether a header of that name usually carries a secret."""
    return bool(_SECRET_HEADERS.search(name))


def redacted(app: App) -> App:
    """An app that can be shown: secrets, and values that look like secrets, replaced."""
    environment = {name: REDACTED if looks_secret(name, value) else value for name, value in app.environment.items()}
    paths = tuple(
        replace(
            path,
            headers={name: REDACTED if secret_header(name) else value for name, value in path.headers.items()},
        )
        for path in app.load.paths
    )
    gunicorn, pairs = app.gunicorn, raw_env(app)
    if gunicorn and pairs:
        gunicorn = {**gunicorn, "raw_env": [_redacted_pair(pair) for pair in pairs]}
    return replace(
        app,
        gunicorn=gunicorn,
        secrets=dict.fromkeys(app.secrets, REDACTED),
        environment=environment,
        load=replace(app.load, paths=paths),
    )


def digest(value: object) -> str:
    """SHA-256 (hex) of a value's canonical JSON: keys sorted, no spaces, no NaN. Equal values give equal digests on
    every Python.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def public_digest(app: App, source_id: str = "") -> str:
    """The digest of everything in an app that may be told: secrets count with their names only.

    With `source_id` (the identity of the source's content) the words of the source are left out, so that the same
    content from another folder or another controller gives the same digest.
    """
    public = {**app.to_dict(), "secrets": sorted(app.secrets)}
    public.pop("former", None)  # it is of the past once the app is live
    if source_id:
        public["source"] = source_id
    return digest(public)


def prepare_key(app: App, run: str, source_id: str, secrets: str) -> str:
    """What a command that prepares `app` is known by once it was run: the command and all that it is given.

    `source_id`: the identity of the source's content; `secrets`: the digest of the app's secrets. Root only.
    """
    given = {"run": run, "source": source_id, "environment": dict(app.environment), "secrets": secrets}
    return digest(given)


def secrets_digest(app: App) -> str:
    """A digest that changes with any secret: PBKDF2-HMAC-SHA256 over the canonical JSON, salted with the app's name;
    "" without secrets.

    It is slow on purpose (some 20 ms), so that a short secret cannot be guessed quickly from it; keep it in files of
    root only, all the same.
    """
    if not app.secrets:
        return ""
    text = json.dumps(app.secrets, sort_keys=True, separators=(",", ":"))
    salt = hmac.new(b"headcount secrets", app.name.encode(), "sha256").digest()
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt, _PBKDF2_ROUNDS).hex()
