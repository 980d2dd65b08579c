# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""The host itself: files, processes, systemd, users, one HTTP request, and where everything of an app lives."""
