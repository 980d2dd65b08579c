# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the commands in scripts/ do: Python 3.11 or later, standard library only, as it runs before any .venv is."""
