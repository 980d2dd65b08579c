# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What may be a secret."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.likely import likely
from ansible_collections.headcount.gunicorn.plugins.module_utils._former.running import _divided

NAMES = [
    "SMTP_PASS", "DBPASS", "APIKEY", "PGPASSWORD", "MYSQL_PWD", "ENCRYPTION_KEYS", "DB_PASSWD", "DSN",
    "COOKIE_SECRETS", "SLACK_HOOK", "ACCESS_TOKENS", "SECRETS_JSON", "secretKey", "dbPassword",
    "AWS_SECRET_ACCESS_KEY", "DJANGO_SECRETKEY", "JWT", "PRIVATE_PEM", "CREDS", "HASH_SALT", "BASIC_AUTH",
]  # fmt: skip
VALUES = [
    "redis://:pw@h/0", "amqp://u:p%40@h", "https://u:p/w@h", "host=db user=u password=hunter2", "Uid=sa;Pwd = hunter2",
    "https://abcdef0123456789@o1.ingest.sentry.io/1", "sk_live_123", "https://hooks.slack.com/services/T0/B0/xxx",
    "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc==", "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    "eyJhbGciOiJIUzI1NiJ9.eyJ.sig", "https://a/b?token=x", "user:hunter2@h",
]  # fmt: skip


def test_secrets_are_known_by_any_part_of_a_name() -> None:
    assert [name for name in NAMES if not likely(name, "x")] == []


@pytest.mark.parametrize("value", VALUES)
def test_secrets_are_known_by_their_values(value: str) -> None:
    assert _divided({"A": value}, {}) == ({}, {"A": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("MODE", "live"), ("PORT", "8000"), ("API_URL", "https://api.example.com/v1?page=2"), ("TZ", "Europe/Berlin"),
     ("MAIL_FROM", "shop@example.com"), ("DATA", "{data}/x"), ("AT", "12:30:00"), ("AUTHOR", "me")],
)  # fmt: skip
def test_what_is_none(name: str, value: str) -> None:
    assert not likely(name, value)
