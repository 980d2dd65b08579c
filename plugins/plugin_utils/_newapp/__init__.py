# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The first inventory entry of a project: what it says of itself, what importing it shows, and what is proposed."""
