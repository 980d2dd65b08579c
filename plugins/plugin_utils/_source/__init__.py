# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What a project is, by the files that it has."""
