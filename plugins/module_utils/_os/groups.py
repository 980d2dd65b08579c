# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Groups of a host that are as strong as root. Light: what declares a sandbox needs it."""

from __future__ import annotations

ROOT_LIKE = ("root", "sudo", "wheel", "admin", "docker", "lxd", "incus-admin", "disk", "shadow")
"""Groups whose members can become root, or read what only root can."""
