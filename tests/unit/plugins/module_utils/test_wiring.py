# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a step ends with becomes a module's result, in which there is no secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils import _wiring
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.failures import StepFailed
from ansible_collections.headcount.gunicorn.plugins.module_utils._generation.lock import Busy
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy

SECRET = "s3cr3t-1-XYZZY"


class Ended(Exception):
    """The module has ended with `result`."""

    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__()
        self.result = result


class Module:
    """An AnsibleModule that only remembers."""

    def fail_json(self, **result: Any) -> None:
        raise Ended({"failed": True, **result})

    def exit_json(self, **result: Any) -> None:
        raise Ended(result)


def ends_with(outcome: Exception | dict[str, Any]) -> Callable[[], dict[str, Any]]:
    def step() -> dict[str, Any]:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return step


@pytest.mark.parametrize(
    "outcome",
    [
        StepFailed("start", f"RuntimeError: {SECRET}", {"notes": [f"GET / answered 500: {SECRET}"]}),
        Busy(f"held by {SECRET}"),
        ValueError(SECRET),
        {"evidence": {"worker": f"exited: {SECRET}", "count": 3}},
    ],
)
def test_no_end_of_a_step_tells_a_secret(outcome: Exception | dict[str, Any]) -> None:
    secrecy.learn([SECRET])
    with pytest.raises(Ended) as ended:
        _wiring.finish(Module(), "shop", ends_with(outcome))
    assert SECRET not in str(ended.value.result)
    assert "***" in str(ended.value.result)
