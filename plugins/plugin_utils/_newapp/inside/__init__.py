# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What runs in the sandbox, with the project's own Python. The standard library alone, and nothing of Headcount's.

It is copied there as the package headcount_inside; `program` is where it begins.
"""
