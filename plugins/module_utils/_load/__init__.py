# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Load with h2load, and what is measured while it runs."""
