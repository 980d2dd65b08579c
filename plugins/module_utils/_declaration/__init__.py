# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What an inventory may declare: the table of variables, and how its values become whole."""
