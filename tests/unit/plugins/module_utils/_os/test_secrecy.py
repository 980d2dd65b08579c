# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""No secret is told, however a text spells it, and no other word is lost."""

from __future__ import annotations

import base64
import html
import json
from pathlib import Path
from typing import Iterator
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import generations, ledger, store
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.units import environment_file
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy, secretfiles
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.lastwords import first_cause
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import Completed, Systemd

SECRET = "s3cr3t & 'quoted' \"ümlaut\"\\/"


@pytest.mark.parametrize(
    "spell",
    [
        str,
        repr,
        ascii,
        json.dumps,
        lambda value: repr(value.encode()),
        lambda value: json.dumps(value, ensure_ascii=False),
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="").lower(),
        quote,
        quote_plus,
        html.escape,
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.b64encode(f"anna:{value}".encode()).decode(),
        lambda value: base64.urlsafe_b64encode(f"user:{value}:more".encode()).decode(),
        lambda value: f"RuntimeError: cannot connect to postgres://u:{value}@db",
    ],
)
def test_a_secret_is_hidden_however_it_is_spelled(spell: object) -> None:
    assert callable(spell)
    secrecy.learn([SECRET])
    text = spell(SECRET)
    told = secrecy.clean_text(f"before {text} after")
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert "***" in told
    assert not any(form in told for form in secrecy.spellings(SECRET))


def test_lines_of_a_key_and_the_password_of_a_url_are_secrets_too() -> None:
    secrecy.learn(["-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\n-----END KEY-----\n", "postgres://u:pa55word@db/shop"])
    assert secrecy.clean_text("bad line MIIEpAIBAAKCAQEA") == "bad line ***"
    assert secrecy.clean_text('password authentication failed: "pa55word"') == 'password authentication failed: "***"'


def test_short_values_and_own_words_stay() -> None:
    secrecy.learn(["abc", "fail", "longer-fail"])
    told = {"phase": "fail", "cause": "it did fail: longer-fail", "more": [{"n": 1, "x": None, "why": ["abc fail"]}]}
    assert secrecy.clean(told) == {
        "phase": "fail",
        "cause": "it did ***: ***",
        "more": [{"n": 1, "x": None, "why": ["abc ***"]}],
    }


def test_an_environment_file_tells_which_values_are_secrets() -> None:
    text = environment_file({"REGION": "production-eu"}, {"A": SECRET, "B": "two\nlines"})
    assert secretfiles.secrets_of(text) == [SECRET, "two\nlines"]
    assert secretfiles.secrets_of(text + "ADDED_PASSWORD=byhand\n") == [SECRET, "two\nlines", "byhand"]
    older = 'A="of an older Headcount"\nB="short"\nC_TOKEN="tok"\n'
    assert secretfiles.secrets_of(older) == [
        "of an older Headcount",
        "tok",
    ]


def test_nothing_that_is_kept_on_the_host_holds_a_secret(tmp_path: Path) -> None:
    layout = Layout("shop", str(tmp_path))
    Path(layout.state).mkdir(parents=True)
    store.begin(layout, 1, "0" * 16)
    Path(layout.environment(1)).write_text(environment_file({}, {"DB": "s3cr3t-1-XYZZY"}), encoding="utf-8")
    cause = "RuntimeError: cannot connect to postgres://u:s3cr3t-1-XYZZY@db"
    ledger.append(layout.ledger, "failed", cause=cause, phase="start")
    store.set_outcome(layout, 1, "bad", cause)
    kept = store.set_evidence(layout, 1, {"notes": [cause], "verdict": {"cause": cause}})
    assert kept["notes"] == ["RuntimeError: cannot connect to postgres://u:***@db"]
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".env"]
    assert len(files) >= 4
    assert not [path for path in files if b"XYZZY" in path.read_bytes()]
    for name in (generations.OUTCOME, generations.EVIDENCE):
        assert (Path(layout.generation(1)) / name).stat().st_mode & 0o777 == 0o600


def test_a_secret_that_a_cut_would_split_is_not_half_told() -> None:
    """The cause of a death is cut to a length; the log it is taken from is cleaned before."""
    secrecy.learn(["s3cr3t-1-XYZZY"])
    log = "Traceback (most recent call last):\nRuntimeError: " + "x" * 478 + "s3cr3t-1-XYZZY"
    systemd = Systemd(lambda *_: Completed(0, log, ""))
    cause = first_cause(systemd.journal("shop@1.service", 0.0))
    assert cause is not None
    assert "s3cr" not in cause


@pytest.fixture
def _nothing_known() -> Iterator[None]:
    secrecy.forget()
    yield
    secrecy.forget()


@pytest.mark.usefixtures("_nothing_known")
def test_a_secret_that_is_like_a_public_word_stays_in_it_and_is_hidden_elsewhere() -> None:
    secrecy.learn(["cart", "cart-s3cret", "cartsvc", "8801", "/opt", "s3cret"])
    secrecy.publish("cart", {"user": "cartsvc", "listen": "0.0.0.0:8801"})
    for words in (
        "/var/lib/hc-cart was removed, by cartsvc",
        "cart: generation 2 is live again",
        "cart@3.service: /opt/headcount/cart/generations/3 at 0.0.0.0:8801, port 8801",
    ):
        assert secrecy.clean_text(words) == words
    assert secrecy.clean_text("cart-s3cret xcart-s3cret /opt carts") == "*** x*** *** ***s"
    assert secrecy.clean_lines(["cart", "cartography", "s3cret"]) == ["cart", "***ography", "***"]


@pytest.mark.usefixtures("_nothing_known")
def test_what_is_public_of_an_app_is_known_from_its_records(tmp_path: Path) -> None:
    layout = Layout("cart", str(tmp_path))
    Path(layout.state).mkdir(parents=True)
    Path(layout.environment(3)).write_text(environment_file({}, {"A": "cart", "B": "webuser"}), encoding="utf-8")
    Path(layout.generation(3)).mkdir(parents=True)
    record = Path(layout.generation(3), generations.GENERATION)
    record.write_text(json.dumps({"release": "webuser", "app": {"user": "webuser"}}), encoding="utf-8")
    entry = ledger.append(layout.ledger, "data_made", folders=["/var/lib/hc-cart"], cause="webuser is cart's, cartX")
    assert entry["folders"] == ["/var/lib/hc-cart"]
    assert entry["cause"] == "webuser is cart's, ***X"


@pytest.mark.usefixtures("_nothing_known")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("\x1b[31mRED\x1b[2J\x1b[0m\ttab\nline", "RED\ttab\nline"),
        ("\x1b]0;title\x07x \x1b]8;;http://e\x1b\\link", "x link"),
        ("\x1bPq string\x1b\\y \x1b(B\x1bc", "y "),
        ("windows\r\nlines\r", "windows\nlines"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("back\rover \x07 \x9b31m \x7f", "back\\rover \\x07 \\x9b31m \\x7f"),
        ("\x1b]open\nnext", "\nnext"),
        ("a name: ümlaut…", "a name: ümlaut…"),
    ],
)
def test_what_a_terminal_would_act_on_is_told_nowhere(said: str, told: str) -> None:
    assert secrecy.clean_text(said) == told
    assert secrecy.clean({"cause": [said], "n": 1}) == {"cause": [told], "n": 1}
    assert secrecy.clean_lines(said.split("\n")) == told.split("\n")


@pytest.mark.usefixtures("_nothing_known")
def test_a_secret_that_a_sequence_parts_is_hidden() -> None:
    secrecy.learn(["s3cr3t-1-XYZZY", "\x1b[31mof its own"])
    assert secrecy.clean_text("s3cr3t-\x1b[0m1-XYZZY, \x1b[31mof its own") == "***, ***"
