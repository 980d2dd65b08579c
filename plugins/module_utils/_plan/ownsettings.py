# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a person is told of settings that they declare in the place of the plan's own."""

from __future__ import annotations

from typing import Mapping

from .settings import Draft, override
from .size import ASYNC
from .types import Setting


def warnings(draft: Draft, settings: Mapping[str, Setting]) -> list[str]:
    """Sentences without the app's name."""
    told = (_of_preload(draft, settings), _of_keepalive(draft), _of_recycling(draft, settings))
    return [sentence for sentence in told if sentence]


def _of_preload(draft: Draft, settings: Mapping[str, Setting]) -> str | None:
    kind = draft.choice.name
    if kind not in ASYNC or not settings["preload_app"].value:
        return None
    return (
        f"preload_app with {kind}: the app is imported before the worker patches the library; the configuration"
        " file must patch first"
    )


def _of_keepalive(draft: Draft) -> str | None:
    if draft.choice.name == "gthread" and override(draft.app, "keepalive"):
        return "settings.keepalive binds clients to one gthread worker, however busy that is"
    return None


def _of_recycling(draft: Draft, settings: Mapping[str, Setting]) -> str | None:
    if draft.shape.workers > 1 or not settings["max_requests"].value:
        return None
    return (
        f"settings.max_requests is {settings['max_requests'].value} with one worker: Gunicorn begins the next worker"
        " only when that one has ended, and it ends when its last request has (a stream or a download, too), or after"
        f" graceful_timeout ({settings['graceful_timeout'].value} s); so nobody answers users meanwhile, nor while the"
        " next one imports the app: set workers: 2 beside it, or remove max_requests (MemoryMax bounds a leak)"
    )
