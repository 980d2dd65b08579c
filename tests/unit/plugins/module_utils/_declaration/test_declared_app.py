# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The frozen app: exact both ways, tolerant towards older records, with the defaults of the table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import App
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.digests import (
    digest,
    public_digest,
    redacted,
    secrets_digest,
)
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import normalise_apps
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.table import APP_FIELDS

MINIMAL: dict[str, Any] = {
    "name": "shop",
    "source": {"path": "app"},
    "entry_point": "shop.wsgi:create_app()",
    "listen": "0.0.0.0:8000",
}
EVERYTHING: dict[str, Any] = {
    **MINIMAL,
    "source": {"path": "app", "lock": "app/uv.lock", "include": ["shop/static/**"]},
    "mix": "mixed",
    "worker_class": "gthread",
    "concurrency": 40,
    "rate": 12.5,
    "memory": {"worker_mib": 90, "slot_mib": 0.5},
    "environment": {"SHOP_CURRENCY": "EUR"},
    "secrets": {"DATABASE_URL": "correct horse"},
    "health": {"path": "/healthz", "status": [204, 200], "contains": "ok"},
    "load": {
        "paths": [
            {"path": "/", "cpu_ms": 3},
            {"path": "/buy", "method": "POST", "body": "{}", "cpu_ms": 300, "wait_ms": 2, "status": [200, 302]},
        ],
        "rate": 20,
        "from": "loadgen1",
        "address": "10.0.0.11",
    },
    "limits": {"p95_ms": 250, "error_rate": 0.02},
    "share": {"cores": 1.5},
    "buffering_proxy": True,
    "database": {"max_connections": 200, "reserved": 10},
    "settings": {"workers": 3, "preload_app": False, "timeout": 60},
    "profile_mismatch": "fail",
    "on_inconclusive": "promote",
    "async_libraries": {"acme-client": {"blocks": True}},
    "retain": {"good": 5},
    "verify_seconds": 0,
    "user": "shop",
    "slice": "web.slice",
}
ASKED: dict[str, Any] = {
    "host": "shop.example.com",
    "scheme": "https",
    "gunicorn": {"accesslog": "-", "raw_env": ["X=1"]},
    "command_prefix": ["ddtrace-run"],
    "listen": "unix:/run/shop.sock",
    "listen_group": "www-data",
    "former": "gunicorn.service",
    "listen_mode": "0666",
    "load": {"paths": ["/"]},
    "wait_ratio": 2.0,
}
WATCHED: dict[str, Any] = {
    "recorder": True,
    "guard": {"minutes": 10},
    "access_log": "off",
    "load": {"paths": ["/"]},
    "load_test": {"calendar": "Sun 04:00", "rate": 2},
}
"""Keys that came later: where they are not declared, the digests are what they were."""


LATER: dict[str, Any] = {
    "data": {"paths": ["uploads/"], "outside": ["/srv/media"], "cache": True},
    "sandbox": {"devices": ["/dev/fuse"], "umask": "0027"},
}
"""Keys that came later: an app that does not declare them has the digests that it had without."""


def normalised(declared: dict[str, Any]) -> dict[str, Any]:
    apps, problems = normalise_apps([declared], "web1")
    assert problems == []
    return apps[0]


@pytest.mark.parametrize(
    "declared",
    [MINIMAL, EVERYTHING, {**MINIMAL, **LATER}, {**EVERYTHING, **WATCHED}, {**EVERYTHING, **ASKED}],
    ids=["minimal", "everything", "later", "watched", "asked"],
)
def test_it_is_exact_both_ways(declared: dict[str, Any]) -> None:
    plain = normalised(declared)
    for form in (plain, redacted(App.from_dict(plain)).to_dict(), json.loads(json.dumps(plain))):
        again = App.from_dict(form).to_dict()
        assert again == form
        assert json.dumps(again, sort_keys=True, indent=2) == json.dumps(form, sort_keys=True, indent=2)
        assert digest(again) == digest(form)


def test_a_choice_that_yaml_reads_as_a_boolean_is_the_word() -> None:
    assert normalised({**MINIMAL, "access_log": False})["access_log"] == "off"
    assert "access_log" not in normalised(MINIMAL)


def test_its_digests_are_those_of_the_generations_that_are_live() -> None:
    app = App.from_dict(normalised(EVERYTHING))
    assert public_digest(app) == "625fe2f80ce0b1e4ad985142cd0c26e2eddeb4ed3ca41abb7bc4bf409433dec9"
    assert public_digest(app, "source") == "357f139318998e6c06d72aa907567f4402810b96e4f544e043237262381575cb"
    assert secrets_digest(app) == "52e55ab474d380ed01ffa05faf78a294e89320d0e52a97a4029e9a997b5eff01"


def test_what_an_older_record_lacks_takes_the_default_of_the_table() -> None:
    whole = normalised(MINIMAL)
    older = {key: whole[key] for key in ("name", "entry_point", "listen", "retain")}
    older["source"] = {"kind": "path", "value": "app"}
    older["load"] = {"paths": [{"path": "/"}], "seconds": 30.0}
    assert App.from_dict(older) == App.from_dict(whole)
    assert App.from_dict(older).to_dict() == whole
    assert App.from_dict({"name": "shop"}).load == App.from_dict(whole).load


def test_what_a_newer_record_has_more_is_left_out() -> None:
    whole = normalised(MINIMAL)
    newer = {**whole, "colour": "red", "load": {**whole["load"], "colour": "red"}}
    assert App.from_dict(newer) == App.from_dict(whole)


def test_it_knows_every_key_of_the_table() -> None:
    everything = {
        **EVERYTHING,
        **LATER,
        **ASKED,
        **WATCHED,
        "former": "gunicorn.service",
        "prepare": ["flask db upgrade"],
        "processes": {"worker": "rq worker"},
    }
    assert list(App.from_dict(normalised(everything)).to_dict()) == [
        item.name
        for item in APP_FIELDS
        if item.name != "trial"  # it lies in environment and secrets
    ]


def test_it_shows_no_secret() -> None:
    assert "correct horse" not in repr(App.from_dict(normalised(EVERYTHING)))
