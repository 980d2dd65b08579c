# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Tells where it was built."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flask import Flask


def create_app() -> Flask:
    """The app."""
    app = Flask(__name__)

    @app.get("/built")
    def built() -> Any:
        return json.loads((Path(__file__).parent / "built.json").read_text(encoding="utf-8"))

    return app
