# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The judge: exact statistics and the rules that make a verdict of samples."""
