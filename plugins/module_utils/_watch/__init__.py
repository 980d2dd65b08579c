# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""How the apps of a host run now, for people and for Prometheus."""
