# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why a host could not be reached."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._display.unreached import (
    connection_words,
    failure_words,
    known_words,
)

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
            f"Timeout waiting for privilege escalation prompt:{WAITS.replace('10 s unless it is set', '10 s here')}",
        ),
        (
            "Timeout (32s) waiting for privilege escalation prompt: ",
            f"Timeout waiting for privilege escalation prompt:{WAITS.replace('10 s unless it is set', '30 s here')}",
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


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            {"module_stderr": "sudo: sorry, you must have a tty to run sudo"},
            "sudo wants a terminal on this host (requiretty)",
        ),
        ({"msg": "Task failed: Missing sudo password"}, "becoming root asks for a password on this host"),
        ({"msg": "Task failed: Incorrect sudo password"}, "becoming root does not take the password that it was given"),
        ({"module_stderr": "deploy is not in the sudoers file."}, "Ansible's account may not become root on this host"),
        (
            {"msg": "Headcount needs Python 3.9 or later, and this is Python 3.6.8"},
            "Ansible runs on Python 3.6.8",
        ),
        ({"msg": "something else", "module_stdout": "{}"}, ""),
    ],
)
def test_what_has_a_known_fix(result: dict[str, str], words: str) -> None:
    found = known_words(result)
    assert found.startswith(words)
    assert ("; fix: " in found) is bool(words)
    assert bool(found) is bool(words)


def test_what_a_module_said() -> None:
    assert failure_words({"msg": "one.\ntwo"}) == "one"
    assert failure_words({"msg": "one", "module_stderr": "two\nthree."}) == "two"
    assert failure_words({"msg": "MODULE FAILURE", "module_stderr": "two\nthree."}) == "three"
    assert failure_words({"msg": "MODULE FAILURE", "module_stdout": "four\nfive"}) == "five"
    assert failure_words({}) == "no answer"
