"""gRPC: a call to a server of our own, everything that can be frozen frozen.

It sends frozen bytes, frozen metadata, options and messages. Server and client run in the child.
"""

import json
from concurrent import futures

import pytest
from _rounds import rounds

grpc = pytest.importorskip("grpc")

SERVED = []


def answer(request, context):
    sent = {key: value for key, value in context.invocation_metadata() if key[0] in "kd"}
    context.set_trailing_metadata(tuple(sent.items()))
    return request[::-1]


def served():
    """A channel to the server, both of the child."""
    if not SERVED:
        handler = grpc.method_handlers_generic_handler(
            "s", {"Reverse": grpc.unary_unary_rpc_method_handler(answer)}
        )
        server = grpc.server(futures.ThreadPoolExecutor(1))
        server.add_generic_rpc_handlers([handler])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        SERVED.extend([server, grpc.insecure_channel(f"127.0.0.1:{port}")])
    return SERVED[1]


# A call takes a millisecond; it reads 8 frozen objects on its way, in several threads.
@rounds(count=2_600)
def test_calls_with_frozen_metadata(d):
    call = served().unary_unary("/s/Reverse")
    reply, told = call.with_call(d.blob, metadata=d.metadata, timeout=d.floats[3] * 10)
    return reply, sorted(told.trailing_metadata())


@rounds(count=3_000)
def test_calls_with_a_serializer(d):
    call = served().unary_unary(
        "/s/Reverse", request_serializer=d.requests.get, response_deserializer=bytes.hex
    )
    return call("one"), call("two")


# A channel is 200 us.
@rounds(count=3_000)
def test_channels_with_frozen_options(d):
    options = [*d.channel_options, ("grpc.service_config", json.dumps(d.service))]
    with grpc.insecure_channel("127.0.0.1:1", options=options) as channel:
        made = channel.unary_unary("/s/Reverse") is not None
    with grpc.insecure_channel("127.0.0.1:1", options=d.channel_options):
        return made


@rounds
def test_credentials(d):
    return (
        grpc.ssl_channel_credentials(d.certificate) is not None,
        grpc.access_token_call_credentials(d.text) is not None,
    )


@rounds(count=200)  # a server takes 2 ms
def test_servers_with_frozen_options(d):
    server = grpc.server(futures.ThreadPoolExecutor(1), options=d.channel_options)
    server.add_generic_rpc_handlers(())
    return server.stop(None).wait(5)
