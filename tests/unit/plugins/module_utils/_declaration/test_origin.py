# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Where the load comes from, and at which addresses it meets the host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration import origin
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Load


def app(listen: str = "0.0.0.0:8000", **load: Any) -> dict[str, Any]:
    return {"name": "shop", "listen": listen, "load": load}


@pytest.mark.parametrize(
    ("load", "source", "remote", "words"),
    [
        ({}, "host", False, "the host itself"),
        ({"from": "host"}, "host", False, "the host itself"),
        ({"from": "controller"}, "controller", True, "the controller"),
        ({"from": "lg1"}, "lg1", True, "load host lg1"),
    ],
)
def test_origins(load: dict[str, Any], source: str, remote: bool, words: str) -> None:
    declared = Load.from_dict(load)
    assert (declared.origin, origin.is_remote(declared)) == (source, remote)
    assert origin.words(source) == words


@pytest.mark.parametrize(
    ("listen", "reachable"),
    [
        ("0.0.0.0:8000", True),
        ("10.0.0.5:8000", True),
        ("[::]:8000", True),
        ("127.0.0.1:8000", False),
        ("127.9.9.9:8000", False),
        ("[::1]:8000", False),
        ("unix:/run/shop.sock", False),
    ],
)
def test_what_another_machine_reaches(listen: str, reachable: bool) -> None:
    assert origin.reachable(listen) is reachable


@pytest.mark.parametrize(
    ("declared", "listen"),
    [
        (app(), None),
        (app(port=8001), None),
        (app(**{"from": "lg1", "port": 8001}), "0.0.0.0:8001"),
        (app("[::]:80", **{"from": "controller", "port": 9000}), "[::]:9000"),
        (app("unix:/run/shop.sock", **{"from": "lg1", "port": 9000}), None),
        (app(**{"from": "lg1", "port": None}), None),
        (app(**{"from": "lg1"}), None),
    ],
)
def test_where_a_candidate_listens(declared: dict[str, Any], listen: str | None) -> None:
    assert origin.trial_listen(declared["listen"], Load.from_dict(declared["load"])) == listen


@pytest.mark.parametrize(
    ("listen", "load", "target"),
    [
        ("0.0.0.0:8001", {}, "web1.example:8001"),
        ("[::]:8001", {}, "web1.example:8001"),
        ("10.0.0.5:8001", {}, "10.0.0.5:8001"),
        ("10.0.0.5:8001", {"address": "192.0.2.7"}, "192.0.2.7:8001"),
        ("0.0.0.0:8001", {"address": "2001:db8::7"}, "[2001:db8::7]:8001"),
        ("[2001:db8::1]:8001", {}, "[2001:db8::1]:8001"),
    ],
)
def test_what_the_load_is_aimed_at(listen: str, load: dict[str, Any], target: str) -> None:
    assert origin.target(listen, Load.from_dict(load), "web1.example") == target
