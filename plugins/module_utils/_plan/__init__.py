# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The planner: host facts and a declared app become settings, each with its reason."""
