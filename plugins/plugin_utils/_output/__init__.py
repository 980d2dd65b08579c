# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What people read of a run: the plan, the report, the history."""
