# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which of an app's pages say that it is well, and which make the load of its trial. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from .._display.text import listed, plural
from .inside.tables import LACKS_TABLE
from .types import Page

MOST_PATHS: Final = 4
_HEALTH: Final = re.compile(
    r"(^|/)_*(healthz?|health[-_]?checks?|livez|liveness|readyz?|readiness|alive|ping|heartbeat|up|status|_status)_*/?$",
    re.I,
)
_NO_LOAD: Final = re.compile(
    r"(^|/)(metrics|_?favicon\.ico|robots\.txt|sitemap\.xml|manifest\.json|service[-_]?worker\.js|swagger\w*|openapi[^/]*|"
    r"redoc|_reload-hash|_alive_\w+|apidocs|apispec[^/]*|flasgger[^/]*|_debug[^/]*|__[^/]+)(/|$|\.)",
    re.I,
)
_SLOW_MS: Final = 2000.0
_LARGE_BYTES: Final = 512 * 1024
_URL_PATH: Final = re.compile(r"/[!-~]*")


@dataclass(frozen=True)
class Choice:
    """The health path and the load paths, with the status that means well for each.

    `nothing`: no page answered in a way that can be asked for, so that the paths are only a place to write them.
    `broken`: the question that is to be answered first of pages that failed although nothing was out of reach.
    """

    health: str
    health_status: int
    why_health: str
    load: tuple[str, ...]
    load_status: tuple[int, ...]
    why_load: str
    questions: tuple[str, ...] = ()
    nothing: bool = False
    broken: str = ""


UNKNOWN: Final = Choice("/", 200, "a guess", ("/",), (200,), "a guess", nothing=True)
"""Of an app that could not be looked at."""


def unknown_by_name(page: Page) -> Page:
    """A page of a project that answers 400 where it does not know the name that it was asked by: no answer of it."""
    return replace(page, status=None, error=page.error or "400") if page.status == 400 else page


def choose(pages: Sequence[Page], alone: bool = True) -> Choice:
    """Health and load paths among the pages that were asked for; `alone`: the app called no peer, for want of which a
    page may fail here."""
    pages = [page for page in pages if _URL_PATH.fullmatch(page.path) and "#" not in page.path]
    good = [page for page in pages if page.status == 200]
    broken = [page for page in pages if alone and _is_broken(page)]
    left = [page for page in pages if page not in broken]
    found = _of_good(left, good) if good else _of_others(pages)
    return found if found.nothing else replace(found, broken=_broken_question(broken))


def _of_good(pages: Sequence[Page], good: Sequence[Page]) -> Choice:
    health, why, doubt = _health(pages, good)
    load = _load(good, health)
    questions = [*doubt, *_failed_question([page for page in pages if page.status is None or page.status >= 500])]
    why_load = f"{plural(len(good), 'page')} answered 200 here to a bare GET; add those that your users ask for most"
    return Choice(
        health.path, 200, why, tuple(page.path for page in load), (200,) * len(load), why_load, tuple(questions)
    )


def _health(pages: Sequence[Page], good: Sequence[Page]) -> tuple[Page, str, list[str]]:
    """The page that says that the app is well, why, and what is doubtful about it."""
    named = [page for page in good if _HEALTH.search(page.path)]
    if named:
        return min(named, key=lambda page: len(page.path)), "its own page for that; answered 200 here", []
    health = next((page for page in good if page.path == "/"), None) or min(good, key=_plainness)
    broken = [page for page in pages if _HEALTH.search(page.path)][:1]
    doubt = [f"{page.path} looks like the health path, but {_answer(page)} here: is it right?" for page in broken]
    return health, "answered 200 here; a page that says no more than that the app is well is better", doubt


_LACKS: Final = re.compile(
    r"anonymous|current_user|sign(ed)?[-_ ]?in|log(ged)?[-_ ]?in|session|OperationalError|database|connect|refused|"
    r"resolve|timed? ?out|unreachable",
    re.I,
)
"""What the words of a page say that fails for want of somebody who has signed in, or of a peer."""


def _is_broken(page: Page) -> bool:
    """Whether a page failed for none of the reasons that are this place's: no peer, no tables, nobody signed in."""
    return page.status == 500 and not LACKS_TABLE.search(page.error) and not _LACKS.search(page.error)


def _broken_question(broken: Sequence[Page]) -> str:
    if not broken:
        return ""
    shown = listed([f"{page.path} ({page.error or page.status})" for page in broken], 3)
    return (
        f"what is lacking to {plural(len(broken), 'page')}? {shown} failed here although the app called nothing that "
        "is out of reach: a file or a folder that is not shipped, data or a setting. Give it that (source.include, "
        "data, environment); where users ask for none of them, take this question away"
    )


def _failed_question(failed: Sequence[Page]) -> list[str]:
    if not failed:
        return []
    shown = listed([f"{page.path} ({page.error or page.status})" for page in failed], 3)
    return [
        f"{plural(len(failed), 'page')} failed here, without network and data, and {_is(failed)} no part of the "
        f"trial's load: {shown}. Which of them do users ask for? Add those to load.paths"
    ]


def _plainness(page: Page) -> tuple[bool, int, int, str]:
    return bool(_NO_LOAD.search(page.path)), page.path.count("/"), len(page.path), page.path


def _is(pages: Sequence[Page]) -> str:
    return "is" if len(pages) == 1 else "are"


def _load(good: Sequence[Page], health: Page) -> list[Page]:
    """Up to four pages that differ: `/` first, then by their first folder, without what nobody waits for."""
    usual = [page for page in good if _is_usual(page)]
    usual.sort(key=lambda page: (page.path != "/", page.path.count("/"), len(page.path), page.path))
    chosen: list[Page] = []
    for again in (False, True):
        for page in usual:
            seen = {_first(item) for item in chosen}
            same = {item.path.rstrip("/") for item in chosen}
            if page.path.rstrip("/") not in same and (again or _first(page) not in seen):
                chosen.append(page)
    return chosen[:MOST_PATHS] or [health]


def _is_usual(page: Page) -> bool:
    return not (
        _NO_LOAD.search(page.path) or _HEALTH.search(page.path) or page.ms >= _SLOW_MS or page.bytes >= _LARGE_BYTES
    )


def _first(page: Page) -> str:
    return page.path.strip("/").partition("/")[0]


_ASK_WHICH: Final = "which page says that the app is well, and which do users ask for?"
_STANDS_IN: Final = (
    ((401, 403), "no page answered 200 here to a bare GET; this one asks who one is, which proves that the app runs"),
    (
        (301, 302, 303, 307, 308),
        "no page answered 200 here to a bare GET; this one leads elsewhere, and the app does that",
    ),
    ((404, 405, 400, 406, 410, 422), "no page answered 200 here to a bare GET; this status is the app's own answer"),
)


def _of_others(pages: Sequence[Page]) -> Choice:
    """No page answered 200: one that answers in the app's own words will do, with its status."""
    failed = [page for page in pages if page.status is None or page.status >= 500]
    if not pages:
        told = "a guess: no page could be asked for here"
        return Choice("/", 200, told, ("/",), (200,), told, (f"{_ASK_WHICH} None was asked for here",), nothing=True)
    for statuses, told in _STANDS_IN:
        found = [page for page in pages if page.status in statuses]
        if found:
            best = min(found, key=lambda page: (not _HEALTH.search(page.path), page.path != "/", len(page.path)))
            return _standing_in(best, told, pages)
    question = (
        f"{_ASK_WHICH} All of {plural(len(pages), 'page')} failed here, without network and data{_examples(failed)}"
    )
    told = "a guess: every page failed here, without network and data"
    return Choice("/", 200, told, ("/",), (200,), told, (question,), nothing=True)


def _standing_in(page: Page, told: str, pages: Sequence[Page]) -> Choice:
    status = int(page.status or 0)
    question = (
        f"{_ASK_WHICH} {page.path} ({status}) stands in for them, because none answered 200 here{_examples(pages)}"
    )
    return Choice(page.path, status, told, (page.path,), (status,), told, (question,))


def _answer(page: Page) -> str:
    return f"answered {page.status}" if page.status is not None else "took too long"


def _examples(pages: Sequence[Page]) -> str:
    shown = [f"{page.path} {page.error or page.status or 'took too long'}" for page in pages if page.status != 200]
    return f" ({listed(shown, 3)})" if shown else ""
