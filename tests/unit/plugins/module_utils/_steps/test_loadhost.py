# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The controller's or a load host's part of a trial: refused in words, or the same load as on the host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.app import Limits, Load
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import command
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import h2load as h2
from ansible_collections.headcount.gunicorn.plugins.module_utils._load import trialload as ld
from ansible_collections.headcount.gunicorn.plugins.module_utils._load.phases import Running
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.http import Answer
from ansible_collections.headcount.gunicorn.plugins.module_utils._steps import loadhost
from pretender import Pretender

HEALTH = {"path": "/healthz", "status": [200], "contains": None, "timeout_seconds": 1, "boot_seconds": 3}
REQUEST: dict[str, Any] = {
    "from": "lg1",
    "candidate": "10.0.0.5:8001",
    "baseline": "10.0.0.5:8000",
    "load": {"paths": [{"path": "/"}], "rate": 50, "seconds": 4, "warmup_requests": 10},
    "health": HEALTH,
    "workers": 2,
    "capacity_rps": None,
    "swap": False,
    "factor": 1.0,
}
WITHOUT = (
    "h2load is not on {}, so that no trial can be run: install the package nghttp2-client (Debian, Ubuntu) "
    "or nghttp2 (Fedora, RHEL)"
)


@pytest.fixture
def search(tmp_path: Path) -> str:
    """A PATH with an h2load that is never run."""
    program = tmp_path / "bin/h2load"
    program.parent.mkdir()
    program.touch(mode=0o755)
    return str(program.parent)


@pytest.fixture(autouse=True)
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured after the load has tests of its own."""
    monkeypatch.setattr(ld, "REST_SECONDS", 0.0)


def well(*_: Any) -> Answer:
    return Answer(200, b"ok", 1.0)


class TestBefore:
    """What is looked at before any host is changed."""

    def test_all_there(self, search: str) -> None:
        assert loadhost.lacking_packages("lg1", 100, True, search) == []

    @pytest.mark.parametrize(
        ("release", "package"),
        [
            ("ID=debian\n", "nghttp2-client"),
            ("ID=ubuntu\nID_LIKE=debian\n", "nghttp2-client"),
            ("ID=raspbian\nID_LIKE=debian\n", "nghttp2-client"),
            ("ID=kali\nID_LIKE=debian\n", "nghttp2-client"),
            ('ID=pop\nID_LIKE="ubuntu debian"\n', "nghttp2-client"),
            ("ID=linuxmint\nID_LIKE=ubuntu\n", "nghttp2-client"),
            ("ID=fedora\n", "nghttp2"),
            ('ID="rhel"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n', "nghttp2"),
            ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\n', "nghttp2"),
            ('ID="almalinux"\nID_LIKE="rhel centos fedora"\n', "nghttp2"),
            ('ID="centos"\nID_LIKE="rhel fedora"\n', "nghttp2"),
            ('ID="amzn"\nID_LIKE="fedora"\n', "nghttp2"),
        ],
    )
    def test_what_will_be_installed_on_a_load_host(self, tmp_path: Path, release: str, package: str) -> None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc/os-release").write_text(release, encoding="utf-8")
        assert loadhost.lacking_packages("lg1", 0, True, "", str(tmp_path)) == [package]

    @pytest.mark.parametrize(
        ("name", "install", "words"),
        [
            (
                "lg1",
                False,
                WITHOUT.format("load host lg1") + ", or let Headcount do it with headcount_install_packages: true",
            ),
            ("controller", False, WITHOUT.format("the controller")),
            ("controller", True, WITHOUT.format("the controller")),
        ],
    )
    def test_what_nobody_will_install(self, name: str, install: bool, words: str) -> None:
        with pytest.raises(loadhost.NotLoaded) as refused:
            loadhost.lacking_packages(name, 0, install, "")
        assert str(refused.value) == words

    def test_too_few_open_files(self, search: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(loadhost.h2, "raise_nofile", lambda needed: f"{needed} are too many")
        with pytest.raises(loadhost.NotLoaded) as refused:
            loadhost.lacking_packages("controller", 5000, True, search)
        assert str(refused.value) == "the controller cannot make the load: 5000 are too many"


class TestLoad:
    """The load itself."""

    def test_one_that_was_stopped_in_its_warm_up_never_got_warm(
        self, search: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopped = ld.TrialLoad(
            h2.account([]), None, ld.DerivedRate(50.0, "declared", ""), 0.0, 0.0, False, stopped="it suffered"
        )
        monkeypatch.setattr(loadhost, "run_trial_load", lambda *_, **__: stopped)
        done = loadhost.make_load(REQUEST, search=search, ask=well)
        assert done["since_warm_seconds"] == 0.0
        assert ld.TrialLoad.unpack(done["load"]).stopped == "it suffered"

    def test_an_answer_is_waited_for_as_long_as_the_host_says(self, search: str) -> None:
        runner = Pretender()
        slow = {**REQUEST, "answer_seconds": 80.0, "limits": {"p95_ms": 40000}}
        loadhost.make_load(slow, search=search, ask=well, runner=runner)
        assert {launch.argv[launch.argv.index("-N") + 1] for launch in runner.calls[-1]} == {"80s"}
        assert loadhost._rule(slow, Limits()).answer_seconds == 80.0

    def test_both_arms_over_tcp_with_the_host_of_the_private_sockets(self, search: str) -> None:
        runner = Pretender()
        done = loadhost.make_load(
            REQUEST, search=search, ask=well, runner=runner, monotonic=iter((100.0, 104.5)).__next__
        )
        calm, ramp, *_, measured = runner.calls
        assert [launch.argv[-1] for launch in calm] == ["http://10.0.0.5:8000/"]
        assert [launch.argv[-1] for launch in ramp] == ["http://10.0.0.5:8001/", "http://10.0.0.5:8000/"]
        assert {launch.argv[-1] for launch in measured} == {"http://10.0.0.5:8001/", "http://10.0.0.5:8000/"}
        assert all(":authority: localhost" in launch.argv for launch in [*calm, *ramp, *measured])
        assert not any("-B" in launch.argv for launch in measured)
        assert done["since_warm_seconds"] == 4.5
        found = ld.TrialLoad.unpack(done["load"])
        assert found.baseline is not None
        assert (found.candidate.planned, found.candidate.failures, found.baseline.planned) == (200, 0, 200)

    def test_a_retry_is_swapped_and_twice_as_long(self, search: str) -> None:
        runner = Pretender()
        loadhost.make_load({**REQUEST, "swap": True, "factor": 2.0}, search=search, ask=well, runner=runner)
        measured = [list(launch.argv) for launch in runner.calls[-1]]
        assert sum(int(argv[argv.index("-n") + 1]) for argv in measured if argv[-1] == "http://10.0.0.5:8000/") == 400
        assert measured[0][-1] == "http://10.0.0.5:8000/"

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (
                Answer(0, b"", 1.0, "timed out"),
                "the candidate is not reached at 10.0.0.5:8001: GET /healthz got no answer: timed out; "
                "let load host lg1 through to that port, or set load.address",
            ),
            (
                Answer(404, b"", 1.0),
                "the candidate is not reached at 10.0.0.5:8001: GET /healthz answered 404, expected 200; it "
                "was asked for as localhost: where the app answers to its own name alone, declare `host`",
            ),
        ],
    )
    def test_an_address_that_leads_elsewhere_is_not_loaded(self, search: str, answer: Answer, words: str) -> None:
        runner = Pretender()
        with pytest.raises(loadhost.NotLoaded) as refused:
            loadhost.make_load(REQUEST, search=search, ask=lambda *_: answer, runner=runner)
        assert str(refused.value) == words
        assert runner.calls == []

    def test_the_live_generation_is_asked_too(self, search: str) -> None:
        def ask(address: tuple[str, int], *_: Any) -> Answer:
            return well() if address[1] == 8001 else Answer(0, b"", 1.0, "refused")

        with pytest.raises(loadhost.NotLoaded, match=r"^the live generation is not reached at 10\.0\.0\.5:8000: "):
            loadhost.make_load(REQUEST, search=search, ask=ask)

    def test_no_h2load(self) -> None:
        with pytest.raises(loadhost.NotLoaded) as refused:
            loadhost.make_load(REQUEST, search="")
        assert str(refused.value) == WITHOUT.format("load host lg1")

    def test_a_load_that_cannot_be(self, search: str) -> None:
        with pytest.raises(loadhost.NotLoaded, match=r"load\.rate is declared"):
            loadhost.make_load({**REQUEST, "load": {**REQUEST["load"], "rate": None}}, search=search, ask=well)


class TestPacked:
    """What came of the load on its way between two machines."""

    def test_there_and_back(self) -> None:
        runner = Pretender(status=500)
        made = ld.run_trial_load(
            h2.Target("10.0.0.5:8001"), None, Load.from_dict(REQUEST["load"]), running=Running(runner=runner)
        )
        again = ld.TrialLoad.unpack(made.pack())
        assert again.to_dict() == made.to_dict()
        assert again.candidate.to_dict() == made.candidate.to_dict()
        assert again.candidate.failures == 200
        assert again.baseline is None

    def test_it_is_small(self) -> None:
        made = ld.run_trial_load(
            h2.Target("10.0.0.5:8001"),
            None,
            Load.from_dict({**REQUEST["load"], "seconds": 60}),
            running=Running(runner=Pretender()),
        )
        assert len(made.pack()) < 20 * made.candidate.planned

    @pytest.mark.parametrize("text", ["", "x", "eJyrrgUAAXUA+Q=="])
    def test_something_else(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            ld.TrialLoad.unpack(text)


@pytest.mark.parametrize(
    ("load", "files"),
    [({"rate": 50, "seconds": 30}, 533), ({"rate": None, "seconds": 30}, 2033), ({"rate": 1, "seconds": 5}, 42)],
)
def test_open_files_are_counted_for_the_retry_too(load: dict[str, Any], files: int) -> None:
    found = command.files_needed(Load.from_dict(load))
    assert found == files


def test_the_longest_run_is_the_retry() -> None:
    beginning = 10 + 1 + 30  # the live generation alone, the ramp
    warmup, both, candidate_alone = 30, 60 + 15, 60 + 15
    assert ld.longest_seconds(Load(seconds=30)) == beginning + warmup + both + candidate_alone + 15
