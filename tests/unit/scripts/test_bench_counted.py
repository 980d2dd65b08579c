# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What of scripts/bench counted needs no host: whether recorder and clients agree, and a client that goes away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from headcount_bench import _client, counted


def tally(begun: int, **outcomes: int) -> dict[str, Any]:
    """What a recorder has counted."""
    all_of_them = {**dict.fromkeys(("1xx", "2xx", "3xx", "4xx", "5xx", "cut", "broken"), 0), **outcomes}
    return {"begun": begun, "outcomes": all_of_them, "worker_ends": {"recycled": 3}, "uncounted": 0, "trouble": 0}


def value(**change: Any) -> dict[str, Any]:
    return {
        "clients": {"2xx": 90, "4xx": 40, "cut": 6},
        "own": 4,
        "lines": 139,
        "missing": 1,
        "recorders": [tally(70, **{"2xx": 48, "4xx": 20, "cut": 2}), tally(70, **{"2xx": 49, "4xx": 20, "cut": 1})],
        "killed": [{"clients": 4, "lost": 4, "workers": 2}] * 3,
        "exporter": {"exporter": 82, "recorder": 82},
        **change,
    }


def test_what_agrees_is_no_difference() -> None:
    assert counted.differences(value()) == []
    assert counted.missed({"gthread": value(), "scrape": {"ms": [20.0, 30.0, 90.0], "fresh_ms": [20.0]}}) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"own": 3}, ["137 requests by Headcount, 136 by the clients", "97 answers of 2xx, and cut ones by Headcount"]),
        ({"lines": 130}, ["131 lines of the log by Headcount, 140 by the clients"]),
        ({"killed": [{"clients": 4, "lost": 3}]}, ["3 lost requests by Headcount, 4 by the clients"]),
        ({"exporter": {"exporter": 80, "recorder": 82}}, ["80 requests of the exporter by Headcount, 82 by the"]),
        (
            {"clients": {"2xx": 89, "4xx": 40, "cut": 6, "failed": 1}},
            ["136 requests", "96 answers", "0 requests that failed"],
        ),
    ],
)
def test_each_difference_is_told(change: dict[str, Any], told: list[str]) -> None:
    found = counted.differences(value(**change))
    assert [line.startswith(words) for line, words in zip(found, told)] == [True] * len(found) == [True] * len(told)


def test_a_slow_scrape_is_missed() -> None:
    scrape = {"scrape": {"ms": [60.0], "fresh_ms": [20.0], "recycled": 1000}}
    assert counted.missed(scrape) == ["a scrape takes 60 ms, at most 50 were promised"]
    assert "took 60 ms in the median after 1000 recycled workers, 20 ms before" in counted.text(scrape)


def test_the_page_says_who_counted_what() -> None:
    assert "| sync | 136 | 136 | 6 | 0 | 6 | 4 of 4 + 4 of 4 + 4 of 4 |" in counted.text({"sync": value()})


def test_users_are_told_apart() -> None:
    rows = [["new", 0, 1, 200, ""], ["new", 0, 1, 404, ""], ["cut", 0, 1, 0, "cut"], ["new", 0, 1, 0, "OSError: gone"]]
    assert counted.by_outcome(rows) == {"2xx": 1, "4xx": 1, "cut": 1, "failed": 1}


def test_a_client_that_leaves_has_asked_and_reads_nothing() -> None:
    heard: list[bytes] = []

    async def ask() -> list[Any]:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read())
            writer.close()
            ended.set()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            rows: list[Any] = []
            spec = {"name": "cut", "kind": "cut", "rate": 1, "paths": ["/wait"]}
            arm = _client.Arm(spec, server.sockets[0].getsockname(), 30.0, rows, 0.0)
            await arm.one(0.0, "/wait")
            await ended.wait()
            return rows

    (row,) = asyncio.run(ask())
    assert (row[0], row[3], row[4]) == ("cut", 0, "cut")
    assert heard == [b"GET /wait HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"]
