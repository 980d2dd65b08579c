# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""An app's code and packages: built once, verified, and checked for what blocks an event loop."""
