# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A service by whose end other units would be stopped, started or changed is not taken over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import formerunits
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout

UNIT = "dep.service"
ALL = {
    "After": "sysinit.target redis.service",
    "Before": "shutdown.target multi-user.target",
    "BusName": "org.example.service",
    "Conflicts": "shutdown.target apache2.service",
    "Description": "old.service",
    "Id": UNIT,
    "Names": f"{UNIT} web.service",
    "OnFailure": "alarm.service",
    "Requires": "sysinit.target system.slice -.mount dep.socket",
    "Slice": "system.slice",
    "TriggeredBy": "dep.socket",
    "WantedBy": "multi-user.target",
    "WantsMountsFor": "/srv",
}
"""A service with a socket unit, on which nobody else depends."""


class Units:
    """A systemd that knows these properties of units."""

    def __init__(self, units: Mapping[str, Mapping[str, str]]) -> None:
        self._units = units

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        told = self._units.get(unit, {})
        return {name: told.get(name, "") for name in names} if names else dict(told)

    def property_lines(self, unit: str, name: str) -> list[str]:
        return self._units[unit].get(name, "").splitlines()


def _reach(tmp_path: Path, told: Mapping[str, str], **others: Mapping[str, str]) -> formerunits.Reach:
    units = {UNIT: {**ALL, **told}, "dep.socket": {"Id": "dep.socket", "Triggers": UNIT}}
    units |= {name.replace("_", "."): properties for name, properties in others.items()}
    return formerunits.reach(Layout("shop", str(tmp_path)), UNIT, ["dep.socket"], Units(units))


def test_one_that_has_its_socket_and_a_target_alone_is_taken(tmp_path: Path) -> None:
    assert _reach(tmp_path, {}) == formerunits.Reach()


@pytest.mark.parametrize(
    ("key", "names"),
    [
        *((key, "front.timer multi-user.target") for key in ("WantedBy", "TriggeredBy", "UpheldBy", "OnFailureOf")),
        *((key, "front.timer") for key in ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")),
        ("RequiredBy", "front.timer multi-user.target"),
        ("OnSuccessOf", "front.timer"),
    ],
)
def test_one_that_other_units_lead_to_is_refused_by_name(tmp_path: Path, key: str, names: str) -> None:
    problem = _reach(tmp_path, {key: names}).problem
    assert problem.startswith("front.timer")
    assert f"on this host would be stopped with {UNIT} or start it again (" in problem
    assert f"{key}=" in problem


def test_a_target_that_would_be_stopped_with_it_is_refused(tmp_path: Path) -> None:
    assert _reach(tmp_path, {"RequiredBy": "shop.target"}).problem.startswith(
        "shop.target on this host would be stopped"
    )


def test_what_is_said_of_its_socket_counts_as_well(tmp_path: Path) -> None:
    problem = _reach(tmp_path, {}, dep_socket={"PropagatesStopTo": "worker.service"}).problem
    assert problem.startswith("worker.service on this host would be stopped with dep.socket")


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"OnSuccess": "next.service"}, f"{UNIT} starts next.service when it ends (OnSuccess=)"),
        ({"JoinsNamespaceOf": "x.service"}, f"{UNIT} shares its private /tmp or network with x.service"),
        (
            {"StopsWith": "x.service y.timer"},
            f"systemd tells StopsWith=x.service y.timer of {UNIT}, and Headcount does",
        ),
        ({"RefuseManualStop": "yes"}, f"{UNIT} is not to be stopped or started by anybody (RefuseManualStop=yes)"),
        ({"RefuseManualStart": "yes"}, f"{UNIT} is not to be stopped or started by anybody (RefuseManualStart=yes)"),
        ({"Transient": "yes"}, f"{UNIT} was made by systemd-run, and is gone once it is stopped"),
        (
            {"DropInPaths": "/etc/systemd/system/dep.service.d/a.conf /etc/systemd/system/dep.service.d/zzzz.conf"},
            f"/etc/systemd/system/dep.service.d/zzzz.conf would have the last word on how {UNIT} ends: rename it",
        ),
    ],
)
def test_what_would_be_done_by_its_end_or_hinder_it_is_refused(
    tmp_path: Path, told: dict[str, str], problem: str
) -> None:
    assert _reach(tmp_path, told).problem.startswith(problem)


@pytest.mark.parametrize(
    ("other", "alone"),
    [
        ({"ActiveState": "active", "FragmentPath": "/etc/systemd/system/redis.service", "WantedBy": UNIT}, True),
        ({"ActiveState": "active", "FragmentPath": "/lib/systemd/system/redis.service", "RequiredBy": UNIT}, True),
        ({"ActiveState": "inactive", "FragmentPath": "/etc/systemd/system/redis.service"}, False),
        ({"ActiveState": "active", "FragmentPath": "/x", "RequiredBy": UNIT, "WantedBy": "multi-user.target"}, False),
        ({"ActiveState": "active", "FragmentPath": "/x", "RequiredBy": UNIT, "TriggeredBy": "redis.socket"}, False),
    ],
)
def test_what_runs_for_it_alone_is_told_with_what_keeps_it(tmp_path: Path, other: dict[str, str], alone: bool) -> None:
    problem = _reach(tmp_path, {"Wants": "redis.service network-online.target"}, redis_service=other).problem
    words = (
        f"redis.service runs for {UNIT} alone, and would be stopped with it, or not be started by the next boot: "
        "`systemctl add-wants multi-user.target redis.service` first"
    )
    assert problem == (words if alone else "")


def test_one_whose_unit_cannot_be_disabled_alone_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "etc/systemd/system/dep.service"
    place.parent.mkdir(parents=True)

    def problem() -> str:
        return _reach(tmp_path, {"FragmentPath": "/etc/systemd/system/dep.service"}).problem

    place.write_text("[Install]\nWantedBy=multi-user.target\nAlso=dep.socket\n")
    assert problem() == ""
    place.write_text("[Install]\nAlso=dep.socket dep-worker.service\n")
    assert "names dep-worker.service in Also=" in problem()
    place.unlink()
    place.symlink_to("/srv/dep.service")
    assert "is a link, which `systemctl disable` would remove" in problem()
    place.unlink()
    place.symlink_to(f"{Layout('shop', str(tmp_path)).home}/live/dep.service")
    assert "is Headcount's own" in problem()


def test_what_it_runs_at_its_end_and_what_ended_it_is_told(tmp_path: Path) -> None:
    stop = "{ path=/bin/kill ; argv[]=/bin/kill -s TERM $MAINPID ; ignore_errors=no ; start_time=[n/a] }"
    after = "{ path=/usr/local/bin/bye ; argv[]=/usr/local/bin/bye --all ; ignore_errors=no ; start_time=[n/a] }"
    told = {"ExecStop": f"{stop}\n{after}", "PartOf": "web.target", "BindsTo": "dep.socket"}
    assert _reach(tmp_path, told).notes == (
        f"what stops or restarts web.target reaches {UNIT}, and not the app",
        f"{UNIT} runs `/usr/local/bin/bye --all` when it is stopped",
    )
