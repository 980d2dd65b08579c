# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the wheelhouse makes of the words of uv, pip and git. The samples are captured from uv 0.13.9."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels import conflicts, tools

HEAD = "error: No solution found when resolving dependencies\n  cause: "
CONFLICTS = {
    "gevent against httpbin on Python 3.11": (
        "Because gevent>=26.9.0 depends on greenlet{platform_python_implementation == 'CPython'}>=3.2.2 and "
        "httpbin==0.10.2 depends on greenlet{python_full_version < '3.12'}<3.0, we can conclude that gevent>=26.9.0 "
        "and httpbin==0.10.2 are incompatible.\n         And because you require httpbin==0.10.2 and gevent==26.9.0, "
        "we can conclude that your requirements are unsatisfiable.\n",
        "gevent==26.9.0 needs greenlet>=3.2.2, but httpbin==0.10.2 needs greenlet<3.0",
    ),
    "the same through gunicorn's extra": (
        "Because gevent>=24.10.1,<=24.11.1 depends on greenlet{platform_python_implementation == 'CPython'}>=3.1.1 and "
        "gevent>=25.4.1,<=25.4.2 depends on greenlet{platform_python_implementation == 'CPython'}>=3.2.0, we can "
        "conclude that gevent>=24.10.1,<=25.4.2, greenlet<3.1.1, greenlet{platform_python_implementation == 'CPython'}"
        "<3.2.0 are incompatible.\n         And because gevent>=25.5.1 depends on greenlet"
        "{platform_python_implementation == 'CPython'}>=3.2.2, we can conclude that gevent>=24.10.1, greenlet<3.1.1, "
        "greenlet{platform_python_implementation == 'CPython'}<3.2.0 are incompatible.\n         And because "
        "gunicorn[gevent]>=27.0.1 depends on gevent>=24.10.1 and httpbin==0.10.2 depends on greenlet"
        "{python_full_version < '3.12'}<3.0, we can conclude that httpbin==0.10.2 and gunicorn[gevent]>=27.0.1 are "
        "incompatible.\n         And because you require httpbin==0.10.2 and gunicorn[gevent]==27.0.1, we can conclude "
        "that your requirements are unsatisfiable.\n",
        "gevent>=25.5.1 needs greenlet>=3.2.2, but httpbin==0.10.2 needs greenlet<3.0",
    ),
    "two pins": (
        "Because you require gunicorn==23.0.0 and gunicorn==27.0.1, we can conclude that your requirements are "
        "unsatisfiable.\n",
        "both gunicorn==23.0.0 and gunicorn==27.0.1 are required",
    ),
    "a dependency against a requirement": (
        "Because flask>=3.0.0,<=3.0.3 depends on werkzeug>=3.0.0 and flask>=3.1.0 depends on werkzeug>=3.1, we can "
        "conclude that flask>=3.0.0 depends on werkzeug>=3.0.0.\n         And because you require flask>=3 and "
        "werkzeug<2, we can conclude that your requirements are unsatisfiable.\n",
        "flask>=3 needs werkzeug>=3.0.0, but werkzeug<2 is required",
    ),
    "a dependency against a lock": (
        "Because case==1 depends on flask>=3.1 and flask==3.0.3, we can conclude that case==1 cannot be used.\n"
        "         And because only case==1 is available and you require case, we can conclude that your requirements "
        "are unsatisfiable.\n",
        "case==1 needs flask>=3.1, but flask==3.0.3 is required",
    ),
    "what follows from a demand is none": (
        "Because flask==2.0.2 depends on jinja2>=3.0 and you require flask==2.0.2, we can conclude that you require "
        "jinja2>=3.0.\n         And because you require jinja2==2.11.3, we can conclude that your requirements are "
        "unsatisfiable.\n",
        "flask==2.0.2 needs jinja2>=3.0, but jinja2==2.11.3 is required",
    ),
    "Python too old": (
        "Because the requested Python version (>=3.9) does not satisfy Python>=3.10 and gunicorn==27.0.1 depends on "
        "Python>=3.10, we can conclude that gunicorn==27.0.1 cannot be used.\n         And because only "
        "gunicorn<=27.0.1 is available and you require gunicorn==27.0.1, we can conclude that your requirements are "
        "unsatisfiable.\n\nhint: The `--python-version` value (>=3.9) includes Python versions that are not so.\n",
        "gunicorn==27.0.1 needs Python>=3.10, but the host has Python 3.9",
    ),
    "Python too old for a requirement": (
        "Because the requested Python version (>=3.9) does not satisfy Python>=3.10 and you require "
        "gunicorn[gevent]==25.0.0, we can conclude that your requirements are unsatisfiable.\n",
        "gunicorn[gevent]==25.0.0 needs Python>=3.10, but the host has Python 3.9",
    ),
    "no such distribution": (
        "Because nonexistent was not found in the package registry and you require nonexistent==1, we can conclude "
        "that your requirements are unsatisfiable.\n",
        "nonexistent was not found in the package index",
    ),
    "no such version": (
        "Because there is no version of flask==99 and you require flask==99, we can conclude that your requirements "
        "are unsatisfiable.\n",
        "there is no version of flask==99",
    ),
    "something else": (
        "Because the moon is full, we can conclude that your requirements are unsatisfiable.\n\nhint: wait\n",
        "Because the moon is full, we can conclude that your requirements are unsatisfiable",
    ),
}


@pytest.mark.parametrize(("words", "sentence"), CONFLICTS.values(), ids=CONFLICTS.keys())
def test_a_conflict_becomes_one_sentence(words: str, sentence: str) -> None:
    error = conflicts.resolution_error("source pip 'x'", HEAD + words, "3.9")
    assert isinstance(error, tools.ResolutionConflict)
    assert error.cause == sentence
    assert str(error).startswith(f"source pip 'x': {sentence}")
    assert ("headcount_python" in str(error)) is ("the host has Python" in sentence)


def test_a_version_that_needs_another_python_names_the_variable() -> None:
    error = conflicts.resolution_error("source pip 'x'", HEAD + CONFLICTS["Python too old"][0], "3.9")
    assert str(error) == (
        "source pip 'x': gunicorn==27.0.1 needs Python>=3.10, but the host has Python 3.9; allow another version of "
        "it, or have headcount_python name a Python>=3.10 of the host"
    )


ABSENT = (
    "Because nclib was not found in the package registry and you require nclib==1.2, we can conclude that your "
    "requirements are unsatisfiable.\n\n"
)
ASKED = "http://***@127.0.0.1:9931/simple (pip's settings), the public index that uv and pip know by themselves"


@pytest.mark.parametrize(
    ("hint", "status"),
    [
        ("hint: An index URL (http://127.0.0.1:9931/simple) could not be queried due to a lack of valid authentication "
         "credentials (401 Unauthorized)\n", "401 Unauthorized"),
        ("      hint: An index URL (http://127.0.0.1:9931/simple) could not be queried due to a lack\n      of valid "
         "authentication credentials (401 Unauthorized).\n", "401 Unauthorized"),
        ("hint: An index (http://127.0.0.1:9931/simple) returned a 403 Forbidden error. Check that the index URL is "
         "correct and the credentials are valid.\n", "403 Forbidden"),
    ],
)  # fmt: skip
def test_an_index_that_lets_nobody_in_is_named(hint: str, status: str) -> None:
    error = conflicts.resolution_error("source path 'x'", HEAD + ABSENT + hint, "3.11", ASKED)
    assert str(error) == (
        "source path 'x': nclib was not found in the package index; the index http://127.0.0.1:9931/simple (pip's "
        f"settings) answered {status}, so that nobody knows what it has: give it a user and a password that it takes, "
        "in the settings that name it, a keyring or ~/.netrc, or leave it out where it has nothing of the project"
    )
    assert "correct the name or the version" in str(
        conflicts.resolution_error("source path 'x'", HEAD + ABSENT, "3.11", ASKED)
    )


def test_a_url_that_lets_nobody_in_is_no_network_that_is_away() -> None:
    text = (
        "error: Failed to download `x @ http://127.0.0.1:9931/x-1.0.whl`\n  cause: Failed to fetch: "
        "http://127.0.0.1:9931/x-1.0.whl\n  cause: HTTP status client error (401 Unauthorized) for url (http://h/x)\n"
    )
    with pytest.raises(tools.NetworkUnreachable, match=r"^shop: 127\.0\.0\.1:9931 answered 401 Unauthorized: give it"):
        tools.raise_for_network("shop", text)


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("there is no version of click==99.0", "requirements.txt, line 2 has click==99.0"),
        ("nclib-x was not found in the package index", "a.txt, line 7 has NClib-X>=1"),
        ("jsmin", "a.txt, line 9 has jsmin==2.2.2"),
        ("x was not found", ""),
    ],
)
def test_the_lines_that_words_are_about(words: str, lines: str) -> None:
    told = (("requirements.txt, line 2", "click==99.0"), ("a.txt, line 7", "NClib-X>=1"),
            ("a.txt, line 8", "nclib-x-more"), ("a.txt, line 9", "jsmin==2.2.2"))  # fmt: skip
    assert conflicts.lines_about(words, told) == (f" ({lines})" if lines else "")


def test_older_uv_draws_a_tree() -> None:
    text = "  × No solution found when resolving dependencies:\n  ╰─▶ Because it is late, we can conclude nothing.\n"
    assert conflicts.conflict_cause(text, "3.11") == "Because it is late, we can conclude nothing"


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("greenlet>=3.1.1", "greenlet<3.0", True),
        ("greenlet<3.0", "Greenlet>=3.1.1", True),
        ("greenlet>=2.0", "greenlet<3.0", False),
        ("greenlet>=3.0", "greenlet<3.0", True),
        ("greenlet>=3.0", "greenlet<=3.0", False),
        ("gunicorn[gevent]==27.0.1", "gunicorn<26", True),
        ("flask>=3", "werkzeug<2", False),
        ("flask", "flask<2", False),
    ],
)
def test_disjoint(left: str, right: str, expected: bool) -> None:
    assert conflicts._disjoint(left, right) is expected


NETWORK = """error: Request failed after 3 retries in 9.1s
  cause: Failed to fetch: http://me:secret@127.0.0.1:1/simple/flask/
  cause: error sending request for url (http://127.0.0.1:1/simple/flask/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""


def test_an_unreachable_index() -> None:
    with pytest.raises(tools.NetworkUnreachable) as caught:
        conflicts.resolution_error("source path 'app'", NETWORK, "3.11")
    assert str(caught.value) == (
        "source path 'app': 127.0.0.1:1 was not reachable from the controller (Connection refused (os error 111)); "
        "check its connection and the index settings of uv and pip"
    )


@pytest.mark.parametrize(
    ("said", "hosts"),
    [
        ("fatal: unable to access 'https://git.example.com/shop.git/': Could not resolve host: git.example.com",
         "git.example.com was"),
        ("ssh: connect to host code.example.com port 22: Connection refused", "code.example.com was"),
        ("ssh: Could not resolve hostname code.example.com: Name or service not known", "code.example.com was"),
        ("HTTPSConnectionPool(host='pypi.example.com', port=443): Max retries exceeded with url: /simple/x/",
         "pypi.example.com was"),
        ("Failed to fetch: `https://a.example.com/simple/x/`\nFailed to fetch: `http://b.example.com:81/x`",
         "a.example.com, b.example.com:81 were"),
        ("dns error: failed to lookup address", "the network was"),
    ],
)  # fmt: skip
def test_what_was_not_reachable_is_named(said: str, hosts: str) -> None:
    with pytest.raises(tools.NetworkUnreachable) as caught:
        tools.raise_for_network("shop", said)
    assert str(caught.value).startswith(f"shop: {hosts} not reachable from the controller (")


def test_any_other_failure_keeps_uvs_words() -> None:
    text = "warning: noise\nerror: Couldn't parse requirement\n  cause: no such comparison operator\n"
    error = conflicts.resolution_error("source pip 'x'", text, "3.11")
    assert str(error) == "source pip 'x': error: Couldn't parse requirement cause: no such comparison operator"


def test_what_could_not_be_built_to_see_what_it_needs_is_told_in_a_sentence() -> None:
    text = (
        "error: Failed to build `markupsafe==1.0`\n  Caused by: The build backend returned an error\n"
        '[stderr]\nTraceback (most recent call last):\n  File "<string>", line 14, in <module>\n'
        "ImportError: cannot import name 'Feature' from 'setuptools'\n"
    )
    assert str(conflicts.resolution_error("source path 'x'", text, "3.11.2")) == (
        "source path 'x': markupsafe 1.0 cannot be built with Python 3.11.2, so that nobody knows what it depends on "
        "(ImportError: cannot import name 'Feature' from 'setuptools'); allow another version of it, or have "
        "headcount_python name an older Python of the host"
    )


def test_credentials_are_left_out() -> None:
    assert tools.redact("fatal: https://me:secret@host/x.git gone") == "fatal: https://***@host/x.git gone"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'https://h/x.git?token=s3' gone", "'https://h/x.git?token=***' gone"),
        ("https://h/x?a=1&private_token=s3&b=2#egg=x", "https://h/x?a=1&private_token=***&b=2#egg=x"),
        ("https://h/x?X-Amz-Signature=s3&API_KEY=s3", "https://h/x?X-Amz-Signature=***&API_KEY=***"),
        ("https://me:p@s3@h/x", "https://***@h/x"),
        ("https://h/x?monkey=1&author=2", "https://h/x?monkey=1&author=2"),
    ],
)
def test_what_is_secret_in_a_url_is_masked(text: str, expected: str) -> None:
    assert tools.redact(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nfatal: not a repository\nb", "fatal: not a repository"),
        (
            "error: subprocess-exited-with-error\n  × Getting requirements did not run\n  Exception: no pkg-config\n",
            "Exception: no pkg-config",
        ),
        ("", "it said nothing"),
        ("one\ntwo", "one | two"),
    ],
)
def test_essence(text: str, expected: str) -> None:
    assert tools.essence(text) == expected


def test_a_program_that_is_absent_or_too_slow() -> None:
    with pytest.raises(tools.ToolMissing, match=r"^headcount-nothing is not on the controller: install it$"):
        tools.run(["headcount-nothing"], 5)
    with pytest.raises(tools.TooSlow, match=r"not finished within 0\.1 s on the controller$"):
        tools.run([sys.executable, "-c", "import time; time.sleep(9)"], 0.1)


def _count(path: str, lock: str) -> None:
    for _ in range(50):
        with tools.file_lock(Path(lock)):
            value = int(Path(path).read_text(encoding="utf-8"))
            Path(path).write_text(str(value + 1), encoding="utf-8")


def test_the_lock_keeps_processes_apart(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0", encoding="utf-8")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_count, args=(str(counter), str(tmp_path / "l"))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text(encoding="utf-8") == "200"


def test_a_lock_that_is_never_given_back_is_reported(tmp_path: Path) -> None:
    lock = tmp_path / "l"
    with tools.file_lock(lock), pytest.raises(tools.WheelhouseError, match="was held by another process for 0 s"):
        tools.file_lock(lock, seconds=0).__enter__()


@pytest.mark.parametrize(("mine", "seen"), [({}, "1 1"), ({"UV_SYSTEM_CERTS": "0"}, "1 0")])
def test_uv_trusts_what_the_machine_trusts(monkeypatch: pytest.MonkeyPatch, mine: dict[str, str], seen: str) -> None:
    for name in ("UV_NATIVE_TLS", "UV_SYSTEM_CERTS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in mine.items():
        monkeypatch.setenv(name, value)
    done = tools.run(["sh", "-c", 'echo "$UV_NATIVE_TLS $UV_SYSTEM_CERTS"'], 10.0)
    assert done.stdout.strip() == seen
