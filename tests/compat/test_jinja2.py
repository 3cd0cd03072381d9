"""Jinja: templates that read frozen data, and environments set up with it."""

import pytest
from _rounds import rounds

jinja2 = pytest.importorskip("jinja2")
from jinja2.nativetypes import NativeEnvironment  # noqa: E402
from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: E402

ENVIRONMENT = jinja2.Environment(autoescape=True)


def rendered(source):
    template = ENVIRONMENT.from_string(source)

    def test(d):
        return template.render(vars(d))

    return test


def case(name, source):
    test = rendered(source)
    test.__name__ = f"test_{name}"
    return rounds(test)


test_attributes = case("attributes", "{{ config.name }}:{{ config['limits'].hard }} {{ config.x }}")
test_loops = case(
    "loops",
    "{% for r in records %}{{ loop.index }}{{ r.name }}{{ loop.last }}{% endfor %}"
    "{% for k, v in strings|dictsort %}{{ k }}={{ v }}{% endfor %}"
    "{% for id, name, x in rows %}{{ name|e }}{% endfor %}",
)
test_filters = case(
    "filters",
    "{{ words|join(',') }}{{ numbers|sum }}{{ numbers|max }}{{ words|sort|first }}{{ words|last }}"
    "{{ latin|upper|e }}{{ text|wordwrap(9)|title }}{{ tags|sort|list }}{{ words|length }}"
    "{{ text|truncate(9) }}{{ numbers|batch(2)|list }}{{ words|unique|list }}"
    "{{ astral|urlencode }}",
)
test_selections = case(
    "selections",
    "{{ records|map(attribute='name')|list }}{{ records|selectattr('id', '>', 1001)|list|length }}"
    "{{ records|groupby('city')|length }}{{ numbers|select('odd')|list }}"
    "{{ records|sum(attribute='id') }}{{ records|sort(attribute='name', reverse=true)|first }}",
)
test_json = case("json", "{{ config|tojson }}{{ strings|xmlattr }}{{ config.hosts|tojson(2) }}")
test_tests = case(
    "tests",
    "{{ config is mapping }}{{ words is sequence }}{{ tags is iterable }}{{ text is string }}"
    "{{ 'red' in tags }}{{ 5 in numbers }}{{ 'name' in config }}{{ pair is sequence }}"
    "{{ config.nothing is none }}{{ words[0] is eq 'pear' }}",
)
test_slices_and_operators = case(
    "slices_and_operators",
    "{{ words[1:3] }}{{ numbers + [1] }}{{ text ~ latin }}{{ text[4:9] }}{{ words * 2 }}"
    "{{ '%s' % latin }}{{ pair[1] // 7 }}{{ config.items()|list|length }}{{ config.get('no', 3) }}",
)
test_set_and_macros = case(
    "set_and_macros",
    "{% macro m(a, b=numbers) %}{{ a }}{{ b[1] }}{{ kwargs.one }}{% endmacro %}"
    "{{ m(words, **strings) }}{% set ns = namespace(n=0) %}"
    "{% for n in numbers %}{% set ns.n = ns.n + n %}{% endfor %}{{ ns.n }}"
    "{% with c = config.limits %}{{ c.soft }}{% endwith %}",
)


@rounds
def test_sandbox(d):
    return SANDBOXED.render(vars(d))


SANDBOXED = ImmutableSandboxedEnvironment().from_string(
    "{{ config.limits.hard }}{{ words|join }}{{ config.__class__ }}"
)


@rounds
def test_native_types(d):
    return NATIVE.render(vars(d))


NATIVE = NativeEnvironment().from_string("{{ config.limits }}")


# Compiling a template takes a millisecond.
@rounds(count=1_000)
def test_templates_from_frozen_sources(d):
    environment = jinja2.Environment(loader=jinja2.DictLoader(d.templates), **d.options)
    environment.globals.update(d.strings)
    environment.policies.update(d.policies)
    return environment.get_template("page").render(words=d.words), environment.list_templates()


@rounds
def test_render_with_frozen_context(d):
    return CONTEXT.render(d.strings), CONTEXT.render(**d.strings), CONTEXT.module.__name__


CONTEXT = ENVIRONMENT.from_string("{{ one }}{{ stadt }}{{ missing|default('none') }}")


@rounds
def test_expressions(d):
    return EXPRESSION(d.config), EXPRESSION(**d.config)


EXPRESSION = ENVIRONMENT.compile_expression("limits.soft + port if debug is false else name")


test_instances = case(
    "instances",
    "{{ backend.name }}{{ backend.url }}{{ backend.limit.hard }}{{ backend.since.year }}"
    "{% for s in services %}{{ s.hosts[0] }}{{ s.limit.soft }}{% endfor %}{{ point.x }}"
    "{{ settings.DATABASES.main.pool }}{{ space.port }}{{ day.isoformat() }}{{ price * 2 }}"
    "{{ services|map(attribute='limit.soft')|sum }}{{ services|sort(attribute='name')|length }}"
    "{{ settings.missing is defined }}{{ when.strftime('%Y') }}{{ address }}{{ span.days }}"
    "{{ uid }}{{ point[2] }}",
)
