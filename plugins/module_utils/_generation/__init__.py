# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What lies and runs on a host for an app: units, generations, instances, ledger, lock."""
