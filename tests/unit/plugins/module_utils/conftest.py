# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Each test begins without a secret that another one made known."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._os import secrecy


@pytest.fixture(autouse=True)
def no_secrets_known() -> Iterator[None]:
    secrecy.forget()
    yield
    secrecy.forget()
