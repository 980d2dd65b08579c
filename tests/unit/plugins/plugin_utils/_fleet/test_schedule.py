# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How many hosts share an app's database, and which hosts build what exists only as source."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._declaration.normalise import Declaration
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import builds, runs
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet import schedule as fleetplan
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.decision import AppDecision, HostDecision
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.gathering import Wanted
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._fleet.loadhosts import load_hosts
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output.plantable import fleet_text
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._output.report import build
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.archives import pack_tree
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.gathered import (
    HostBuild,
    Platform,
    Wheel,
    WheelSet,
)
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._wheels.tools import (
    NetworkUnreachable,
    ResolutionConflict,
    TooSlow,
    WheelMissing,
)


class Hostvars(dict[str, dict[str, Any]]):
    """What ansible-core hands to plugins, as far as it is used."""

    def raw_get(self, host: str) -> dict[str, Any]:
        return self[host]


def declaration(host: str, connections: int | None) -> Declaration:
    app: dict[str, Any] = {"name": "shop", "database": {"max_connections": connections}}
    return Declaration(host, [app], {}, [])


@pytest.mark.parametrize(("connections", "hosts"), [(100, 3), (None, 1)])
def test_a_limited_play_leaves_connections_to_the_hosts_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connections: int | None, hosts: int
) -> None:
    asked: list[list[str]] = []

    def declarations(names: list[str], *_: Any) -> list[Declaration]:
        asked.append(names)
        return [declaration(name, connections) for name in names]

    monkeypatch.setattr(fleetplan, "declarations", declarations)
    hostvars = Hostvars(
        {"a": {"headcount_apps": []}, "b": {"headcount_apps": []}, "c": {"headcount_apps": []}, "lb": {}}
    )
    variables = {"hostvars": hostvars, "groups": {"all": list(hostvars)}}
    planner = fleetplan.Scheduler(variables, None, runs.begin(tmp_path), "rollout", True, print)
    assert planner._fleet({"a": declaration("a", connections)}) == {"shop": hosts}
    assert asked == ([["b", "c"]] if connections else [])


BOOKWORM = Platform("3.11", "x86_64", "glibc 2.36")
TRIXIE = Platform("3.13", "x86_64", "glibc 2.41")
NATIVE = Wheel("native", "1.0", "native-1.0.tar.gz", "a" * 64, 1, "/cache/native-1.0.tar.gz")
PIP = Wheel("pip", "26.3", "pip-26.3-py3-none-any.whl", "b" * 64, 1, "/cache/pip-26.3-py3-none-any.whl")


def wanted(platform: Platform) -> Wanted:
    return Wanted("{}", platform, ())


def unbuilt(platform: Platform) -> WheelSet:
    return WheelSet("", "path:1", "shop", "1.0", platform, "", (), PIP, (HostBuild(NATIVE, ()),))


class Fleet:
    """Hosts that wait for native 1.0, planned in one run after another."""

    def __init__(self, work: Path, platforms: dict[str, Platform], canary: str | None = None) -> None:
        self.platforms = platforms
        self.notes = runs.begin(work)
        hostvars = Hostvars({name: {"headcount__probe": {"compiler": None}} for name in platforms})
        self.variables = {"hostvars": hostvars}
        self.declared = {name: Declaration(name, [], {"headcount_canary": canary}, []) for name in platforms}
        self.hosts: dict[str, HostDecision] = {}

    def plan(self, check: bool = False) -> dict[str, list[str]]:
        """Host to what it has to build, as the plan says it."""
        planner = fleetplan.Scheduler(self.variables, None, self.notes, "rollout", check, print)
        self.hosts = {}
        for name, platform in self.platforms.items():
            facts = {
                "python": {"version": platform.python},
                "platform": {"machine": platform.machine, "libc": platform.libc},
            }
            self.hosts[name] = HostDecision(name, facts=facts, apps={"shop": AppDecision("shop", "deploy")})
            planner.gathering.put(wanted(platform), unbuilt(platform))
            planner._take(self.hosts[name], {"shop": wanted(platform)})
        found = planner._builds(list(self.hosts.values()), self.declared)
        return {host: [request.what for request in requests] for host, requests in found.items()}

    def end(self, host: str, state: str, cause: str = "") -> None:
        """What became of the builds of a host."""
        for request in builds.asked(self.notes, host):
            builds.note(self.notes, host, request.key, state, cause)


def test_one_host_of_each_platform_builds(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM, "b": BOOKWORM, "c": TRIXIE, "d": TRIXIE}, canary="d")
    assert fleet.plan() == {"a": ["native 1.0"], "d": ["native 1.0"]}
    assert [host.status for host in fleet.hosts.values()] == ["ok"] * 4


def test_what_a_person_should_know_of_a_source_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/pyproject.toml").write_text('[project]\nname = "shop"\nversion = "1"\n', encoding="utf-8")
    (tmp_path / "app/.env").write_text("TOKEN=x\n", encoding="utf-8")
    fleet = Fleet(tmp_path / "work", {"a": BOOKWORM, "b": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", False, print)
    source = {"kind": "path", "value": str(tmp_path / "app")}
    assert planner.gathering.identity(source) == planner.gathering.identity(source)
    planner.gathering.put(wanted(BOOKWORM), replace(unbuilt(BOOKWORM), notes=("native was lowered",)))
    for name in ("a", "b"):
        host = HostDecision(name, facts={}, apps={"shop": AppDecision("shop", "deploy")})
        planner._take(host, {"shop": wanted(BOOKWORM)})
    first, second = planner.gathering.notes
    assert "not shipped, because by its name it is a secret, data or an environment: .env" in first
    assert second == "native was lowered"


def test_a_check_says_where_and_asks_nobody(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM, "b": BOOKWORM})
    assert fleet.plan(check=True) == {}
    assert [host.apps["shop"].notes for host in fleet.hosts.values()] == [["native 1.0 would be built on a"]] * 2
    assert builds.attempts(fleet.notes) == {}


def test_a_build_that_failed_refuses_the_app_on_the_hosts_of_its_platform(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM, "b": BOOKWORM})
    fleet.plan()
    fleet.end("a", builds.FAILED, "no compiler")
    fleet.platforms["c"] = TRIXIE
    fleet.variables["hostvars"]["c"] = {}
    fleet.declared["c"] = fleet.declared["a"]
    assert fleet.plan() == {"c": ["native 1.0"]}
    causes = {name: host.causes for name, host in fleet.hosts.items()}
    assert causes == {"a": ["shop: wheels: no compiler"], "b": ["shop: wheels: no compiler"], "c": []}


def test_another_host_builds_when_the_first_is_lost_and_then_nobody(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM, "b": BOOKWORM})
    assert fleet.plan() == {"a": ["native 1.0"]}
    fleet.end("a", builds.LOST, "the connection to a was lost: timed out")
    assert fleet.plan() == {"b": ["native 1.0"]}
    assert fleet.plan() == {}  # b never answered
    assert fleet.hosts["b"].refused["shop"] == (
        "wheels: native 1.0 has no wheel for Python 3.11 on x86_64 (glibc 2.36), and no host built it: "
        "a: the connection to a was lost: timed out; b: no answer came"
    )


@pytest.mark.parametrize("state", [builds.FAILED, builds.LOST, builds.BUILT])
def test_what_could_not_be_built_is_not_gathered_again_in_the_run(tmp_path: Path, state: str) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM})
    fleet.plan()
    fleet.end("a", state)
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", False, print)
    planner._recall([wanted(BOOKWORM), wanted(TRIXIE)])
    assert list(planner.gathering._sets) == ([] if state == builds.BUILT else [wanted(BOOKWORM)])


@pytest.mark.parametrize("error", [NetworkUnreachable, TooSlow])
@pytest.mark.parametrize("check", [True, False])
def test_a_check_without_a_network_still_shows_the_plan(
    tmp_path: Path, check: bool, error: type[NetworkUnreachable | TooSlow]
) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", check, print)
    planner.gathering._sets[wanted(BOOKWORM)] = error("the network was not reachable")
    host = HostDecision("a", apps={"shop": AppDecision("shop", "deploy")})
    assert planner._take(host, {"shop": wanted(BOOKWORM)}) == {}
    if check:
        notes = ["its wheels were not looked at: the network was not reachable"]
        assert (host.status, host.apps["shop"].notes) == ("ok", notes)
    else:
        assert host.causes == ["shop: wheels: the network was not reachable"]


@pytest.mark.parametrize("check", [True, False])
def test_wheels_that_cannot_be_had_refuse_their_app_alone(tmp_path: Path, check: bool) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", check, print)
    bad = Wanted("{bad}", BOOKWORM, ())
    planner.gathering._sets[bad] = WheelMissing("there is no version of no-such-thing")
    planner.gathering.put(wanted(BOOKWORM), replace(unbuilt(BOOKWORM), id="a1", needs_host_build=()))
    host = HostDecision("a", apps={"shop": AppDecision("shop", "deploy"), "api": AppDecision("api", "deploy")})
    planner._take(host, {"shop": bad, "api": wanted(BOOKWORM)})
    assert (host.status, host.pending) == ("ok", ["api"])
    assert host.causes == ["shop: wheels: there is no version of no-such-thing"]


def test_wheels_that_make_a_release_which_the_guard_took_back(tmp_path: Path) -> None:
    """Another source may come to the same release."""
    fleet = Fleet(tmp_path, {"a": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", False, print)
    planner.gathering.put(wanted(BOOKWORM), replace(unbuilt(BOOKWORM), id="a1", needs_host_build=()))
    host = HostDecision("a", apps={"shop": AppDecision("shop", "deploy", taken_back={"a1": "it was worse"})})
    planner._take(host, {"shop": wanted(BOOKWORM)})
    assert (host.pending, host.causes[0].split("; ")[0]) == ([], "shop: it was worse")


def test_a_host_that_gets_nothing_is_not_touched_for_its_exporter(tmp_path: Path) -> None:
    notes = Fleet(tmp_path, {"a": BOOKWORM}).notes
    apps = {
        "new": AppDecision("shop", "deploy"),
        "live": AppDecision("shop", "nothing", live={"generation": 1}),
        "refused": AppDecision("shop", "refuse"),
        "as declared": AppDecision("shop", "deploy"),
    }
    hosts = [
        HostDecision(name, apps={"shop": app}, exporter="" if name == "as declared" else "is not there")
        for name, app in apps.items()
    ]
    assert fleetplan.Schedule(notes, [], hosts).exporters == ["new", "live"]


def test_hosts_that_change_are_listed_in_their_order(tmp_path: Path) -> None:
    notes = Fleet(tmp_path, {"a": BOOKWORM}).notes
    live = {"shop": AppDecision("shop", "deploy")}
    hosts = [HostDecision(name, apps=live, exporter="is not there" if name == "a" else "") for name in ("a", "b")]
    fleet = fleetplan.Schedule(notes, [], hosts, order=["b", "a"])
    assert fleet.to_result()["groups"] == [
        {"host": "b", "group": "headcount__pending"},
        {"host": "a", "group": "headcount__pending"},
        {"host": "a", "group": "headcount__exporters"},
    ]


RULES = {
    "headcount_canary": None,
    "headcount_rollout_batches": [1],
    "headcount_rollout_max_failed": 0,
    "headcount_rollout_wait_seconds": 0,
    "headcount_on_failure": "revert_all",
    "headcount_drain_tasks": None,
    "headcount_undrain_tasks": None,
    "headcount_base_dir": None,
}


@pytest.mark.parametrize(("canary", "unsettled", "first"), [(None, (), "a"), ("b", (), "b"), ("b", ("c",), "c")])
def test_the_host_on_which_a_migration_may_be_under_way_goes_first(
    tmp_path: Path, canary: str | None, unsettled: tuple[str, ...], first: str
) -> None:
    """Whatever canary is declared, and whoever was added before it: no other host begins it beside that."""
    names = ["a", "b", "c"]
    left = {"shop": {"preparing": {"another key": {"run": "flask db upgrade"}}}}
    probed = {name: {fleetplan.PROBE: {"apps": left if name in unsettled else {"shop": {}}}} for name in names}
    variables = {"hostvars": Hostvars(probed), "groups": {"all": names}}
    planner = fleetplan.Scheduler(variables, None, runs.begin(tmp_path), "rollout", False, print)
    todo = {"run": "flask db upgrade", "key": "k", "each_host": False, "seconds": 60.0}
    apps = {name: {"shop": AppDecision("shop", "deploy", prepare=[todo])} for name in names}
    hosts = [HostDecision(name, apps=apps[name], facts={}) for name in names]
    rules = {**RULES, "headcount_canary": canary, "headcount_rollout_batches": ["100%"]}
    declaration = [{"name": "shop", "load": {}, "prepare": [{**todo, "run": "flask collect", "each_host": True}]}]
    found = planner._schedule(hosts, {name: Declaration(name, declaration, rules, []) for name in names})
    assert (found.order[0], found.batches) == (first, [1, 2] if unsettled else [3])


@pytest.mark.parametrize(("mode", "gathers"), [("plan", True), ("rollout", True), ("retune", True), ("drift", False)])
def test_a_plan_looks_for_the_wheels_that_its_rollout_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, gathers: bool
) -> None:
    declared = Declaration("a", [], RULES, [])
    monkeypatch.setattr(fleetplan, "declarations", lambda *_: [declared])
    variables = {"ansible_play_hosts_all": ["a"], "hostvars": Hostvars({"a": {}})}
    planner = fleetplan.Scheduler(variables, None, runs.begin(tmp_path), mode, mode in ("plan", "drift"), print)
    host = HostDecision("a", apps={"shop": AppDecision("shop", "deploy")}, facts={})
    asked: list[list[HostDecision]] = []
    monkeypatch.setattr(planner, "_host", lambda *_: host)
    monkeypatch.setattr(planner, "_gather", lambda hosts, *_: asked.append(hosts))
    monkeypatch.setattr(planner, "_schedule", lambda hosts, _: fleetplan.Schedule(planner.notes, [], hosts))
    planner.plan()
    assert asked == ([[host]] if gathers else [])


@pytest.mark.parametrize(("mode", "check"), [("rollout", False), ("rollout", True), ("plan", True)])
def test_what_a_rollout_holds_back_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, check: bool
) -> None:
    rules = {
        "headcount_rollout_max_failed": 0,
        "headcount_rollout_wait_seconds": 0,
        "headcount_on_failure": "revert_all",
    }
    hosts = {
        "a": HostDecision("a", apps={"shop": AppDecision("shop", "deploy", ["first"])}),
        "b": HostDecision("b", apps={"shop": AppDecision("shop", "refuse", ["its port is taken"])}),
    }
    declared = [Declaration(name, [], rules, []) for name in hosts]
    monkeypatch.setattr(fleetplan, "declarations", lambda *_: declared)
    variables = {"ansible_play_hosts_all": ["a", "b"], "hostvars": Hostvars({"a": {}, "b": {}})}
    planner = fleetplan.Scheduler(variables, None, runs.begin(tmp_path), mode, check, print)
    monkeypatch.setattr(planner, "_host", lambda one, *_: hosts[one.host])
    monkeypatch.setattr(planner, "_gather", lambda *_: None)
    fleet = planner.plan()
    said = "1 host cannot be rolled out (b), headcount_rollout_max_failed allows 0"
    assert (fleet.stopped, fleet.order) == (f"no host is touched: {said}", [])
    assert "shop: nothing is live: held back (first; shop is held back: 1 host cannot" in fleet_text(fleet.hosts)
    rows = build(fleet.hosts, {}, check, fleet.stopped).rows
    assert [row["status"] for row in rows] == ["not started", "failed"]


def test_what_a_person_should_know_of_a_deployment_is_a_warning_with_its_host() -> None:
    apps = {"shop": AppDecision("shop", "deploy", warnings=["4 files are lost"]), "wiki": AppDecision("wiki", "none")}
    assert fleetplan._warnings([HostDecision("a", apps=apps)]) == ["a: shop: 4 files are lost"]


def with_class(worker_class: str, packages: list[str]) -> HostDecision:
    settings = {"worker_class": {"value": worker_class}, "gunicorn_packages": {"value": packages}}
    return HostDecision("a", apps={"shop": AppDecision("shop", "deploy", plan={"settings": settings})})


@pytest.mark.parametrize("automatic", [True, False])
def test_a_class_whose_packages_contradict_the_pins_gives_way_or_is_refused_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, automatic: bool
) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", False, print)
    cause = "gevent needs greenlet>=3.2, but greenlet==3.0.1 is required"
    whole = replace(unbuilt(BOOKWORM), id="a1", needs_host_build=(), form="released as a tree: it has no setup.py")
    told: list[dict[str, Any]] = []

    def gathered(items: Any) -> None:
        for _, item in items:
            conflict = "gunicorn[gevent]" in item.packages
            planner.gathering._sets[item] = ResolutionConflict(f"shop: {cause}", cause, "") if conflict else whole

    def again(declared: Any, raw: Any, circumstances: Any, known: Any) -> HostDecision:
        told.append(dict(known["shop"].conflicts))
        return with_class("gthread", ["gunicorn"]) if automatic else with_class("gevent", ["gunicorn[gevent]"])

    def asked(host: HostDecision, app: AppDecision, declared: Any) -> Wanted:
        return Wanted("{}", BOOKWORM, tuple((app.plan or {})["settings"]["gunicorn_packages"]["value"]))

    monkeypatch.setattr(planner.gathering, "gather", gathered)
    monkeypatch.setattr(planner, "_host", again)
    monkeypatch.setattr(planner, "_wanted", asked)
    host = with_class("gevent", ["gunicorn[gevent]"])
    planner._gather([host], fleet.declared, fleetplan.Circumstances({}))
    assert told[0] == {"gevent": f"its packages contradict the project's: {cause}"}
    if automatic:
        assert (host.causes, host.apps["shop"].release) == ([], "a1")
        assert planner._forms == {"shop": "released as a tree: it has no setup.py"}
    else:
        fix = "with worker_class: auto another class is taken where these packages are the cause"
        assert host.causes == [f"shop: wheels: shop: {cause}; {fix}"]


def test_what_the_gathered_libraries_rule_out_is_warned_of_where_the_class_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, {"a": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", False, print)
    whole = replace(unbuilt(BOOKWORM), id="a1", needs_host_build=())
    known = with_class("gevent", ["gunicorn[gevent]"])
    warning = "shop: worker_class gevent is declared, but asgiref 3.13.0 blocks the gevent hub"
    (known.apps["shop"].plan or {})["warnings"] = [warning]
    monkeypatch.setattr(planner.gathering, "gather", lambda items: [planner.gathering.put(i, whole) for _, i in items])
    monkeypatch.setattr(planner, "_host", lambda *_: known)
    monkeypatch.setattr(planner, "_wanted", lambda *_: wanted(BOOKWORM))
    host = with_class("gevent", ["gunicorn[gevent]"])
    planner._gather([host], fleet.declared, fleetplan.Circumstances({}))
    assert (host.apps["shop"].plan or {})["warnings"] == [warning]
    assert host.apps["shop"].release == "a1"


class TestLoadHosts:
    """Where the load of the coming trials is made, other than on the apps' own hosts."""

    def test_by_name_with_the_most_files_of_what_will_be_tried(self) -> None:
        paths = [{"path": "/"}]

        def one(name: str, source: str | None, rate: float) -> dict[str, Any]:
            load: dict[str, Any] = {"paths": paths, "rate": rate, "seconds": 30.0}
            return {"name": name, "load": load if source is None else {**load, "from": source}}

        declared = [one("a", "lg1", 10), one("b", "lg1", 50), one("c", None, 50), one("d", "controller", 1)]
        declared += [one("e", "lg2", 50), one("f", "lg3", 50)]
        declared[-1]["load"]["paths"] = []
        actions = dict.fromkeys("abcdf", "deploy") | {"e": "none"}
        host = HostDecision("web1", apps={name: AppDecision(name, action) for name, action in actions.items()})
        assert load_hosts([host], {"web1": Declaration("web1", declared, {}, [])}) == [
            {"name": "controller", "files": 43},
            {"name": "lg1", "files": 533},
            {"name": "lg3", "files": 0},
        ]


@pytest.mark.parametrize(
    ("entry_point", "refused"),
    [("wsgi:app", ""), ("wsgii:app", "entry_point is 'wsgii:app', and there is no module wsgii in the project")],
)
def test_an_entry_point_that_leads_nowhere_refuses_its_app_before_a_host_builds(
    tmp_path: Path, entry_point: str, refused: str
) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/wsgi.py").write_text("app = 1\n", encoding="utf-8")
    archive = pack_tree(tmp_path / "project", ["wsgi.py"], tmp_path)
    tree = Wheel("tree", "0", archive.name, "c" * 64, 1, str(archive))
    fleet = Fleet(tmp_path / "work", {"a": BOOKWORM})
    planner = fleetplan.Scheduler(fleet.variables, None, fleet.notes, "rollout", False, print)
    planner.gathering.put(wanted(BOOKWORM), WheelSet("id", "path:1", "", "", BOOKWORM, "", (), PIP, tree=tree))
    host = HostDecision("a", apps={"shop": AppDecision("shop", "deploy")})
    app = {"name": "shop", "entry_point": entry_point, "environment": {}}
    found = planner._take(host, {"shop": wanted(BOOKWORM)}, [app])
    assert (list(found), list(host.refused)) == (([], ["shop"]) if refused else (["shop"], []))
    assert host.refused.get("shop", "").startswith(refused)
