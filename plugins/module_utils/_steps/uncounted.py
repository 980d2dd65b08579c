# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Paths of the load whose answers do not mean well while a candidate is weighed or about to be tried: what a person is
told of them."""

from __future__ import annotations

from collections import Counter
from typing import Callable, Sequence
from urllib.parse import urlsplit

from .._os.http import AS_USERS, ASKED_AS, REDIRECT, Answer, Ask, redirected, request, unwell
from .._verdict.types import PASS, Check

_FIX = {
    401: "declare in load.paths what lets the request in (headers: {Authorization: ...}), or another path",
    403: "declare in load.paths what lets the request in (headers: a cookie, a token, users' Host), or another path",
    429: "a rate limit counts the weigh as one client: exempt the host itself from it, or declare another path",
}
_OTHER_FIX = "declare in load.paths a path that the app answers, or, where that is what users get, its status: [...]"
_REDIRECT_FIX = (
    f"nothing of the app is measured that way; declare what users send ({AS_USERS}), or the path that it leads to, or, "
    "where the redirect is what users get, status: [%d]"
)
_STATUS = " answered "
_EACH_TIME, _NOT_COUNTED = " each time (", " requests), so the path does not count in the weigh"


def told(good: int, errors: Sequence[str]) -> str:
    """A sentence about one path with `good` answers that meant well, and `errors`, one for each that did not; empty
    where there is none."""
    if not errors:
        return ""
    error, times = Counter(errors).most_common(1)[0]
    error, asked_as, host = error.partition(ASKED_AS)
    fix = _fix(error) or _OTHER_FIX + asked_as + host
    if good:
        return (
            f"{error} in {times} of {good + len(errors)} requests, of which only the others count in the weigh: {fix}"
        )
    return f"{error}{_EACH_TIME}{len(errors)}{_NOT_COUNTED}: {fix}"


def never_well(uncounted: Sequence[str], name: str) -> str:
    """That a path, "GET /x", was answered wrongly each time that it was asked in the weigh, by what was told of it;
    else empty."""
    for said in uncounted:
        error, _, rest = said.partition(_EACH_TIME)
        number, counted, _ = rest.partition(_NOT_COUNTED)
        if counted and error.startswith(f"{name} ") and _status(error) >= 400:
            return f"weighed alone, {error}{_EACH_TIME}{number} requests)"
    return ""


def with_fix(error: str) -> str:
    """An answer of the load that does not mean well, with what to declare where its status says enough to know it."""
    answered = error.partition(ASKED_AS)[0]
    fix = _fix(answered)
    return f"{answered}: {fix}" if fix else error


def _fix(error: str) -> str:
    status = _status(error)
    return _REDIRECT_FIX % status if REDIRECT in error else _FIX.get(status, "")


def _status(error: str) -> int:
    """The status that an error tells of; 0 for a connection that failed."""
    digits = error.partition(_STATUS)[2][:3]
    return int(digits) if digits.isdigit() else 0


def only_redirects(
    address: str | tuple[str, int],
    paths: Sequence[Ask],
    seconds: float,
    live: str | None = None,
    ask: Callable[..., Answer] = request,
) -> str:
    """Which path of the load only ever redirects though no `status` of it says so, with the fix; else empty. `live`:
    where the live generation is asked, which says whether it is the release that has changed.

    Each path is asked once, and one that redirects twice more. Bounded: `seconds` for each request.
    """
    for path in paths:
        if path.status:
            continue
        for _ in range(3):
            answer = ask(address, path, path.within(seconds))
            if not redirected(answer):
                break
        else:
            fix = _REDIRECT_FIX % answer.status
            what = f"{path.method} {path.path} only redirects ({answer.status} to {answer.location})"
            before = ask(live, path, path.within(seconds)) if live is not None else None
            if before is not None and not unwell(path, before):
                what += f", where the live generation answers {before.status}: this release sends its users away"
                fix = f"where that is meant, {fix.partition('; ')[2]}"
            return f"{what}: {fix}"
    return ""


def sent_elsewhere(
    address: str | tuple[str, int], paths: Sequence[Ask], seconds: float, ask: Callable[..., Answer] = request
) -> list[Check]:
    """Which paths lead only to the same page at another address (https, a name of the app's own), which their `status`
    lets count as well: what makes that page was not tried. One check, which passes; none where no path does.

    Only those are asked whose status may be a redirect. Bounded: `seconds` for each request.
    """
    found: list[str] = []
    for path in paths:
        if not any(300 <= status < 400 for status in path.status):
            continue
        answer = ask(address, path, path.within(seconds))
        if redirected(answer) and answer.status in path.status and _same_page(path.path, answer.location):
            found.append(f"{path.method} {path.path} ({answer.status} to {answer.location})")
    if not found:
        return []
    words = (
        f"{' and '.join(found)} only {'redirects' if len(found) == 1 else 'redirect'} to the same page at another "
        f"address, as status allows: what makes that page was not tried; declare what users send ({AS_USERS})"
    )
    return [Check("elsewhere", PASS, float(len(found)), None, (None, None), words)]


def _same_page(path: str, location: str) -> bool:
    """Whether a redirect leads to the path that was asked for, at an address that it names."""
    leads = _parts(location)
    return leads is not None and bool(leads[0]) and leads[1] == urlsplit(f"//app{path}").path


def _parts(location: str) -> tuple[str, str] | None:
    """The address and the path that a place names; None where it is none."""
    try:
        place = urlsplit(location)
    except ValueError:
        return None
    return place.netloc, place.path or "/"
