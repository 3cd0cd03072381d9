"""The data of the compat tests: configuration, records, and what libraries take as arguments."""

import collections
import dataclasses
import datetime as dt
import decimal
import fractions
import ipaddress
import types
import uuid
from typing import Any

import pmalloc


@dataclasses.dataclass(frozen=True, slots=True)
class Limit:
    soft: int
    hard: int


@dataclasses.dataclass
class Service:
    name: str
    hosts: list[str]
    limit: Limit
    since: dt.datetime
    price: decimal.Decimal = decimal.Decimal("1.25")

    @property
    def url(self) -> str:
        return f"https://{self.hosts[0]}/{self.name}"


class Settings:
    """What an application passes to its framework: an ordinary object with attributes."""

    def __init__(self) -> None:
        self.SECRET_KEY = "not a secret at all"
        self.TESTING = True
        self.ALLOWED_HOSTS = ["testserver", ".example.org"]
        self.DATABASES = {"main": {"url": "sqlite://", "pool": 300}}
        self.PERMANENT_SESSION_LIFETIME = dt.timedelta(days=3)
        self.lower = "is no setting"


Point = collections.namedtuple("Point", "x y name")  # noqa: PYI024

PAGE = "{% extends 'base' %}{% block b %}{{ words|join(stadt) }}{{ one }}{% endblock %}"


def make() -> dict[str, Any]:
    """One of everything that configuration and records hold; new at each call."""
    return {
        "config": {
            "name": "gateway",
            "port": 8080,
            "debug": False,
            "ratio": 0.25,
            "nothing": None,
            "hosts": ["alpha.example", "beta.example", "gamma.example"],
            "limits": {"soft": 1024, "hard": 1 << 40},
            "routes": [{"path": "/", "to": "index"}, {"path": "/cart", "to": "shop"}],
            "städtchen": "Zürich",
        },
        "records": [
            {"id": 1000 + i, "name": f"record-{i}", "score": i / 8, "city": "Zürich"}
            for i in range(4)
        ],
        "rows": [(1, "one", 1.5), (2, "two", 2.25), (300, "Zürich", -1.0)],
        "numbers": [5, 300, -7, 70_000, 2, 12],
        "floats": [0.5, -2.25, 1e300, 3.0, 0.125],
        "matrix": [[1, 2, 300], [4, 500, 6], [700, 8, 9]],
        "words": ["pear", "apple", "fig", "banana", "kiwi"],
        "columns": {"id": [1, 2, 300], "name": ["one", "two", "Zürich"], "x": [1.5, 2.25, -1.0]},
        "graph": {"a": ["b", "c"], "b": ["c", "d"], "c": ["d"], "d": ["a"]},
        "weights": {
            "a": {"b": {"weight": 300}, "c": {"weight": 7000}},
            "b": {"d": {"weight": 500}},
            "c": {"d": {"weight": 1}},
            "d": {},
        },
        "edges": [("a", "b"), ("b", "c"), ("c", "d")],
        "weighted": [("a", "b", 2.5), ("d", "e", 300)],
        "node_kinds": {name: {"kind": f"node {name}"} for name in "abcd"},
        "relabelled": {"a": "alpha", "b": "beta"},
        "vertices": {"a", "d"},
        "degrees": [3, 3, 2, 2, 2],
        "parameters": {"max_depth": 3, "random_state": 0, "criterion": "gini"},
        "grid": {"max_depth": [2, 3, 300], "criterion": ["gini", "entropy"]},
        "places": [0, 2],
        "message_types": [{"name": "Request"}, {"name": "Zürich"}],
        "message_options": {"java_package": "org.example", "deprecated": True},
        "wire": b"\n\r\n\x03one\x12\x06\x1a\x04text",
        "field_names": ["name", "package"],
        "field_values": {"name": "gateway.proto", "dependency": ["a.proto", "b.proto"]},
        "statement": "SELECT 'Zürich', 1",
        "row_names": ["one", "two"],
        "limits": {"soft": 1024, "hard": 1 << 40},
        "ranks": {"pear": 2, "fig": 1},
        "headings": ["id", "name", "missing"],
        "lines": ["1;one;Zürich\n", '2;"t;wo";x\n'],
        "dialect": {"delimiter": ";", "quotechar": '"'},
        "update": {"name": "new", "score": 2.5},
        "updates": [{"id": 1000, "city": "Bern"}, {"id": 1001, "city": "Genève"}],
        "templates": {"base": "<{% block b %}{% endblock %}>", "page": PAGE},
        "options": {"trim_blocks": True, "extensions": ["jinja2.ext.do"]},
        "policies": {"truncate.leeway": 0},
        "nonce": b"0123456789ab",
        "associated": [b"first", b"second"],
        "email": "alice@example.org",
        "dns": ["alpha.example", "beta.example"],
        "metadata": (("key", "value"), ("data-bin", b"\x00\x01" * 20)),
        "channel_options": [
            ("grpc.enable_retries", 0),
            ("grpc.max_receive_message_length", 70_000),
        ],
        "service": {"methodConfig": [{"name": [{"service": "s"}], "timeout": "30s"}]},
        "flask": {
            "SECRET_KEY": "not a secret at all",
            "TESTING": True,
            "SESSION_COOKIE_NAME": "sid",
            "MAX_CONTENT_LENGTH": 70_000,
            "DATABASES": {"main": {"url": "sqlite://", "pool": 300}},
            "TRUSTED_HOSTS": ["localhost", ".example.org"],
            "lower": "is no setting",
        },
        "django": {
            "SECRET_KEY": "not a secret at all",
            "DEBUG": False,
            "ALLOWED_HOSTS": ["testserver", ".example.org"],
            "INSTALLED_APPS": ["django.contrib.contenttypes", "django.contrib.auth"],
            "MIDDLEWARE": [
                "django.middleware.security.SecurityMiddleware",
                "django.middleware.common.CommonMiddleware",
            ],
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "DIRS": [],
                    "APP_DIRS": False,
                    "OPTIONS": {"builtins": ["django.templatetags.i18n"]},
                }
            ],
            "DATABASES": {
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": ":memory:",
                    "OPTIONS": {"timeout": 300},
                }
            },
            "CACHES": {
                "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
                "other": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
            },
            "LANGUAGES": [("en", "English"), ("de", "Deutsch")],
            "LOGGING": {"version": 1, "handlers": {"null": {"class": "logging.NullHandler"}}},
            "ROOT_URLCONF": "test_django",
            "STORAGES": {
                "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
                "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
            },
            "AUTH_PASSWORD_VALIDATORS": [
                {
                    "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
                    "OPTIONS": {"min_length": 9},
                }
            ],
        },
        "fernet_key": b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "certificate": b"-----BEGIN CERTIFICATE-----",
        "requests": {"one": b"eno", "two": "Zürich".encode()[:2]},
        "url": {"name": "zürich"},
        "overridden": {"DATE_FORMAT": "Y-m-d", "LANGUAGE_CODE": "de"},
        "choices": [("zh", "Zürich"), ("be", "Bern")],
        "posted": {"name": "gateway", "port": "8080", "word": "fig", "city": "zh"},
        "cached": {"limits": {"soft": 1024}, "hosts": ["alpha.example"]},
        "user": {"username": "alice", "email": "alice@example.org", "last_name": "Zürcher"},
        "usernames": ["alice", "bob"],
        "changes": {"last_name": "Müller", "is_active": False},
        "text": "The quick brown fox jumps over the lazy dog",
        "latin": "Grüße aus Zürich",
        "astral": "東京 🔒",
        "blob": bytes(range(64)),
        "key": b"0123456789abcdef0123456789abcdef",
        "row": ("row", 70_000, 2.75, None, ("inner", b"bytes")),
        "tags": {"red", "green", "blue"},
        "members": frozenset({"alice", "bob", "carol"}),
        "pair": ("left", 1 << 40),
        "big": 3**50,
        "mixed": {1: "one", "a": 2, (1, "b"): "tuple", None: 0, 2.5: "float"},
        "names": {"tag": "item", "path": "./item[2]", "name": "name"},
        "documents": {"text": "<a><b>Zürich</b></a>", "bytes": b"<a><b/></a>"},
        "namespaces": {None: "urn:x", "x": "urn:y"},
        "long": {
            "id": list(range(1000, 1060)),
            "name": [f"name-{i}" for i in range(60)],
            "x": [i / 8 for i in range(60)],
        },
        "codes": {f"name-{i}": f"code-{i}" for i in range(60)},
        "strings": {"one": "1", "two": "2", "stadt": "Zürich"},
        "limit": Limit(1024, 1 << 40),
        "backend": Service(
            "shöp",
            ["alpha.example"],
            Limit(7000, 300),
            dt.datetime(2026, 2, 3, 4, 5, tzinfo=dt.UTC),
        ),
        "services": [
            Service(f"s{i}", ["a.example"], Limit(i, 300), dt.datetime(2026, 2, 3, 4, i))  # noqa: DTZ001
            for i in range(3)
        ],
        "settings": Settings(),
        "point": Point(1000, 2.5, "Zürich"),
        "points": [Point(1, 2.5, "one"), Point(300, 0.5, "two")],
        "space": types.SimpleNamespace(name="gateway", port=8080),
        "when": dt.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=dt.UTC),
        "naive": dt.datetime(2026, 2, 3, 4, 5, 6),  # noqa: DTZ001
        "day": dt.date(2026, 2, 3),
        "clock": dt.time(4, 5, 6),
        "span": dt.timedelta(days=3, seconds=7),
        "price": decimal.Decimal("12.50"),
        "uid": uuid.UUID(int=1 << 100),
        "third": fractions.Fraction(1, 3),
        "address": ipaddress.ip_address("192.0.2.1"),
        "empty": {"dict": {}, "list": [], "tuple": (), "set": set(), "text": "", "blob": b""},
    }


PLAIN: Any = types.SimpleNamespace(**make())
FROZEN: Any = types.SimpleNamespace(**pmalloc.freeze(make(), name="compat"))
assert all(pmalloc.is_protected(value) for value in vars(FROZEN).values())
