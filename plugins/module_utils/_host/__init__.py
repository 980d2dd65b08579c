# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a host does by itself: at boot, and when its hardware has changed."""
