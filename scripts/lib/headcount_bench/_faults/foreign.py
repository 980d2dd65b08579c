# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What somebody else has on the host."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .. import _foreign
from .._scene import Scene
from .controllers import playbook
from .row import Row


def refused_play(scene: Scene, declared: Mapping[str, Any]) -> str:
    """What site.yml says of an app that cannot come to the host, with --check and without: the same."""
    said = []
    for options in (["--check"], []):
        process = playbook(scene, declared, *options)
        said.append(process.communicate(timeout=120)[0])
        scene.seen.must(process.returncode != 0, f"the rollout {' '.join(options)} was not refused: {said[-1][-300:]}")
    causes = [re.findall(r"(?m)^\S+: " + declared["name"] + ": .*$", text) for text in said]
    scene.seen.must(causes[0] == causes[1], f"--check said {causes[0]}, the rollout {causes[1]}")
    return said[-1]


FOREIGN = [
    Row(
        f"foreign/{name}",
        words,
        "refused by the plan, --check and stage, which name it; theirs runs on in the same process, byte by byte",
        _foreign.work(shape, refused_play),
        name == "socket-file",
    )
    for name, (words, shape) in _foreign.SHAPES.items()
]
