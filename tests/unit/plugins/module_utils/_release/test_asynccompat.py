# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The table of libraries that block, against what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._release import asynccompat

# The probes of tests/integration/async_libraries that stand behind a row, and what was seen to cooperate.
PROBED = {
    "psycopg2": "psycopg2-binary",
    "grpcio": "grpcio",
    "confluent-kafka": "confluent-kafka flush",
    "pylibmc": "pylibmc",
    "pymssql": "pymssql",
    "mysql-connector-python": "mysql-connector-python C",
    "pycurl": "pycurl",
    "pyzmq": "pyzmq",
}
TESTS = Path(__file__).resolve().parents[4]
REPORTS = TESTS / "unit" / "fixtures" / "gevent"
RESULTS = json.loads((TESTS / "integration" / "async_libraries" / "results.json").read_text(encoding="utf-8"))
FRAME = '  File "{}", line {}, in {}'


def test_psycopg2_without_psycogreen_does_not_get_gevent() -> None:
    reasons = asynccompat.verdicts({"psycopg2": "2.9.9", "Flask": "3.1.3"})
    assert reasons == {
        "gevent": "psycopg2 2.9.9 blocks the gevent hub in every query; add psycogreen and call "
        "psycogreen.gevent.patch_psycopg() when a worker starts, or use psycopg 3"
    }


def test_psycogreen_turns_the_refusal_into_a_warning() -> None:
    findings = asynccompat.check({"psycopg2_binary": "2.9.13", "psycogreen": "1.0.2"})
    assert [finding.severity for finding in findings["gevent"]] == ["warns"]
    assert asynccompat.warnings(findings, "gevent") == [
        "psycopg2_binary 2.9.13 may block the gevent hub in every query; psycogreen is installed, but only works once "
        "psycogreen.gevent.patch_psycopg() has been called"
    ]
    assert asynccompat.verdicts({"psycopg2-binary": "2.9.13", "psycogreen": "1.0.2"}) == {}


@pytest.mark.parametrize("name", ["psycopg", "PyMySQL", "redis", "pymongo", "boto3", "Flask", "gevent"])
def test_what_is_not_in_the_table_is_not_refused(name: str) -> None:
    assert asynccompat.verdicts({name: "1.0"}) == {}


@pytest.mark.parametrize("name", ["confluent_kafka", "Confluent-Kafka", "confluent.kafka"])
def test_names_are_compared_as_pep_503_has_them(name: str) -> None:
    assert set(asynccompat.verdicts({name: "2.16.1"})) == {"gevent", "eventlet"}


def test_the_user_adds_a_library() -> None:
    extra = {"House_Driver": {"blocks": True, "remedy": "use house-driver-aio"}}
    assert asynccompat.verdicts({"house-driver": "1.2"}, extra) == {
        "gevent": "house-driver 1.2 blocks the gevent hub as async_libraries declares; use house-driver-aio",
        "eventlet": "house-driver 1.2 blocks the eventlet hub as async_libraries declares; use house-driver-aio",
    }
    assert asynccompat.verdicts({}, extra) == {}


def test_the_user_takes_a_row_back() -> None:
    assert asynccompat.verdicts({"grpcio": "1.85.1"}, {"grpcio": {"blocks": False, "remedy": ""}}) == {}


def test_several_libraries_are_all_named() -> None:
    reason = asynccompat.verdicts({"pylibmc": "1.6.3", "grpcio": "1.85.1"})["eventlet"]
    assert reason == (
        "grpcio 1.85.1 blocks the eventlet hub in every call; use gevent with grpc.experimental.gevent.init_gevent(): "
        "there is no such call for eventlet. pylibmc 1.6.3 blocks the eventlet hub in every operation; use pymemcache"
    )


def test_free_threaded_python_does_not_get_gevent() -> None:
    assert asynccompat.verdicts({}, free_threaded=True) == {
        "gevent": "gevent does not support free-threaded Python; use gthread, or a Python with the lock"
    }


def test_a_finding_is_plain_data() -> None:
    finding = asynccompat.check({"pylibmc": "1.6.3"})["gevent"][0]
    assert finding.to_dict() == {
        "distribution": "pylibmc",
        "version": "1.6.3",
        "worker_class": "gevent",
        "severity": "blocks",
        "what": "in every operation",
        "remedy": "use pymemcache",
        "evidence": "run",
        "text": "pylibmc 1.6.3 blocks the gevent hub in every operation; use pymemcache",
    }


def test_every_row_is_complete() -> None:
    seen: set[str] = set()
    for library in asynccompat.TABLE:
        assert set(library.blocks) == set(library.remedy)
        assert set(library.blocks) <= set(asynccompat.CLASSES)
        assert library.evidence in (asynccompat.RUN, asynccompat.FROM_THREADS)
        assert bool(library.unless) == bool(library.unless_note)
        for name in library.distributions:
            assert asynccompat.normalise(name) == name
            assert name not in seen
            seen.add(name)


def test_what_is_said_to_be_run_was_run_and_blocked() -> None:
    for library in asynccompat.TABLE:
        name = library.distributions[0]
        assert (library.evidence == asynccompat.RUN) == (name in PROBED), name
        if name in PROBED:
            for worker_class in asynccompat.CLASSES:
                measured = RESULTS[f"{PROBED[name]} / {worker_class}"]["verdict"]
                assert measured == ("blocks" if worker_class in library.blocks else "cooperates"), (name, worker_class)


def test_every_remedy_that_could_be_run_was_seen_to_cooperate() -> None:
    for probe in (
        "psycopg2-binary+psycogreen / gevent",
        "psycopg / gevent",
        "grpcio+init_gevent / gevent",
        "confluent-kafka flush+thread pool / gevent",
        "confluent-kafka flush+thread pool / eventlet",
        "kafka-python / gevent",
        "kafka-python / eventlet",
        "pymemcache / gevent",
        "pymemcache / eventlet",
        "pymssql+thread pool / gevent",
        "python-tds / eventlet",
        "python-tds / gevent",
        "mysql-connector-python pure / gevent",
        "mysql-connector-python pure / eventlet",
        "pymysql / gevent",
        "pymysql / eventlet",
        "requests / gevent",
        "httpx / gevent",
        "pyzmq+zmq.green / gevent",
        "pyzmq+eventlet.green.zmq / eventlet",
        "oracledb / gevent",
        "oracledb / eventlet",
    ):
        assert RESULTS[probe]["verdict"] == "cooperates", probe
