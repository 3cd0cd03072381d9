"""Flask: an application configured from frozen data, and configuration that is frozen."""

import os

import pytest
from _rounds import rounds

flask = pytest.importorskip("flask")

APP = flask.Flask("compat")


@APP.route("/<name>")
def page(name):
    return flask.render_template_string("{{ name }} {{ config.DATABASES.main.pool }}", name=name)


@rounds
def test_from_mapping(d):
    config = flask.Config(".")
    config.from_mapping(d.flask)
    config.from_mapping(d.flask, EXTRA=1)
    return config, config["DATABASES"]["main"]["pool"], "lower" in config


@rounds
def test_defaults(d):
    config = flask.Config(".", defaults=d.flask)
    config["DEBUG"] = True
    return config, config.get_namespace("SESSION_")


@rounds
def test_from_object(d):
    class Settings:
        vars().update(d.flask)

    config = flask.Config(".")
    config.from_object(Settings)
    return config


@rounds
def test_environment(d):
    config = flask.Config(".")
    os.environ["PM_A"], os.environ["PM_B"] = d.strings["two"], d.latin
    config.from_prefixed_env("PM")
    return config


# A request takes 300 us; it reads 20 frozen settings or more.
@rounds(count=1_500)
def test_requests_of_a_configured_application(d):
    APP.config.from_mapping(d.flask)
    client = APP.test_client()
    reply = client.get("/" + d.latin, headers={"Host": "a.example.org"})
    return reply.status_code, reply.text


@rounds(count=1_500)
def test_sessions_and_json(d):
    APP.config.from_mapping(d.flask)
    with APP.test_request_context("/?a=1", json=d.config):
        flask.session["user"] = d.email
        flask.session.update(d.strings)
        reply = flask.jsonify(d.records)
        APP.session_interface.save_session(APP, flask.session, reply)
        return reply.get_json(), flask.request.get_json(), d.email in str(flask.session)


@rounds(count=1_500)
def test_replies_and_urls(d):
    APP.config.from_mapping(d.flask)
    with APP.test_request_context(query_string=d.strings):
        reply = flask.make_response(d.latin, 200, d.strings)
        return (
            flask.url_for("page", **d.url),
            reply.headers["one"],
            reply.data,
            flask.request.args["stadt"],
            APP.json.dumps(d.config),
        )


@rounds
def test_config_whose_values_are_frozen(d):
    config = flask.Config(".", defaults={"DATABASES": d.flask["DATABASES"]})
    return [config["DATABASES"]["main"][name] for name in ("url", "pool")], "DATABASES" in config


@rounds
def test_from_a_frozen_object(d):
    config = flask.Config(".")
    config.from_object(d.settings)
    return config, config["DATABASES"]["main"]["pool"], "lower" in config


@rounds(count=5_000)  # 100 us, and 12 frozen objects or more a round
def test_json_of_instances(d):
    values = [d.limit, d.services, d.when, d.day, d.price, d.uid]
    return APP.json.dumps(values), APP.json.loads(APP.json.dumps(d.backend))
