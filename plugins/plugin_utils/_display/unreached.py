# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Why a host could not be reached, or not be read, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ...module_utils._os import OLDEST_PYTHON
from .text import first_line, last_line

_WAITED: Final = re.compile(
    r"(?i)connect to (host|address) .*timed out|timed out during banner exchange|timeout \(\d+s\) waiting"
)
"""What ends after the time that Ansible gives a connection, or sudo's question for a password."""

_ASKED: Final = re.compile(r"(?i)(?<=timeout) \((\d+)s\)(?= waiting)")
_LONGER: Final = 2
"""How many seconds longer than it is set to Ansible waits for sudo's question, and it tells the sum."""


def connection_words(text: object) -> str:
    """Why a host could not be reached, without the words that Ansible puts around what ssh said, and with the setting
    that says how long is waited where that has passed."""
    said = " ".join(str(text or "no answer").split())
    for prefix in ("Task failed: ", "Failed to connect to the host via ssh: "):
        said = said[len(prefix) :] if said.startswith(prefix) else said
    before, told, after = said.partition("can be reached over ssh:")
    words = ((after.strip() or "it does not answer") if told else before).rstrip(".")
    if not _WAITED.search(words):
        return words
    asked = _ASKED.search(words)
    number = f"{int(asked[1]) - _LONGER} s here" if asked else "10 s unless it is set"
    words = _ASKED.sub("", words)
    return f"{words} (how long Ansible waits: ANSIBLE_TIMEOUT, or timeout in ansible.cfg; {number})"


_OLD_PYTHON: Final = (
    re.compile(r"Headcount needs Python \S+ or later, and this is Python (?P<version>[\d.]+)"),
    re.compile(r"ansible-core requires a minimum of Python version \S+ Current version: (?P<version>[\d.]+)"),
    # What a Python before 3.7 says of the first line of every module.
    re.compile(r"SyntaxError: future feature annotations is not defined"),
    # And Python 2 of an f-string, or of an annotation.
    re.compile(r"SyntaxError: (?:invalid syntax|Non-ASCII character)"),
)
_BECOMING: Final = (
    (
        re.compile(r"must have a tty to run sudo|no tty present"),
        "sudo wants a terminal on this host (requiretty); fix: ansible_pipelining: false for it "
        "(ANSIBLE_PIPELINING=false for all), or Defaults:USER !requiretty in its sudoers",
    ),
    (
        re.compile(r"Missing \w+ password|sudo: a password is required"),
        "becoming root asks for a password on this host; fix: --ask-become-pass (-K), or "
        "ansible_become_password in a vault",
    ),
    (
        re.compile(r"Incorrect \w+ password|sudo: \d+ incorrect password attempt"),
        "becoming root does not take the password that it was given on this host; fix: the account's own in "
        "--ask-become-pass (-K) or ansible_become_password",
    ),
    (
        re.compile(r"is not in the sudoers file|is not allowed to (execute|run sudo)"),
        "Ansible's account may not become root on this host; fix: an entry for it in sudoers, or another ansible_user",
    ),
)
"""What sudo says, and what to do about it."""


def known_words(result: Mapping[str, object]) -> str:
    """Why a module could not run on a host, in a sentence with the fix; empty where nobody knows one. `result`: as
    Ansible has it."""
    said = " ".join(str(result.get(key) or "") for key in ("msg", "module_stderr", "module_stdout"))
    return _old_python(said) or next((words for pattern, words in _BECOMING if pattern.search(said)), "")


def _old_python(said: str) -> str:
    """In words, that the Python that Ansible runs on is too old, where the host `said` so; else empty."""
    found = next(filter(None, (pattern.search(said) for pattern in _OLD_PYTHON)), None)
    if found is None:
        return ""
    version = found.groupdict().get("version") or "3.6 or older"
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return (
        f"Ansible runs on Python {version} on this host, and {oldest} or later is needed; fix: install one, and let "
        "ansible_python_interpreter name it"
    )


def failure_words(result: Mapping[str, object]) -> str:
    """What a module that failed on a host said, in a line."""
    words = first_line(result.get("module_stderr")) or first_line(result.get("msg")) or "no answer"
    if str(result.get("msg", "")).startswith("MODULE FAILURE"):
        return last_line(result.get("module_stderr") or result.get("module_stdout")) or words
    return words
