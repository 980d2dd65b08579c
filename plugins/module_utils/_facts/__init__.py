# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the kernel says of a host: its cores, its memory, its limits, and what a unit uses."""
