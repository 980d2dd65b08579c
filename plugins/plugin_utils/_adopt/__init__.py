# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The entry of an app that runs already; see docs/architecture.md."""
