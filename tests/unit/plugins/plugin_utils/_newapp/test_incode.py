# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""What is secret in code is found, and what only looks like it is not."""

from __future__ import annotations

import pytest
from ansible_collections.headcount.gunicorn.plugins.plugin_utils._newapp.incode import (
    asked,
    instance_files,
    prefixes,
    services,
    sessions,
    written,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SECRET_KEY = 'dev'\n", "SECRET_KEY"),
        ("app.secret_key = b'x'\n", "secret_key"),
        ("app.config['SECRET_KEY'] = 'abc'\n", "SECRET_KEY"),
        ("class Config:\n    JWT_SECRET_KEY: str = 'abc'\n", "JWT_SECRET_KEY"),
        ("def make():\n    app.config.from_mapping(SECRET_KEY='dev', DATABASE=path)\n", "SECRET_KEY"),
        ("app.config.update({'SECURITY_PASSWORD_SALT': '1'})\n", "SECURITY_PASSWORD_SALT"),
        ("MAIL_PASSWORD = 'Tr0ub4dor'\n", "MAIL_PASSWORD"),
        ("STRIPE_API_KEY = 'sk_live_1234'\n", "STRIPE_API_KEY"),
        ("db = psycopg2.connect(host='db', password='hunter22')\n", "PASSWORD"),
        ("URI = 'postgresql://shop:hunter22@db/shop'\n", "URL"),
        ("engine = create_engine('mysql+pymysql://shop:hunter22@db/shop')\n", "URL"),
    ],
)
def test_a_secret_in_the_code_is_told_with_its_line(text: str, name: str) -> None:
    assert written(f"import os\n{text}") == [(name, 1 + text.count("\n"))]


@pytest.mark.parametrize(
    "text",
    [
        "SECRET_KEY = os.environ['SECRET_KEY']\n",
        "SECRET_KEY = os.environ.get('SECRET_KEY', 'dev')\n",
        "SECRET_KEY = os.environ.get('SECRET_KEY') or 'you-will-never-guess'\n",
        "SECRET_KEY = config('SECRET_KEY', default='dev')\n",
        "URI = os.getenv('URI') or 'postgresql://shop:hunter22@db/shop'\n",
        "URI = 'postgresql://user:password@db/shop'\n",
        "URI = f'postgresql://shop:{password}@db/shop'\n",
        "class TestConfig:\n    SECRET_KEY = 'test'\n",
        "class DevelopmentConfig:\n    SECRET_KEY = 'dev'\n",
        "if __name__ == '__main__':\n    app.secret_key = 'dev'\n",
        "password = PasswordField('Password')\n",
        "INVALID_PASSWORD = 'this password is wrong'\n",
        "MAIL_PASSWORD = 'your-password'\n",
        "SECRET_KEY = None\nSECRET_KEY = ''\n",
        "'SECRET_KEY = x'\n",
        "def broken(:\n",
    ],
)
def test_what_is_no_secret_of_the_app_is_not_told(text: str) -> None:
    assert written(text) == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("from flask import Flask, session\n", [1]),
        ("import flask\nflask.flash('hello')\n", [2]),
        ("import flask_login\nfrom flask_wtf.csrf import CSRFProtect\n", [1, 2]),
        ("from authlib.integrations.flask_client import OAuth\n", [1]),
        ("from flask import Flask, request\nfrom flask_cors import CORS\n", []),
        ("from .flask import session\nfrom sqlalchemy.orm import Session as session\n", []),
        ("def broken(:\n", []),
    ],
)
def test_what_needs_a_session_is_found(text: str, lines: list[int]) -> None:
    assert sessions(text) == lines


def test_variables_that_settings_are_taken_from_by_their_prefix() -> None:
    assert prefixes("app.config.from_prefixed_env()\n") == ["FLASK"]
    both = "app.config.from_prefixed_env('SHOP')\napp.config.from_prefixed_env(prefix='TILL')\n"
    assert prefixes(both) == ["SHOP", "TILL"]
    assert prefixes("app.config.from_object('x')\n") == []


def test_a_file_of_settings_in_the_instance_folder() -> None:
    made = "app = Flask(__name__, instance_relative_config=True)\n"
    read = "app.config.from_pyfile('config.py', silent=True)\n"
    assert instance_files(made + read) == ["config.py"]
    assert instance_files(read) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("def page():\n    return os.environ.get('SHOP_PREFIX', '')\n", [("SHOP_PREFIX", 2)]),
        ("A = environ['SHOP_A'] + os.getenv('SHOP_B')\n", [("SHOP_A", 1), ("SHOP_B", 1)]),
        ("CLOSED = flag('SHOP_CLOSED')\n", [("SHOP_CLOSED", 1)]),
        ("if 'SHOP_CLOSED' in os.environ:\n    raise SystemExit\n", [("SHOP_CLOSED", 1)]),
        ("SETTINGS = {'SHOP_CLOSED': 1}\nprint(SETTINGS['SHOP_CLOSED'], 'SHOP_CLOSED' in SETTINGS)\n", []),
        ("environ[0], get('lower'), get(NAME), get()\n", []),
        ("not Python\n", []),
    ],
)  # fmt: skip
def test_the_variables_that_code_asks_for_by_name_whenever_it_runs(code: str, found: list[tuple[str, int]]) -> None:
    assert sorted(asked(code)) == sorted(found)


@pytest.mark.parametrize(
    ("code", "service", "address"),
    [
        ("import redis\nr = redis.Redis(host='localhost', port=6379)", "Redis", "localhost"),
        ("from redis import Redis\nr = Redis('cache', 6379)", "Redis", "cache"),
        ("import redis\nr = redis.StrictRedis(decode_responses=True)", "Redis", "localhost"),
        (
            "from redis import Redis\ndef make():\n  return Redis.from_url('redis://:pw0rd@cache/1')",
            "Redis",
            "redis://***@cache/1",
        ),
        ("app.config.from_mapping(CELERY={'broker_url': 'redis://localhost'})", "Redis", "redis://localhost"),
        ("celery = Celery(__name__, broker='amqp://guest@mq//')", "RabbitMQ", "amqp://***@mq//"),
        ("limiter = Limiter(storage_uri='rediss://cache:6380')", "Redis", "rediss://cache:6380"),
        ("import pika\nc = pika.BlockingConnection(pika.ConnectionParameters('localhost'))", "RabbitMQ", "localhost"),
        ("class Config:\n  CACHE_REDIS_HOST = 'redis'", "Redis", "redis"),
        ("RABBITMQ_HOST: str = 'mq'", "RabbitMQ", "mq"),
    ],
)
def test_a_service_whose_place_the_code_says_is_found(code: str, service: str, address: str) -> None:
    assert services(f"{code}\n") == [(service, address, 1 + code.count("\n"))]


@pytest.mark.parametrize(
    "code",
    [
        "import redis\nr = redis.Redis(host=os.environ['REDIS_HOST'])",
        "import redis\nr = redis.Redis(host=os.getenv('REDIS_HOST', 'localhost'))",
        "import redis\nr = redis.from_url(os.environ.get('REDIS_URL') or 'redis://localhost')",
        "import redis\nr = redis.Redis(connection_pool=pool)",
        "import redis\nr = redis.Redis(unix_socket_path='/run/redis.sock')",
        "import redis\nr = redis.Redis(**settings)",
        "import redis\nr = redis.Redis(*where)",
        "from flask_shop import Redis\nr = Redis()",
        "url = app.config.get('REDIS_URL', 'redis://localhost')",
        "class TestConfig:\n  REDIS_URL = 'redis://localhost'",
        "OF_VARIABLES = {'REDIS_HOST': 'SHOP_REDIS_HOST'}",
        "@click.option('--url', default='redis://localhost')\ndef work(url):\n  pass",
        "help('say redis://localhost for the one here')",
        "def broken(:",
    ],
)
def test_what_says_nothing_of_its_place_or_leaves_it_to_the_environment_is_not_told(code: str) -> None:
    assert services(f"{code}\n") == []
