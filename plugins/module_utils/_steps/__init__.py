# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The steps of a rollout on one host."""
