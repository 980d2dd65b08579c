# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why a host could not be reached."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display.unreached import connection_words

WAITS = " (how long Ansible waits: ANSIBLE_TIMEOUT, or timeout in ansible.cfg; 10 s unless it is set)"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "no answer"),
        ("Failed to connect to the host via ssh: Permission denied (publickey).", "Permission denied (publickey)"),
        (
            "Task failed: Failed to connect to the host via ssh: ssh: connect to host w1 port 22: Connection timed out",
            f"ssh: connect to host w1 port 22: Connection timed out{WAITS}",
        ),
        (
            'Data could not be sent to remote host "web1". Make sure this host can be reached over ssh: '
            "Connection timed out during banner exchange",
            f"Connection timed out during banner exchange{WAITS}",
        ),
        (
            "Timeout (12s) waiting for privilege escalation prompt: ",
            f"Timeout (12s) waiting for privilege escalation prompt:{WAITS}",
        ),
        (
            "Failed to connect to the host via ssh: ssh: connect to host web1 port 22: Connection refused",
            "ssh: connect to host web1 port 22: Connection refused",
        ),
        ("Timeout, server web1 not responding.", "Timeout, server web1 not responding"),
    ],
)
def test_the_words(said: str | None, words: str) -> None:
    assert connection_words(said) == words
