# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The benchmark of projects as they are: its arguments, its user, and what the report makes of what came of them."""

from __future__ import annotations

import argparse
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from headcount_bench import apps
from headcount_bench._common import RESULTS, Result, Store
from headcount_bench._visitor import Use, Visitor, hidden_fields
from headcount_scripts.console import ScriptError


def options(
    *checkouts: str, asks: Path | None = None, quick: bool = False, p95_ms: int | None = None
) -> argparse.Namespace:
    return argparse.Namespace(checkouts=list(checkouts), asks=asks, quick=quick, p95_ms=p95_ms)


def test_a_project_is_measured_anew_when_its_files_or_what_is_asked_change(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "app.py").write_text("app = 1\n", encoding="utf-8")
    (first,) = apps.cells_of(options(f"shop={shop}"), tmp_path / "bench")
    (kept,) = apps.cells_of(options(), tmp_path / "bench")
    assert (first.name, first.key) == ("shop", kept.key)
    asks = tmp_path / "asks.yml"
    asks.write_text("shop: {uses: [{get: /}]}\nother: {}\n", encoding="utf-8")
    (asked,) = apps.cells_of(options(asks=asks), tmp_path / "bench")
    (shop / "app.py").write_text("app = 2\n", encoding="utf-8")
    (changed,) = apps.cells_of(options(), tmp_path / "bench")
    assert len({first.key, asked.key, changed.key}) == 3


def test_only_what_did_not_go_live_by_its_own_limits_is_tried_with_others(tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    for name in ("shop", "till", "wiki"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text("app = 1\n", encoding="utf-8")
    words = [f"{name}={tmp_path / name}" for name in ("shop", "till", "wiki")]
    own = apps.cells_of(options(*words), bench)
    failed = {**LIVE, "status": "failed", "cause": "p95 is 309 ms, limit 250", "used": []}
    found = {"shop": {"12": LIVE, "13": failed}, "till": {"12": LIVE, "13": LIVE}, "wiki": {}}
    for cell in own:
        value = result(cell.name, hosts=found[cell.name]).value
        Store(bench / RESULTS).add({"cell": cell.name, "key": cell.key, "value": value, "at": 0.0, "seconds": 1.0})
    again = apps.cells_of(options(p95_ms=3000), bench)
    assert [cell.inputs["p95_ms"] for cell in again] == [3000, None, None]
    assert [cell.key for cell in again[1:]] == [cell.key for cell in own[1:]]
    kept = Store(bench / RESULTS).read()[own[0].key]
    assert apps.stopped(kept) == {"13": "p95 is 309 ms, limit 250"}
    unused = {**LIVE, "used": [{"name": "write", "ok": False, "said": "POST /: 500"}]}
    assert apps.stopped(result("shop", hosts={"12": unused})) == {"12": "write: POST /: 500"}


def test_a_latency_that_is_allowed_to_some_is_told_with_what_came_of_their_own_limits() -> None:
    own = result("till", hosts={"12": LIVE}, p95_ms=None, own={})
    second = result("shop", hosts={"12": LIVE}, p95_ms=3000, own={"12": "p95 is 309 ms, limit 250"})
    eased = apps.report_of({"shop": second, "till": own}).markdown
    assert "the limits that new-app wrote, but for shop: what came of those is told below the table" in eased
    assert "allowed a p95 of 3000 ms, at a few requests a second" in eased
    assert "- Debian 12, by its own limits: p95 is 309 ms, limit 250" in eased
    assert "2 of them by the entry that new-app wrote, without an edit but for limits and load of some trials." in eased
    plain = apps.report_of({"till": own}).markdown
    assert "Other work" not in plain
    assert "the entry that new-app wrote, without an edit." in plain


@pytest.mark.parametrize(
    ("words", "asks", "message"),
    [
        ([], "", "name a project: NAME=CHECKOUT"),
        (["shop"], "", "shop: what is wanted is NAME=CHECKOUT, with the folder of a project"),
        (["shop=/nowhere"], "", "shop=/nowhere: what is wanted is NAME=CHECKOUT"),
        (
            ["shop={here}"],
            "shop: {use: 1}",
            "--asks: shop has use: allowed are kind, options, entry, vars, packages, keeps and uses",
        ),
        (["shop={here}"], "shop: {keeps: some}", "--asks: shop has keeps: some: allowed is nothing, or no keeps"),
        (["shop={here}"], "shop: {uses: [{put: /}]}", "--asks: shop: a use has one of get, form, post, with its path"),
    ],
)
def test_what_is_asked_wrongly_is_told(tmp_path: Path, words: list[str], asks: str, message: str) -> None:
    (tmp_path / "asks.yml").write_text(asks, encoding="utf-8")
    given = [word.format(here=tmp_path) for word in words]
    with pytest.raises(ScriptError) as caught:
        apps.cells_of(options(*given, asks=tmp_path / "asks.yml"), tmp_path / "bench")
    assert message in str(caught.value)


class Notes(http.server.BaseHTTPRequestHandler):
    """An app with a form that asks for its token, and an API that gives one."""

    notes: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        """Nothing is told."""

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        if not self.path.startswith("/kept"):
            self.send_header("Set-Cookie", "session=me")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self) -> None:
        form = '<form><input type="hidden" name="csrf_token" value="t1"><input name="text"></form>'
        self._answer(200, form + " ".join(self.notes))

    def do_POST(self) -> None:
        if self.path == "/paste":
            self.send_response(303)
            self.send_header("Location", "/kept-7?new=1#text")
            self.send_header("Set-Cookie", "session=me; Secure")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.headers["Content-Type"] == "application/json":
            ok = self.headers.get("Authorization") != "Token no"
            self._answer(201 if ok else 401, json.dumps({"user": {"tokens": ["t2"]}}))
        elif "csrf_token=t1" in body and self.headers.get("Cookie") == "session=me":
            self.notes.append(body.partition("text=")[2])
            self._answer(200, "thanks")
        else:
            self._answer(400, "no")


@pytest.fixture
def base() -> Iterator[str]:
    """The address of Notes."""
    Notes.notes = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Notes)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_user_reads_what_it_wrote(base: str) -> None:
    uses = [
        {"name": "page", "get": "/"},
        {"name": "write", "form": "/", "fields": {"text": "hello"}, "text": "thanks"},
        {"name": "read", "get": "/", "text": "hello"},
        {"name": "sign in", "post": "/api", "json": {"user": "x"}, "status": 201, "keep": {"token": "user.tokens.0"}},
        {"name": "api", "post": "/api", "json": {"x": "{token}"}, "headers": {"Authorization": "Token {token}"}},
    ]
    visitor = Visitor(base)
    done = visitor.does([Use.of(item, "x") for item in uses])
    assert done == [{"name": item["name"], "ok": True, "said": ""} for item in uses]
    assert visitor.kept == {"token": "t2"}


def test_a_user_finds_again_what_got_a_page_of_its_own_behind_a_proxy_with_https(base: str) -> None:
    visitor = Visitor(base)
    assert visitor.do(Use.of({"post": "/paste", "fields": {"text": "x"}, "keep": {"page": "@path"}}, "x")) == ""
    assert visitor.kept == {"page": "/kept-7"}
    write = {"form": "{page}", "fields": {"text": "hello"}, "text": "thanks"}
    assert visitor.do(Use.of(write, "x")) == "", "without the cookie that is for https alone it is refused"


@pytest.mark.parametrize(
    ("use", "wrong"),
    [
        ({"get": "/", "text": "nowhere"}, "GET /: 200, but 'nowhere' is not in it"),
        ({"post": "/", "fields": {"text": "x"}}, "POST /: 400"),
        ({"post": "/", "json": {}, "keep": {"x": "user.name"}}, "POST /: 201, but it is no JSON with user.name"),
        ({"post": "/", "json": {}, "headers": {"Authorization": "Token no"}}, "POST /: 401"),
    ],
)
def test_what_went_wrong_is_told(base: str, use: dict[str, Any], wrong: str) -> None:
    assert Visitor(base).do(Use.of(use, "x")) == wrong


def test_nobody_answers() -> None:
    assert Visitor("http://127.0.0.1:9").do(Use("page", "get", "/")).startswith("GET /: ")


def test_hidden_fields_of_a_page() -> None:
    assert hidden_fields("<input type=hidden name=a value=1><input name=b><input type='hidden' name='c'>") == {
        "a": "1",
        "c": "",
    }


def test_what_a_person_adds_to_an_entry() -> None:
    entry = {"name": "shop", "environment": {"A": "1"}, "secrets": {"S": "x"}, "listen": "0.0.0.0:8000"}
    more = {"environment": {"B": "2"}, "listen": "0.0.0.0:8001"}
    found = apps.merged(entry, more)
    assert found == {**entry, "environment": {"A": "1", "B": "2"}, "listen": "0.0.0.0:8001"}


def test_what_new_app_said() -> None:
    text = ".. 3 files\nQUESTION, to be answered first: headcount_apps[0].x: where?\nQUESTION: y: who?\nok a.yml\n"
    assert apps.said(text) == {
        "first": ["headcount_apps[0].x: where?"], "questions": ["y: who?"], "cannot": "", "form": "",
    }  # fmt: skip
    assert apps.said("error: x cannot work as it is:\n  what\n  fix: it\n")["cannot"] == "what fix: it"
    half = "error: x cannot work as it is:\n  what\n  What is known without it is in /tmp/x.yml\n  Call"
    assert apps.said(half)["cannot"] == "what"


def test_no_path_of_this_machine_is_in_what_it_said() -> None:
    text = "app cannot work as it is:\n  no Feature (/x/python3.11/site-packages/setuptools/__init__.py)"
    assert apps.said(text)["cannot"] == "no Feature (site-packages/setuptools/__init__.py)"


def test_what_a_project_was_taken_as() -> None:
    built = ".. 40 files; it is a package: it has a setup.py\n"
    assert apps.form(built) == "package"
    assert apps.form(f"{built}.. no wheel of it can be built here; looking at it as a tree\n") == "tree"
    without = f"{built}.. looking at it as a tree\n.. that fails; looking at it as a package that does without\n"
    assert apps.form(without) == "package"
    assert apps.form("nothing") == ""


def test_what_a_person_answers_to_new_app_and_on_the_hosts_is_told(tmp_path: Path) -> None:
    asks = {"options": ["--requirements", "flask<3"], "packages": ["git"], "entry": {"data": {}}}
    project = apps.Project.of("wiki", str(tmp_path), asks)
    assert project.added == ["--requirements flask<3", "data", "git on the host"]
    assert apps.Project.of("wiki", str(tmp_path), {}).added == []


def test_a_busy_machine_that_lets_ansible_in_late_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run(*_: object, env: dict[str, str], **__: object) -> None:
        seen.append(env["ANSIBLE_TIMEOUT"])

    monkeypatch.setattr(apps.subprocess, "run", run)
    monkeypatch.delenv("ANSIBLE_TIMEOUT", raising=False)
    apps.playbook(tmp_path / "inventory.json", "site.yml")
    monkeypatch.setenv("ANSIBLE_TIMEOUT", "7")
    apps.playbook(tmp_path / "inventory.json", "site.yml")
    assert seen == ["120", "7"]


def result(name: str, **more: Any) -> Result:
    value = {
        "kind": "x",
        "revision": "0123456789ab",
        "new_app": 0,
        "first": [],
        "questions": [],
        "cannot": "",
        "form": "",
    }
    return Result(name, name, {**value, "added": [], "hosts": {}, **more}, 0.0, 1.0)


LIVE = {
    "status": "promoted", "cause": "", "class": "gthread", "size": "1 x 9", "verdict": "pass",
    "used": [{"name": "page", "ok": True, "said": ""}],
}  # fmt: skip


def test_the_table_tells_what_came_of_each() -> None:
    broken = {**LIVE, "used": [{"name": "write", "ok": False, "said": "POST /: 500"}]}
    failed = {"status": "failed", "cause": "it has no page"}
    found = apps.report_of(
        {
            "a": result("a", form="tree", hosts={"12": LIVE, "13": failed}),
            "b": result("b", new_app=3, first=["where?"], added=["environment"], hosts={"12": broken}),
            "c": result("c", new_app=4, cannot="it has no app"),
        }
    )
    assert "| a | x | `0123456789ab` | tree | ready | gthread 1 x 9 | live: page | failed |" in found.markdown
    assert "| asks first (1); added: environment | gthread 1 x 9 | live: write FAILED |" in found.markdown
    assert "| c | x | `0123456789ab` |  | cannot work |  | not tried | not tried |" in found.markdown
    assert "- Debian 12: write: POST /: 500" in found.markdown
    assert "- Debian 13: it has no page" in found.markdown
    assert "1 of 3 projects went live and were used" in found.markdown
    assert found.missed == ["1 of 3 entries went live without an edit, three in four were said"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("TASK [x]\n[ERROR]: Task failed: 1 problem in what is declared:\n  host d12: load.seconds is 6\nOrigin: a\n",
         "[ERROR]: Task failed: 1 problem in what is declared: host d12: load.seconds is 6"),
        ("ok: [d12]\nfatal: [d12]: UNREACHABLE!\nPLAY RECAP\n", "fatal: [d12]: UNREACHABLE!"),
        ("usage: ansible-playbook\n", "usage: ansible-playbook"),
        ("", "it said nothing"),
    ],
)  # fmt: skip
def test_why_a_playbook_ended_is_told_with_what_it_announces(text: str, told: str) -> None:
    assert apps.refusal(text) == told
