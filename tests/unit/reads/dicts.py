"""Reading dicts."""
# Every way to spell a reading is wanted here, the old ones too.

import collections
import io
import operator
import types

from .data import OTHER, read


@read
def dict_literal_key(d):
    return d.config["name"], d.config["port"], d.config["städtchen"]


@read
def dict_nested_literal_key(d):
    return d.config["limits"]["hard"] + d.config["limits"]["soft"]


@read
def dict_variable_key(d):
    return [d.config[key] for key in ("port", "ratio", "nothing")]


@read
def dict_mixed_keys(d):
    m = d.mixed
    return m[1], m["a"], m[(1, "b")], m[None], m[2.5], m[b"k"], m[-1], m[True], m[1.0]


@read
def dict_own_keys(d):
    return [d.wide[key] for key in d.wide]


@read
def dict_get(d):
    return d.config.get("name"), d.config.get("missing"), d.config.get("missing", 7)


@read
def dict_in(d):
    return "name" in d.config, "missing" in d.config, None in d.mixed, 99 not in d.mixed


@read
def dict_missing(d):
    try:
        return d.config["missing"]
    except KeyError as error:
        return error.args


@read
def dict_iterate(d):
    out = []
    for key in d.config:
        out.append(key)
    return out


@read
def dict_items(d):
    return [(k, v) for k, v in d.config.items()]


@read
def dict_values(d):
    return list(d.config.values()), sum(d.wide.values())


@read
def dict_keys_view(d):
    keys = d.config.keys()
    return len(keys), "port" in keys, keys & {"port", "x"}, keys - {"port"}, keys == set(d.config)


@read
def dict_items_view(d):
    items = d.wide.items()
    return ("key-3", 3000) in items, ("key-3", 1) in items, len(items), items.isdisjoint([1])


@read
def dict_view_mapping(d):
    return d.config.keys().mapping["port"], list(d.config.items().mapping)


@read
def dict_reversed(d):
    return (
        list(reversed(d.config)),
        list(reversed(d.wide.items())),
        next(reversed(d.mixed.values())),
    )


@read
def dict_len_and_bool(d):
    return len(d.config), bool(d.config), not d.empty_dict, len(d.empty_dict)


@read
def dict_equal(d):
    return d.config == OTHER.config, OTHER.config == d.config, d.config != OTHER.mixed, d.mixed == 1


@read
def dict_repr(d):
    return repr(d.mixed), str(d.config)


@read
def dict_unhashable(d):
    try:
        return hash(d.config)
    except TypeError as error:
        return type(error)


@read
def dict_copy(d):
    plain = d.config.copy()
    plain["name"] = "changed"
    plain["new"] = 1
    del plain["port"]
    return plain, type(plain)


@read
def dict_copy_of_shared_shape(d):
    plain = d.records[2].copy()
    plain["name"] = "changed"
    plain["score"] += 1
    return plain, type(plain)


@read
def dict_copy_of_shared_shape_grows(d):
    plain = d.records[1].copy()
    plain["new"] = 1
    plain.setdefault("newer", 2)
    return plain


@read
def dict_copy_of_shared_shape_shrinks(d):
    plain = d.records[3].copy()
    del plain["id"]
    plain.pop("tags")
    plain["id"] = 5
    last = plain.popitem()
    plain.clear()
    return last, plain


@read
def dict_from_frozen(d):
    plain = dict(d.wide)
    plain["new"] = 1
    plain.pop("key-7")
    plain.update(d.config)
    return len(plain), dict(d.mixed), dict(d.records[0], more=1)


@read
def dict_from_pairs(d):
    return dict(d.rows), dict(zip(d.words, d.small, strict=True)), dict.fromkeys(d.words, 1)


@read
def dict_update_with_frozen(d):
    plain = {"a": 1}
    plain.update(d.config)
    plain.update(d.records[0])
    plain |= d.config["limits"]
    return plain


@read
def dict_display_unpacking(d):
    return {**d.config, "x": 1}, {"x": 1, **d.records[1]}


@read
def dict_union(d):
    return d.config | {"x": 1}, {"x": 1} | d.config, d.records[0] | d.records[1], type(d.mixed | {})


@read
def dict_comprehension(d):
    return {k: v for k, v in d.wide.items() if v > 20_000}


@read
def dict_merge_views(d):
    return sorted(d.records[0].keys() | d.config.keys()), d.records[0].keys() ^ {"id"}


@read
def dict_as_kwargs(d):
    def call(*, name, port, **rest):
        return name, port, len(rest)

    return call(**d.config)


@read
def dict_as_kwargs_of_c(d):
    out = io.StringIO()
    print(*d.words, file=out, **d.kwargs)
    return out.getvalue()


@read
def dict_match_mapping(d):
    match d.config:
        case {"name": "other"}:
            return None
        case {"name": str(name), "limits": {"hard": int(hard)}, **rest}:
            return name, hard, rest


@read
def dict_match_class(d):
    match d.mixed:
        case list():
            return "list"
        case dict():
            return "dict"


@read
def dict_constructors(d):
    return (
        collections.OrderedDict(d.config),
        collections.defaultdict(list, d.config),
        collections.UserDict(d.config).data,
        types.MappingProxyType(d.config)["port"],
    )


@read
def dict_counter(d):
    return collections.Counter(d.wide).most_common(2), collections.Counter(d.text)["o"]


@read
def dict_chain_map(d):
    chain = collections.ChainMap({"a": 1}, d.config, d.wide)
    return chain["name"], chain["key-5"], chain.get("missing"), len(chain)


@read
def dict_namespace(d):
    return types.SimpleNamespace(**d.records[2])


@read
def dict_sorted_items(d):
    return sorted(d.wide.items(), key=operator.itemgetter(1), reverse=True)[:3]
