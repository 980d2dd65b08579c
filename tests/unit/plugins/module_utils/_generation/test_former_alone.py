# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A service that others depend on, or that cannot be disabled without more going, is not taken over."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation import former
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.paths import Layout
from ansible_collections.headcount.gunicorn.plugins.module_utils._os.systemd import UnitState


class Units:
    """A systemd that knows one service, which runs, with `properties`."""

    def __init__(self, **properties: str) -> None:
        self._properties = properties

    def state(self, unit: str) -> UnitState:
        return UnitState("loaded", "active", "running", "success", 1, 0, 0, "", "", "")

    def states(self, *units: str) -> dict[str, UnitState]:
        return {unit: self.state(unit) for unit in units}

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        return {name: self._properties.get(name, "") for name in names}


@pytest.mark.parametrize("key", ["RequiredBy", "BoundBy", "ConsistsOf", "WantedBy", "TriggeredBy"])
def test_one_that_other_units_lead_to_is_refused_by_name(tmp_path: Path, key: str) -> None:
    units = Units(**{key: "front.timer multi-user.target"})
    found = former.read(Layout("shop", str(tmp_path)), "dep.service", "0.0.0.0:8000", units)
    assert found.problem.startswith("front.timer on this host requires, wants or starts dep.service")


def test_one_whose_unit_cannot_be_disabled_alone_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "etc/systemd/system/dep.service"
    place.parent.mkdir(parents=True)
    units, layout = Units(FragmentPath="/etc/systemd/system/dep.service"), Layout("shop", str(tmp_path))

    def problem() -> str:
        return former._entangled(layout, "dep.service", ("dep.socket",), units)

    place.write_text("[Install]\nWantedBy=multi-user.target\nAlso=dep.socket\n")
    assert problem() == ""
    place.write_text("[Install]\nAlso=dep.socket dep-worker.service\n")
    assert "names dep-worker.service in Also=" in problem()
    place.unlink()
    place.symlink_to("/srv/dep.service")
    assert "is a link, which `systemctl disable` would remove" in problem()
    place.unlink()
    place.symlink_to(f"{layout.home}/live/dep.service")
    assert "is Headcount's own" in problem()
