"""Reading str."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: C416, UP031
# Every way to spell a reading is wanted here, the old ones too.

import codecs
import ctypes
import difflib
import html
import importlib
import os
import pathlib
import re
import shlex
import string
import sys
import textwrap
import time
import unicodedata
import urllib.parse
from datetime import datetime

from .data import OTHER, Thing, read


@read
def str_index_slice(d):
    return d.text[0], d.text[-2], d.text[4:9], d.bmp[1], d.astral[2], d.latin[::-1], d.lone[7]


@read
def str_iterate(d):
    return [c for c in d.bmp], list(d.astral), len(d.text), list(reversed(d.latin))


@read
def str_hash(d):
    return hash(d.text), hash(d.bmp), hash(d.astral), hash(d.lone)


@read
def str_compare(d):
    return d.text == OTHER.text, d.text < d.bmp, d.latin != OTHER.latin, d.astral > "a", d.text == 1


@read
def str_concatenate(d):
    text = d.text
    text += "more"
    text = text + d.latin
    return text, d.bmp + d.astral, d.words[0] * 3, d.text * 0


@read
def str_case(d):
    return d.text.upper(), d.latin.lower(), d.text.title(), d.latin.casefold(), d.astral.swapcase()


@read
def str_split_join(d):
    return d.text.split(), d.text.rsplit(None, 1), ", ".join(d.words), d.kwargs["sep"].join(d.words)


@read
def str_search(d):
    return (
        d.text.find("fox"),
        d.text.rindex("o"),
        "lazy" in d.text,
        d.text.count("o"),
        d.bmp.find("京"),
        d.text.startswith(("x", "The")),
        d.latin.endswith("Zürich"),
    )


@read
def str_strip_replace(d):
    return (
        d.text.strip(),
        d.text.replace("quick", "slow"),
        d.text.removeprefix("The "),
        d.text.rstrip("g "),
    )


@read
def str_partition_lines(d):
    return d.text.partition("\n"), d.text.splitlines(), d.text.expandtabs(4), d.text.rpartition(" ")


@read
def str_padding(d):
    return d.words[0].center(20, "*"), d.words[0].zfill(9), d.words[0].ljust(9), d.words[0].rjust(9)


@read
def str_predicates(d):
    word = d.identifier
    return (
        word.isidentifier(),
        word.isalpha(),
        d.number_text.isdigit(),
        word.islower(),
        d.bmp.isascii(),
    )


@read
def str_encode(d):
    return (
        d.text.encode(),
        d.latin.encode(),
        d.latin.encode("latin-1"),
        d.bmp.encode("utf-16"),
        d.astral.encode(),
    )


@read
def str_encode_lone_surrogate(d):
    try:
        d.lone.encode()
    except UnicodeEncodeError as error:
        return error.start, d.lone.encode(errors="replace"), d.lone.encode("utf-8", "surrogatepass")


@read
def str_codecs(d):
    return codecs.encode(d.text, "rot13"), d.latin.encode("unicode_escape")


@read
def str_translate(d):
    return "abcabc".translate(d.table), d.text.translate(d.table), str.maketrans(dict(d.table))


@read
def str_format_spec(d):
    return (
        f"{d.words[0]:>12}",
        format(d.words[1], "^9"),
        f"{d.ratio:{d.number_text[:1]}.3f}",
        f"{d.latin!a}",
    )


@read
def str_f_string(d):
    return f"{d.config['name']}:{d.config['port']:05d} {d.config['ratio']:.1%} {d.words!r} {d.pair}"


@read
def str_format(d):
    return d.brace.format(**d.config), d.brace.format_map(d.config), f"{d.config['hosts'][1]}"


@read
def str_percent_format(d):
    return d.percent % d.config, "%(a)s" % d.mixed, "%s" % d.text, "%d %x" % (d.three, d.three)


@read
def str_template(d):
    return string.Template(d.dollar).substitute(d.config), string.Template(
        d.dollar
    ).safe_substitute()


@read
def str_intern(d):
    name = sys.intern(d.identifier)
    assert sys.intern(name) is name
    return name, sys.intern(d.config["name"]), sys.intern(d.words[0]), sys.intern(d.latin)


@read
def str_as_attribute_name(d):
    thing = Thing()
    setattr(thing, d.identifier, 5)
    found = getattr(thing, d.identifier), thing.frozen_attribute, hasattr(thing, d.words[0])
    delattr(thing, d.identifier)
    return found, vars(thing)


@read
def str_as_attribute_of_type(d):
    return getattr(d.text, d.words[0], None), getattr(os, d.kwargs["sep"], 1)


@read
def str_as_type_name(d):
    made = type(d.identifier, (), {d.words[0]: 1})
    return made.__name__, made.pear, made.__qualname__


@read
def str_to_numbers(d):
    return int(d.number_text), float(d.number_text), int(d.number_text[:3], 16), complex("1+2j")


@read
def str_ord_chr(d):
    return (
        ord(d.bmp[0]),
        [ord(c) for c in d.astral],
        chr(d.three),
        ascii(d.latin),
        unicodedata.name(d.bmp[0]),
    )


@read
def str_normalise(d):
    return unicodedata.normalize("NFD", d.latin), unicodedata.normalize("NFKC", d.bmp)


@read
def str_regular_expressions(d):
    return (
        re.findall(d.pattern, d.text),
        re.sub(d.pattern, r"\2 \g<second>", d.text),
        re.match(d.pattern, d.text).groupdict(),
        re.split(r"\s+", d.latin),
        re.escape(d.path),
    )


@read
def str_regular_expression_compiles(d):
    return re.compile(d.pattern).search(d.text).span()


@read
def str_paths(d):
    path = pathlib.PurePosixPath(d.path)
    return (
        path.name,
        path.parent / d.words[0],
        os.path.join(d.path, d.words[0]),
        os.fsencode(d.latin),
    )


@read
def str_system_paths(d):
    return (
        os.path.exists(d.path),
        os.environ.get(d.identifier),
        os.path.splitext(d.path),
        os.fspath(d.path),
    )


@read
def str_shlex_html_url(d):
    return html.escape(d.text), urllib.parse.quote(d.latin), urllib.parse.urlsplit(d.path).path


@read
def str_shlex(d):
    return shlex.quote(d.text), shlex.join(d.words)


@read
def str_textwrap(d):
    return textwrap.shorten(d.text, 20)


@read
def str_dedent(d):
    return textwrap.dedent(d.text), textwrap.indent(d.text, d.kwargs["sep"])


@read
def str_dates(d):
    when = datetime.fromisoformat(d.when)
    return when, when.strftime(d.percent[:1] + "Y"), time.strftime(d.identifier, time.gmtime(0))


@read
def str_import(d):
    return (
        importlib.import_module(d.modules[0]),
        __import__(d.modules[1]),
        sys.modules.get(d.identifier),
    )


@read
def str_close_matches(d):
    return difflib.get_close_matches("appel", d.words[:2], n=1)


@read
def str_c_utf8(d):
    utf8 = ctypes.pythonapi.PyUnicode_AsUTF8
    utf8.restype, utf8.argtypes = ctypes.c_char_p, [ctypes.py_object]
    return utf8(d.text), utf8(d.latin), utf8(d.bmp), utf8(d.astral)


@read
def str_c_wide(d):
    return ctypes.c_wchar_p(d.astral).value, ctypes.create_unicode_buffer(d.bmp).value
