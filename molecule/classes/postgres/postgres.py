# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Loads psycopg2 and waits as long as a query would."""

from __future__ import annotations

import time

import psycopg2
from flask import Flask


def create_app() -> Flask:
    """The app."""
    app = Flask(__name__)

    @app.get("/rows")
    def rows() -> str:
        time.sleep(0.02)  # stands for a query
        return psycopg2.__version__

    return app
