# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What keeps Ansible from finding the collection in a checkout, told before Ansible's own words lead astray.

Ansible passes over an ansible.cfg in a folder that everybody may write, and says then that a role is not found.
"""

from __future__ import annotations

import stat
from pathlib import Path

LINK = ".collections/ansible_collections/headcount/gunicorn"


def problem(root: Path) -> str:
    """Why playbooks of the checkout at `root` would not run, and the fix, in a sentence; "" where they would."""
    if root.stat().st_mode & stat.S_IWOTH:
        return (
            f"{root} may be written by everybody, so that Ansible passes over its ansible.cfg and does not find the "
            f"collection; fix: chmod o-w {root}"
        )
    link = root / LINK
    if not link.exists() or link.resolve() != root.resolve():
        leads = f"leads to {link.readlink()} instead of" if link.is_symlink() else "is no link to"
        return (
            f"{link} {leads} the checkout, so that Ansible does not find the collection; fix: rm -rf {link}; "
            f"mkdir -p {link.parent}; ln -s ../../.. {link}"
        )
    return ""
