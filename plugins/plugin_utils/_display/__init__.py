# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Words for people: texts, tables, and showing them."""
