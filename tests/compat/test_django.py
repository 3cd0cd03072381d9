"""Django: settings that are frozen, and the requests, templates, forms and caches they rule."""

import functools

import pytest
from _rounds import refused, rounds

import pmalloc

django = pytest.importorskip("django")

from django import forms, http  # noqa: E402
from django.conf import LazySettings, settings  # noqa: E402
from django.urls import path, reverse  # noqa: E402


def page(request, name):
    return http.JsonResponse({"name": name, "languages": len(settings.LANGUAGES)})


urlpatterns = [path("page/<str:name>/", page, name="page")]


def ruled(**options):
    """Rounds in a child where Django was set up by the settings, frozen or plain."""

    def decorated(group):
        @functools.wraps(group)
        def run(d):
            if not settings.configured:
                # The remedy of docs/compat.md: Django completes this one in place.
                settings.configure(**{**d.django, "DATABASES": pmalloc.thaw(d.django["DATABASES"])})
                django.setup()
            return group(d)

        return rounds(run, apart=True, **options)

    return decorated


def test_databases_refuses():
    """Django completes each database's dict in place."""
    from django.db.utils import ConnectionHandler

    refused(
        lambda d: ConnectionHandler(d.django["DATABASES"]).settings,
        TypeError,
        r"'FrozenDict' object is frozen: setdefault\(\) would change it",
    )


@rounds
def test_configured_settings(d):
    lazy = LazySettings()
    lazy.configure(**d.django)
    return (
        lazy.ALLOWED_HOSTS,
        lazy.DATABASES["default"]["OPTIONS"]["timeout"],
        lazy.LANGUAGES[1],
        lazy.is_overridden("DEBUG"),
        lazy.APPEND_SLASH,
    )


@rounds
def test_settings_on_top_of_others(d):
    class Defaults:
        vars().update(d.django)

    lazy = LazySettings()
    lazy.configure(default_settings=Defaults, TIME_ZONE=None)
    return lazy.SECRET_KEY, lazy.TEMPLATES[0]["OPTIONS"]["builtins"], dir(Defaults).count("DEBUG")


@ruled(count=2_000)
def test_overridden_settings(d):
    from django.test.utils import modify_settings, override_settings

    with (
        override_settings(**d.overridden),
        modify_settings(ALLOWED_HOSTS={"append": d.email, "remove": d.dns}),
    ):
        return settings.ALLOWED_HOSTS, settings.DATE_FORMAT


# A request takes a millisecond; it reads some 20 frozen settings.
@ruled(count=1_500)
def test_requests(d):
    from django.test import Client

    reply = Client().get("/page/" + d.latin + "/", d.strings, headers={"accept": d.text})
    return reply.status_code, reply.json()


@ruled(count=1_500)
def test_refused_hosts(d):
    from django.test import RequestFactory

    request = RequestFactory().get("/", headers={"host": "evil.example"})
    with pytest.raises(django.core.exceptions.DisallowedHost):
        request.get_host()
    return RequestFactory().get("/", headers={"host": "a.example.org"}).get_host()


@ruled(count=3_000)
def test_templates(d):
    from django.template import engines

    template = engines["django"].from_string(
        "{{ config.limits.soft }}{% for r in records %}{{ r.name }}{{ r.city|upper }}{% endfor %}"
        "{{ words|join:',' }}{{ tags|length }}{% for k, v in strings.items %}{{ v }}{% endfor %}"
        "{% if 5 in numbers %}{{ latin|slugify }}{% endif %}{{ rows.2.1 }}{% trans 'Yes' %}"
    )
    return template.render(vars(d))


@ruled()
def test_template_rendered_again(d):
    from django.template import Context

    return compiled().render(Context(d.config))


@functools.cache
def compiled():
    from django.template import Template

    return Template("{{ name }}{{ limits.hard }}{% for h in hosts %}{{ h }}{% endfor %}{{ ratio }}")


@ruled(count=3_000)
def test_forms(d):
    class Form(forms.Form):
        name = forms.CharField(max_length=99)
        port = forms.IntegerField()
        word = forms.ChoiceField(choices=[(w, w) for w in d.words])
        city = forms.ChoiceField(choices=d.choices)

    form = Form(d.posted)
    return form.is_valid(), form.cleaned_data, dict(form.errors), form["city"].as_hidden()


@ruled()
def test_caches(d):
    from django.core.cache import caches

    caches["default"].set_many(d.cached)
    caches["other"].set("config", d.config)
    back = caches["default"].get_many(d.cached)
    return back, type(back["limits"]) is dict


@ruled()
def test_signing_and_json(d):
    from django.core import signing
    from django.core.serializers.json import DjangoJSONEncoder

    signed = signing.dumps(d.config)
    return signing.loads(signed), DjangoJSONEncoder().encode(d.records)


@ruled()
def test_urls_and_query_strings(d):
    from django.utils.http import urlencode

    query = http.QueryDict(mutable=True)
    query.update(d.strings)
    return reverse("page", kwargs=d.url), urlencode(d.strings), query.urlencode()


@ruled(count=1_000)
def test_models(d):
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    if "auth_user" not in connection.introspection.table_names():
        call_command("migrate", verbosity=0)
    User.objects.all().delete()
    User(**d.user).save()
    User.objects.filter(username__in=d.usernames).update(**d.changes)
    return list(User.objects.filter(**d.changes).values_list("username", "last_name"))


@ruled()
def test_queries_of_frozen_parameters(d):
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, %s, %s", d.rows[2])
        one = cursor.fetchone()
        cursor.execute("SELECT %(one)s, %(stadt)s", d.strings)
        return one, cursor.fetchone()


@ruled()
def test_password_validators(d):
    from django.contrib.auth.password_validation import get_default_password_validators

    return [validator.min_length for validator in get_default_password_validators()]


@ruled(count=5_000)
def test_logging_configured(d):
    from django.utils.log import configure_logging

    configure_logging("logging.config.dictConfig", d.django["LOGGING"])
    return settings.LOGGING["version"]


@rounds
def test_settings_on_top_of_a_frozen_object(d):
    """`default_settings` is asked for attributes only."""
    lazy = LazySettings()
    lazy.configure(default_settings=d.settings, DEBUG=True)
    return (
        lazy.SECRET_KEY,
        lazy.ALLOWED_HOSTS,
        lazy.DATABASES["main"]["pool"],
        lazy.PERMANENT_SESSION_LIFETIME,
        lazy.is_overridden("SECRET_KEY"),
        "TESTING" in dir(lazy),
    )


@ruled(count=3_000)
def test_instances_in_templates_and_json(d):
    from django.core.serializers.json import DjangoJSONEncoder
    from django.template import engines
    from django.utils.timesince import timesince

    template = engines["django"].from_string(
        "{{ backend.name }}{{ backend.url }}{{ backend.limit.hard }}{{ day|date:'Y-m-d' }}"
        "{% for s in services %}{{ s.hosts.0 }}{{ s.since.year }}{% endfor %}{{ point.x }}"
        "{{ settings.DATABASES.main.pool }}{{ price|floatformat:1 }}{{ space.port }}"
    )
    values = [d.when, d.day, d.clock, d.span, d.price, d.uid]
    return (
        template.render(vars(d)),
        DjangoJSONEncoder().encode(values),
        timesince(d.day, d.naive),
    )
