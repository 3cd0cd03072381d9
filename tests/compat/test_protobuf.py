"""protobuf: messages filled from frozen data.

Its C core (upb) is built against old headers and inlines their reference counting: it writes the
count of strings, bytes and containers that it is handed. pmalloc skips such a write, says so once,
and the page stays protected.
"""

import pytest
from _rounds import FROZEN, PLAIN, ROUNDS, WARNING, rounds, with_stderr

pytest.importorskip("google.protobuf")

from google.protobuf import descriptor_pb2, json_format, struct_pb2, wrappers_pb2
from google.protobuf.internal import api_implementation

UPB = "_message" if api_implementation.Type() == "upb" else None

counted = rounds(counts=UPB)
File = descriptor_pb2.FileDescriptorProto


def test_the_core_writes_reference_counts():
    """It is really named, once, and the words come out right."""

    def work() -> None:
        for _ in range(ROUNDS):
            message = File(dependency=FROZEN.words, message_type=FROZEN.message_types)
            assert list(message.dependency) == PLAIN.words

    named = WARNING.findall(with_stderr(work))
    if not named:
        pytest.skip("this protobuf writes no reference counts")
    assert len(named) == 1 and named[0].startswith("_message")


@counted
def test_strings(d):
    message = File(name=d.latin, package=d.astral)
    return message.name, message.package, message.SerializeToString()


@counted
def test_repeated_strings(d):
    message = File(dependency=d.words)
    message.dependency.extend(d.config["hosts"])
    return list(message.dependency), len(message.SerializeToString())


@counted
def test_repeated_numbers(d):
    message = File(public_dependency=d.numbers[:2])
    message.weak_dependency.extend(d.matrix[0])
    return list(message.public_dependency), list(message.weak_dependency)


@counted
def test_nested_messages_from_dicts(d):
    message = File(message_type=d.message_types, options=d.message_options)
    return message.SerializeToString(), message.message_type[1].name, message.options.java_package


@counted
def test_bytes_and_numbers(d):
    return (
        wrappers_pb2.BytesValue(value=d.blob).SerializeToString(),
        wrappers_pb2.DoubleValue(value=d.floats[1]).value,
        wrappers_pb2.Int64Value(value=d.pair[1]).value,
        wrappers_pb2.StringValue(value=d.astral).value,
    )


@counted
def test_parsing_frozen_bytes(d):
    message = struct_pb2.Struct()
    message.ParseFromString(d.wire)
    return json_format.MessageToDict(message), struct_pb2.Struct.FromString(d.wire) == message


# 100 to 400 us a round; each reads at least 17 frozen objects.
@rounds(count=3_000, counts=UPB)
def test_struct(d):
    message = struct_pb2.Struct()
    message.update(d.config)
    return json_format.MessageToDict(message), message["limits"]["soft"]


@rounds(count=3_000, counts=UPB)
def test_list_value(d):
    message = struct_pb2.ListValue()
    message.extend(d.matrix)
    message.extend([d.strings, *d.words])
    return json_format.MessageToDict(message)


@rounds(count=3_000, counts=UPB)
def test_parse_dict(d):
    message = json_format.ParseDict(d.config, struct_pb2.Struct())
    return json_format.MessageToJson(message, sort_keys=True)


@counted
def test_fields_by_frozen_names(d):
    message = File(name="x")
    return (
        message.HasField(d.field_names[0]),
        getattr(message, d.field_names[0]),
        File.DESCRIPTOR.fields_by_name[d.field_names[1]].number,
        File(**d.field_values).name,
    )


@counted
def test_maps(d):
    message = struct_pb2.Struct()
    for key, value in d.strings.items():
        message.fields[key].string_value = value
    return {key: message.fields[key].string_value for key in d.strings}
