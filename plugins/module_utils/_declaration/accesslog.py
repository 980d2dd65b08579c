# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Whether Gunicorn can log requests by a declared `access_log_format`. Pure.

Gunicorn puts a request's atoms into it by Python's `%`. What cannot be put in is a traceback for each request, with all
that the request carried; an atom that Gunicorn does not have is a `-` in each line.
"""

from __future__ import annotations

import re
from typing import Final

from .fields import Context, Invalid, Parsed, Part, inline, shown

ALLOWED: Final = "text with atoms of Gunicorn's (%(h)s, %(M)d, %({user-agent}i)s and the like), and %% for a %"

_WORDS: Final = frozenset("hlutrmUqHsbfaLp")
_NUMBERS: Final = frozenset("BTDM")
_OF_ANY_NAME: Final = re.compile(r"\{[^{}]+\}[ioe]")
"""A header of the request, of the response, a variable of the environ."""
_PLACE: Final = re.compile(
    r"%(?:%|(?:\((?P<atom>[^()]*)\))?[#0 +-]*[0-9]*(?:\.[0-9]*)?[hlL]?(?P<kind>[diouxXeEfFgGrsa]))"
)
_APACHE: Final = re.compile(r"%(?![(%])[<>]?(?:\{(?P<name>[^{}]+)\})?(?P<atom>[A-Za-z])")
_SHOWN: Final = 12


def access_log_format(text: str) -> str:
    """A format that Gunicorn's own logger can fill in. Invalid names the place that it cannot."""
    wrong = _wrong(text)
    if not wrong:
        return text
    better = _APACHE.sub(_own, text)
    raise Invalid(wrong, better if not _wrong(better) else None)


def check_access_log(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A rule: a logger of the app's own may have other atoms, and whatever else; Gunicorn's cannot."""
    declared = app.get("gunicorn") or {}
    text = declared.get("access_log_format")
    if text is None or declared.get("logger_class") is not None:
        return
    try:
        access_log_format(text)
    except Invalid as problem:
        fix = problem.fix if isinstance(problem.fix, str) else '%(h)s "%(r)s" %(s)s %(b)s %(M)s ms'
        here = (*parts, "gunicorn", "access_log_format")
        context.add(here, f"is {shown(text)} ({problem})", ALLOWED, f"access_log_format: {inline(fix)}")


def _wrong(text: str) -> str:
    """What is wrong with the first broken place; "" where none is."""
    at = text.find("%")
    while at >= 0:
        match = _PLACE.match(text, at)
        if match is None:
            return f"{text[at : at + _SHOWN]!r} is no atom that Python's % can fill in"
        wrong = "" if match.group() == "%%" else _wrong_atom(match.group(), match["atom"], match["kind"])
        if wrong:
            return wrong
        at = text.find("%", match.end())
    return ""


def _wrong_atom(place: str, atom: str | None, kind: str) -> str:
    if atom is None:
        return f"{place!r} names no atom, so that the whole request would be put there"
    if atom not in _WORDS | _NUMBERS and not _OF_ANY_NAME.fullmatch(atom):
        return f"{place!r}: Gunicorn has no atom {atom!r}"
    if kind not in "rsa" and atom not in _NUMBERS:
        return f"{place!r}: the atom {atom!r} is no number"
    return ""


def _own(found: re.Match[str]) -> str:
    """A place as Apache has it, in Gunicorn's words: `%{Referer}i` is `%({referer}i)s`."""
    return f"%({{{found['name'].lower()}}}{found['atom']})s" if found["name"] else f"%({found['atom']})s"
