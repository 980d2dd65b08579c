# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Wheels for a platform: found, locked, built, packed."""
