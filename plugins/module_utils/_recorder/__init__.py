# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What counts the requests of an instance, from within, and who reads the counts."""
