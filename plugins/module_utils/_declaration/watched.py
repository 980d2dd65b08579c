# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Rules between the values of an app about how it is watched, logged and loaded under its users. Pure."""

from __future__ import annotations

from .accesslog import check_access_log
from .app import ON_THE_HOST
from .fields import Context, Parsed, Part, inline


def check_watched(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """All of them."""
    for rule in (_check_guard, _check_load_test, _check_access_log):
        rule(app, parts, context)


def _check_guard(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """A guard goes by what the recorder counts."""
    minutes = (app.get("guard") or {}).get("minutes") or 0
    if app.get("recorder") is False and minutes > 0:
        what = f"is {inline(minutes)} beside recorder: false, and without the recorder nobody could guard"
        fix = "remove recorder: false, or remove guard"
        context.add((*parts, "guard", "minutes"), what, "0 without the recorder", fix)


def _check_load_test(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """The host makes the load of a load test, by a rate that a trial has shown to be bearable."""
    test, load = app.get("load_test"), app["load"]
    if not test:
        return
    here = (*parts, "load_test")
    if load.get("from") not in (None, ON_THE_HOST):
        what = f"is declared beside load.from: {inline(load['from'])}, and a host's timer can only make a load itself"
        context.add(here, what, "no load_test beside a load from elsewhere", "remove load_test, or load.from")
    rate, tried = test["rate"], load.get("rate")
    if rate is not None and tried is not None and rate > tried:
        what = f"is {inline(rate)}, more than load.rate of {inline(tried)}, with which each release is tried"
        context.add((*here, "rate"), what, "at most load.rate", f"rate: {inline(tried / 2)}")
    if "load-test" in (app.get("processes") or {}):
        what = "is the name that the units of load_test have"
        context.add((*parts, "processes", "load-test"), what, "", "give the process another name")


def _check_access_log(app: Parsed, parts: tuple[Part, ...], context: Context) -> None:
    """Requests are logged once, and Gunicorn can fill in its format."""
    own = app.get("gunicorn") or {}
    twice = next((key for key in ("accesslog", "access_log_format") if own.get(key) is not None), None)
    if twice and app.get("access_log") in ("combined", "json"):
        what = f"is {inline(app['access_log'])} beside gunicorn.{twice}, so that each request would be logged twice"
        allowed = "off beside a log of Gunicorn's own"
        context.add((*parts, "access_log"), what, allowed, f"remove access_log, or remove gunicorn.{twice}")
    elif own.get("access_log_format") is not None:
        check_access_log(app, parts, context)
