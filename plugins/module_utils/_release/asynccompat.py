# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which installed libraries stop a gevent or eventlet hub.

A cooperative worker serves other requests while one waits only if the wait goes through a patched function. A library
that waits in C code, or computes, stops every request of its worker.

The table says of each such library what blocks, what to do, and how that is known: `run` was seen against a peer that
accepts and says nothing (tests/integration/async_libraries, with the figures in its results.json), `from threads` is
what its maintainers or users report and was not run. What is not in the table is not known to block, no more: the
trial's monitor (`hubmonitor`) is there for the rest, and for SQLite's lock waits and CPU loops, which no list of
distributions shows.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Mapping, Sequence

CLASSES = ("gevent", "eventlet")
RUN, FROM_THREADS = "run", "from threads"
BLOCKS, WARNS = "blocks", "warns"


@dataclass(frozen=True)
class Library:
    """One row of the table.

    `distributions` are normalised names; `blocks` says for each affected class what stops its hub; `remedy` what
    to do about it, by class; `unless` names distributions that make it cooperative, which turns the row into a
    warning with `unless_note`, because installing them is not enough.
    """

    distributions: tuple[str, ...]
    blocks: Mapping[str, str]
    remedy: Mapping[str, str]
    evidence: str
    unless: tuple[str, ...] = ()
    unless_note: str = ""


@dataclass(frozen=True)
class Finding:
    """What an installed distribution does to a hub. `severity`: "blocks" refuses the class, "warns" does not."""

    distribution: str
    version: str
    worker_class: str
    severity: str
    what: str
    remedy: str
    evidence: str
    sentence: str = ""

    def text(self) -> str:
        """One sentence: who blocks what, and what would change it."""
        if self.sentence:
            return self.sentence
        verb = "blocks" if self.severity == BLOCKS else "may block"
        version = f" {self.version}" if self.version else ""
        return f"{self.distribution}{version} {verb} the {self.worker_class} hub {self.what}; {self.remedy}"

    def to_dict(self) -> dict[str, str]:
        """The fields, with the sentence as `text`."""
        fields = asdict(self)
        del fields["sentence"]
        return {**fields, "text": self.text()}


def _both(text: str) -> dict[str, str]:
    return {"gevent": text, "eventlet": text}


def _declare(distribution: str) -> str:
    return f"declare async_libraries: {{{distribution}: {{blocks: false}}}}"


TABLE: tuple[Library, ...] = (
    Library(
        ("psycopg2", "psycopg2-binary"),
        {"gevent": "in every query"},  # eventlet.monkey_patch() makes psycopg2 cooperative by itself; seen
        {"gevent": "add psycogreen and call psycogreen.gevent.patch_psycopg() when a worker starts, or use psycopg 3"},
        RUN,
        unless=("psycogreen",),
        unless_note="psycogreen is installed, but only works once psycogreen.gevent.patch_psycopg() has been called",
    ),
    Library(
        ("grpcio",),
        _both("in every call"),
        {
            "gevent": "call grpc.experimental.gevent.init_gevent() before the first channel is made, then "
            + _declare("grpcio"),
            "eventlet": "use gevent with grpc.experimental.gevent.init_gevent(): there is no such call for eventlet",
        },
        RUN,
    ),
    Library(
        ("confluent-kafka",),
        _both("in flush() and poll()"),
        _both("flush and poll in a thread of the hub's thread pool, or use kafka-python"),
        RUN,
    ),
    Library(("pylibmc",), _both("in every operation"), _both("use pymemcache"), RUN),
    Library(("pymssql",), _both("at login"), _both("use python-tds, or log in through the hub's thread pool"), RUN),
    Library(
        ("mysql-connector-python",),
        _both("in every query where its C extension loads, which is then the default"),
        _both(f"connect with use_pure=True and {_declare('mysql-connector-python')}, or use PyMySQL"),
        RUN,
    ),
    Library(("pycurl",), _both("in perform()"), _both("use requests, httpx or urllib3"), RUN),
    Library(
        ("pyzmq",),
        _both("in recv()"),
        {
            "gevent": f"import zmq.green in place of zmq, then {_declare('pyzmq')}",
            "eventlet": "import eventlet.green.zmq in place of zmq, then " + _declare("pyzmq"),
        },
        RUN,
    ),
    Library(
        ("mysqlclient",),
        _both("in every query"),  # eventlet has a green MySQLdb, which monkey_patch() leaves out unless it is named
        _both("use PyMySQL"),
        FROM_THREADS,
    ),
    Library(
        ("pyodbc",),
        _both("in every query"),
        _both("query through the hub's thread pool, then " + _declare("pyodbc")),
        FROM_THREADS,
    ),
    Library(
        ("asgiref",),
        {"gevent": "where requests of async views overlap, which then answer 500"},
        {"gevent": f"gthread serves them; where no view is async, {_declare('asgiref')}"},
        FROM_THREADS,
        unless=("django",),
        unless_note="Django brings it along, and its views are well with gevent unless they are async",
    ),
    Library(("cx-oracle",), _both("in every query"), _both("use oracledb in its thin mode"), FROM_THREADS),
)


def normalise(name: str) -> str:
    """The normalised name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def check(
    distributions: Mapping[str, str],
    extra: Mapping[str, Mapping[str, object]] | None = None,
    *,
    free_threaded: bool = False,
) -> dict[str, list[Finding]]:
    """Find what stops the hub of each cooperative class: {"gevent": [...], "eventlet": [...]}, blocking ones first.

    `distributions` are a release's, {name: version}. `extra` is the app's `async_libraries`,
    {name: {"blocks": bool, "remedy": str}}: `blocks: true` adds a library, `blocks: false` says that the app has
    dealt with it and takes a row of the table back; either way the user's word is the last.
    """
    installed = {normalise(name): (name, version) for name, version in distributions.items()}
    declared = {normalise(name): entry for name, entry in (extra or {}).items()}
    findings: dict[str, list[Finding]] = {}
    for worker_class in CLASSES:
        found = []
        if free_threaded and worker_class == "gevent":
            what, remedy = "without the global interpreter lock", "use gthread, or a Python with the lock"
            sentence = f"gevent does not support free-threaded Python; {remedy}"
            found.append(Finding("Python", "", worker_class, BLOCKS, what, remedy, FROM_THREADS, sentence))
        for name in sorted(installed):
            if name in declared:
                found += _declared(worker_class, installed[name], declared[name])
            else:
                found += _from_table(worker_class, name, installed)
        findings[worker_class] = sorted(found, key=lambda finding: finding.severity != BLOCKS)
    return findings


def _declared(worker_class: str, installed: tuple[str, str], entry: Mapping[str, object]) -> list[Finding]:
    if not entry.get("blocks", True):
        return []
    remedy = str(entry.get("remedy") or "use another library, or another worker class")
    return [Finding(*installed, worker_class, BLOCKS, "as async_libraries declares", remedy, "declared")]


def _from_table(worker_class: str, name: str, installed: Mapping[str, tuple[str, str]]) -> list[Finding]:
    shown, version = installed[name]
    for library in TABLE:
        if name not in library.distributions or worker_class not in library.blocks:
            continue
        what, remedy = library.blocks[worker_class], library.remedy[worker_class]
        if any(helper in installed for helper in library.unless):
            return [Finding(shown, version, worker_class, WARNS, what, library.unless_note, library.evidence)]
        return [Finding(shown, version, worker_class, BLOCKS, what, remedy, library.evidence)]
    return []


def verdicts(
    distributions: Mapping[str, str],
    extra: Mapping[str, Mapping[str, object]] | None = None,
    *,
    free_threaded: bool = False,
) -> dict[str, str]:
    """The classes that the release must not have, with the reason: {"gevent": "psycopg2 2.9.9 blocks ..."}."""
    found = check(distributions, extra, free_threaded=free_threaded)
    reasons = {}
    for worker_class, findings in found.items():
        texts = [finding.text() for finding in findings if finding.severity == BLOCKS]
        if texts:
            reasons[worker_class] = ". ".join(texts)
    return reasons


def warnings(findings: Mapping[str, Sequence[Finding]], worker_class: str) -> list[str]:
    """What to say to a user whose app gets `worker_class`, or who asked for it himself."""
    return [finding.text() for finding in findings.get(worker_class, ())]
