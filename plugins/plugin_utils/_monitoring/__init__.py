# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What Prometheus, Alertmanager and Grafana need to show and to judge what the exporters tell. Pure functions."""
