# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: Headcount contributors
"""Which distributions the code of a project imports, where nothing in it says so. Nothing is run."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .._display.text import listed
from .scan import MOST_FILES, is_beside, modules, text_of

# What a module is distributed as, where that is not its own name; the longest of its names counts.
_DISTRIBUTIONS: Final = {
    "Crypto": "pycryptodome",
    "Cryptodome": "pycryptodomex",
    "ldap": "python-ldap",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "allauth": "django-allauth",
    "apscheduler": "apscheduler",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "corsheaders": "django-cors-headers",
    "crispy_forms": "django-crispy-forms",
    "cv2": "opencv-python-headless",
    "dash_bootstrap_components": "dash-bootstrap-components",
    "dateutil": "python-dateutil",
    "debug_toolbar": "django-debug-toolbar",
    "decouple": "python-decouple",
    "discord": "discord.py",
    "dj_database_url": "dj-database-url",
    "django_filters": "django-filter",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "engineio": "python-engineio",
    "environ": "django-environ",
    "fitz": "pymupdf",
    "flask_jwt_extended": "flask-jwt-extended",
    "git": "gitpython",
    "github": "pygithub",
    "google.auth": "google-auth",
    "google.cloud.secretmanager": "google-cloud-secret-manager",
    "google.generativeai": "google-generativeai",
    "google.oauth2": "google-auth",
    "google.protobuf": "protobuf",
    "googleapiclient": "google-api-python-client",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "lxml_html_clean": "lxml-html-clean",
    "magic": "python-magic",
    "markdown": "markdown",
    "memcache": "python-memcached",
    "mysql": "mysql-connector-python",
    "mysql.connector": "mysql-connector-python",
    "nacl": "pynacl",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "pymysql": "pymysql",
    "pythonjsonlogger": "python-json-logger",
    "rest_framework": "djangorestframework",
    "rest_framework_simplejwt": "djangorestframework-simplejwt",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "socketio": "python-socketio",
    "social_django": "social-auth-app-django",
    "storages": "django-storages",
    "telegram": "python-telegram-bot",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "whitenoise": "whitenoise",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
# What is called as its module is, and no other distribution.
_NAMESPACES: Final = ("google", "google.cloud")
_SAME: Final = re.compile(
    r"flask(-.+)?|django|dash|bottle|falcon|pyramid|werkzeug|jinja2|sqlalchemy|alembic|celery|redis|rq|requests|httpx|"
    r"numpy|pandas|scipy|plotly|matplotlib|pymongo|mongoengine|peewee|psycopg|boto3|botocore|stripe|marshmallow|pydantic|"
    r"gunicorn|gevent|eventlet|wtforms|passlib|bcrypt|cryptography|authlib|openai|sentry-sdk|click|lxml|markupsafe|"
    r"itsdangerous|email-validator|pytz|tqdm|urllib3|connexion"
)


def distributions(folder: Path, names: Sequence[str]) -> list[str]:
    """The distributions that the code of a project imports, by the names of their modules: a guess."""
    own = {part.removesuffix(".py") for name in names for part in name.split("/") if not _is_foreign(part, name, names)}
    python = [name for name in names if name.endswith(".py") and not is_beside(name)]
    found = {module for name in python[:MOST_FILES] for module in modules(text_of(folder / name))}
    known = set(sys.stdlib_module_names) | own | {""}
    found = {module for module in found if module.partition(".")[0] not in known and module not in _NAMESPACES}
    return sorted({distribution_of(module) for module in found})


def _is_foreign(part: str, name: str, names: Sequence[str]) -> bool:
    """Whether a folder of the project is called like a distribution, and is no package: it stands for no module."""
    folder = name.partition(f"{part}/")[0] + part
    is_folder = f"{part}/" in name and f"{folder}/__init__.py" not in names
    return is_folder and bool(_SAME.fullmatch(part) or part in _DISTRIBUTIONS)


def distribution_of(module: str) -> str:
    """The name of the distribution that a module is probably of."""
    name = module
    while name and name not in _DISTRIBUTIONS:
        name = name.rpartition(".")[0]
    if not name and module.startswith("google.cloud."):
        return "-".join(module.split(".")[:3]).replace("_", "-")
    return _DISTRIBUTIONS[name] if name else module.partition(".")[0].replace("_", "-")


def words(names: Sequence[str]) -> str:
    """That some distributions are guesses."""
    plural = "are guesses by the names of imports" if len(names) > 1 else "is a guess by the name of an import"
    return f"{listed(names, 6)} {plural}, which may be those of other distributions"


def guessed(requirements: Sequence[str]) -> list[str]:
    """Those of requirements that imports gave of which only the name of the import says what they are."""
    known = {canonicalize_name(name) for name in _DISTRIBUTIONS.values()}
    named = [canonicalize_name(Requirement(text).name) for text in requirements]
    return [name for name in named if name not in known and not _SAME.fullmatch(name)]
