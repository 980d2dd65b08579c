# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What the commands in scripts/ do. Standard library only, Python 3.11 or later: it must run before any .venv exists."""
