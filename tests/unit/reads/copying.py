"""Serialising, copying, and code made of frozen data."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: F821, PYI024
# Every way to spell a reading is wanted here, the old ones too.

import ast
import collections
import contextvars
import copy
import csv
import enum
import gc
import io
import json
import marshal
import pickle
import pprint
import reprlib
import sys
import types
import typing
from collections import abc

import pmalloc

from .data import Thing, read


@read
def json_dumps(d):
    return json.dumps(d.config), json.dumps(d.records[0])


@read
def json_dumps_with_options(d):
    return json.dumps(d.records[1], sort_keys=True, indent=1, ensure_ascii=False)


@read
def json_loads(d):
    return (
        json.loads('{"a": 1}'),
        json.loads(d.number_text),
        json.JSONDecoder().decode(d.number_text),
    )


@read
def pickle_every_protocol(d):
    return [
        pickle.loads(pickle.dumps(d.records[0], protocol))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    ]


@read
def pickle_scalars(d):
    return pickle.loads(
        pickle.dumps((d.text, d.big, d.line, d.ratio, d.z, d.span, d.pair, d.members))
    )


@read
def pickle_plain_with_frozen_inside(d):
    copied = pickle.loads(pickle.dumps({"inner": d.words, "tags": d.tags}))
    copied["inner"].append(1)
    return copied, type(copied["inner"]), type(copied["tags"])


@read
def marshal_scalars(d):
    return marshal.loads(
        marshal.dumps((d.text, d.latin, d.lone, d.big, d.line, d.ratio, d.z, d.pair))
    )


@read
def copy_shallow(d):
    plain = copy.copy(d.words)
    plain.append(1)
    return plain, copy.copy(d.config), copy.copy(d.tags), copy.copy(d.row), copy.copy(d.text)


@read
def copy_deep(d):
    plain = copy.deepcopy(d.records[0])
    plain["tags"].append("more")
    return plain, type(plain["tags"])


@read
def copy_deep_of_plain_with_frozen_inside(d):
    plain = copy.deepcopy([d.words, d.words])
    plain[0].append("x")
    return plain, plain[0] is plain[1]


@read
def thaw(d):
    plain = pmalloc.thaw(d.records[1])
    plain["tags"].append("more")
    return plain, type(plain), type(plain["tags"])


@read
def csv_write(d):
    out = io.StringIO()
    csv.writer(out).writerow(d.words)
    csv.DictWriter(out, d.records[0].keys()).writerow(d.records[0])
    return out.getvalue()


@read
def stream_write(d):
    out = io.StringIO(d.text)
    out.write(d.latin)
    out.writelines(d.words)
    print(d.config, d.small, file=out)
    return out.getvalue()


@read
def stream_read(d):
    stream = io.StringIO(d.text)
    return stream.readline(), stream.read(), io.TextIOWrapper(io.BytesIO(d.line)).read()


@read
def literal_eval(d):
    return ast.literal_eval(repr(d.matrix)), ast.literal_eval(d.number_text)


@read
def pretty_print(d):
    return pprint.pformat(d.matrix, width=20), reprlib.repr(d.rows[0])


@read
def eval_frozen_source(d):
    return eval(d.source, {"factor": 2})


@read
def eval_with_frozen_locals(d):
    return eval("limit + factor", {"__builtins__": {}}, d.globals)


@read
def exec_with_frozen_globals(d):
    answer = {}
    exec("answer = limit * factor", d.globals, answer)
    return answer


@read
def compile_frozen_names(d):
    code = compile(d.identifier, d.path, "eval")
    return code.co_names, code.co_filename, eval(code, {d.identifier: 5})


def hot():
    return limit + factor + limit


@read
def function_with_frozen_globals(d):
    return types.FunctionType(hot.__code__, d.globals)()


@read
def class_with_frozen_namespace(d):
    made = type("Made", (), d.records[0])
    return made.id, made.name, made.tags


@read
def named_tuple_with_frozen_fields(d):
    made = collections.namedtuple(d.identifier, d.words[:2])
    return made(1, 2)._asdict(), made._fields


@read
def enum_with_frozen_names(d):
    made = enum.IntEnum(d.identifier, d.words[:1])
    return made.pear.name, made["pear"].value


@read
def typed_names(d):
    return typing.TypeVar(d.identifier).__name__, typing.NewType(d.words[0], int).__name__


@read
def context_variables(d):
    variable = contextvars.ContextVar(d.identifier, default=d.words)
    variable.set(d.config)
    return variable.name, variable.get()


@read
def instance_dict_update(d):
    thing = Thing()
    thing.__dict__.update(d.records[0])
    vars(thing)["id"] += 1
    return thing.id, thing.name


@read
def exceptions(d):
    try:
        raise ValueError(d.text, d.config)
    except ValueError as error:
        error.add_note(d.latin)
        return error.args, error.__notes__, str(KeyError(d.identifier))


@read
def isinstance_and_types(d):
    return (
        isinstance(d.config, dict),
        isinstance(d.words, list),
        isinstance(d.tags, abc.Set),
        isinstance(d.config, abc.Mapping),
        isinstance(d.words, abc.Sequence),
        type(d.row),
        type(d.text),
        type(d.members),
        callable(d.config),
        isinstance(d.big, (str, int)),
    )


@read
def introspection(d):
    return (
        sys.getsizeof(d.words) > 0,
        len(gc.get_referents(d.words)),
        gc.is_tracked(d.line),
        id(d.words) == id(d.words),
        sys.getrefcount(d.config) > 1,
        "append" in dir(d.words),
        d.config.__doc__ is not None,
    )
