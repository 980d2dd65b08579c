# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What runs on a host before Headcount does; see docs/architecture.md."""
