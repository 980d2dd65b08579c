# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the controller thinks: declarations, runs, the plan of each host and of the fleet."""
