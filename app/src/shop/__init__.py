# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""A small shop that is only there to be loaded: a route for each kind of work, and faults to switch on."""

__version__ = "1.0.0"
