# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which server of an nginx leads to an address."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.nginx import Front, fronts

MAIN = "user www-data;\nhttp { include /etc/nginx/sites-enabled/*; }\n"


@pytest.mark.parametrize(
    ("text", "listen", "found"),
    [
        (
            "upstream shop { server unix:/run/shop.sock fail_timeout=0; }\n"
            "server { listen 443 ssl; server_name shop.example.com www.shop.example.com;\n"
            "  location /static/ { alias /srv/static/; }\n"
            "  location / { try_files $uri @app; }\n  location @app { proxy_pass http://shop; } }",
            "unix:/run/shop.sock",
            [Front("shop.example.com", True, True, ("@app",))],
        ),
        (
            "server { listen 80 default_server; server_name _; location / { proxy_pass http://127.0.0.1:8000/; } }",
            "127.0.0.1:8000",
            [Front("", False, True, ("/",))],
        ),
        (
            "server { listen [::]:443; server_name ~^x$ a.example.com; proxy_pass http://unix:/run/a.sock:/api; }",
            "unix:/run/a.sock",
            [Front("a.example.com", True, True, ())],
        ),
        (
            "server { location ^~ /up { proxy_request_buffering off; proxy_pass http://localhost:8000; } } # a {",
            "0.0.0.0:8000",
            [Front("", False, False, ("/up",))],
        ),
        ("server { location / { proxy_pass http://10.0.0.9:8000; } }", "127.0.0.1:8000", []),
        ("server { location / { proxy_pass http://127.0.0.1:8001; } }", "127.0.0.1:8000", []),
        ("server { location / { proxy_pass http://unix:/run/b.sock; } }", "unix:/run/a.sock", []),
        ("server { location / { proxy_pass http://127.0.0.1:8000", "127.0.0.1:8000", []),
        ("", "127.0.0.1:8000", []),
    ],
)
def test_who_leads_there(text: str, listen: str, found: list[Front]) -> None:
    assert fronts([MAIN, text], listen) == found
