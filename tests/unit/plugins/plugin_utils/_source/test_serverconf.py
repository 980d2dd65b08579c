# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A configuration of Gunicorn in a project is told, name by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._source.serverconf import unread

CONF = """import os
timeout = 99
accesslog: str = "-"
_own = 1
bind = "0.0.0.0:80"
pidfile = "/run/shop.pid"

def post_fork(server, worker):
    os.environ["X"] = "yes"
"""


def test_what_it_sets_is_named_with_what_takes_its_place(tmp_path: Path) -> None:
    assert unread(tmp_path) == []
    (tmp_path / "gunicorn.conf.py").write_text(CONF, encoding="utf-8")
    assert unread(tmp_path) == [
        "gunicorn.conf.py is not read: the plan writes Gunicorn's settings; what it sets is for the inventory to say: "
        "settings.timeout, gunicorn.accesslog, listen; its hooks (post_fork) are taken from a file that gunicorn.hooks "
        "names; without effect here: pidfile"
    ]


@pytest.mark.parametrize("text", ["", "def (", "import os\n"])
def test_one_that_sets_nothing_is_named_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "gunicorn_config.py").write_text(text, encoding="utf-8")
    assert unread(tmp_path) == ["gunicorn_config.py is not read: the plan writes Gunicorn's settings"]
