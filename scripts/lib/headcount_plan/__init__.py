# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""scripts/plan: a plan from numbers on the command line."""
