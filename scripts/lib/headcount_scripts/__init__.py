# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the commands in scripts/ do: standard library only, Python 3.11 or later, for it runs before there is a .venv."""
