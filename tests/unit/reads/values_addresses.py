"""UUID; addresses, networks and interfaces of IP."""
# Every way to spell a reading is wanted here, the old ones too.
# ruff: noqa: RUF015, UP031

import copy
import ipaddress
import operator
import pickle
import uuid

from .families import Family, instances

TEXT = "12345678-1234-5678-1234-567812345678"


def make_uuids():
    return {
        "one": uuid.UUID(TEXT),
        "equal": uuid.UUID(TEXT),
        "other": uuid.uuid5(uuid.NAMESPACE_DNS, "example.org"),
        "third": uuid.uuid3(uuid.NAMESPACE_DNS, "example.org"),
        "timed": uuid.UUID("c232ab00-9414-11ec-b3c8-9f6bdeced846"),
        "small": uuid.UUID(int=5),
        "keys": {uuid.UUID(TEXT): "one"},
        "members": {uuid.UUID(TEXT), uuid.UUID(int=5)},
    }


family = Family("UUID", make_uuids)
instances(family, uuid.UUID, lambda o: o.int, "int")
family.reads(
    exact_type=lambda d: type(d.one) is uuid.UUID,
    number=lambda d: (d.one.int, int(d.one)),
    text=lambda d: (str(d.one), f"{d.one}", "%s" % d.other),
    represented=lambda d: repr(d.one),
    hexadecimal=lambda d: (d.one.hex, d.one.urn),
    octets=lambda d: (d.one.bytes, d.one.bytes_le),
    parts=lambda d: d.one.fields,
    low=lambda d: (d.one.time_low, d.one.time_mid, d.one.time_hi_version),
    clock=lambda d: (d.timed.time, d.timed.clock_seq, d.timed.clock_seq_low, d.timed.node),
    version=lambda d: (d.other.version, d.third.version, d.timed.version, d.one.version),
    variant=lambda d: (d.other.variant, d.one.variant),
    safety=lambda d: d.one.is_safe,
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other, d.one == TEXT),
    equality_of_plain=lambda d: (uuid.UUID(TEXT) == d.one, d.one == uuid.UUID(TEXT)),
    order=lambda d: (d.one < d.other, d.one >= d.equal, sorted([d.other, d.one, d.small])),
    hashed=lambda d: (hash(d.one) == hash(d.equal), hash(d.one) == hash(uuid.UUID(TEXT))),
    as_key=lambda d: (d.keys[d.one], d.keys[uuid.UUID(TEXT)], d.keys.get(d.other)),
    as_member=lambda d: (d.one in d.members, uuid.UUID(int=5) in d.members, d.other in d.members),
    as_new_key=lambda d: {d.one: 1}[d.equal],
    namespace_of=lambda d: uuid.uuid5(d.other, "x"),
    no_dict=lambda d: hasattr(d.one, "__dict__"),
    slots=lambda d: [hasattr(d.one, n) for n in uuid.UUID.__slots__],
    several_attributes=lambda d: operator.attrgetter("hex", "int")(d.one),
    largest=lambda d: max(d.one, d.small),
    bytes_of_int=lambda d: d.one.int.to_bytes(16, "big") == d.one.bytes,
)


@family.read
def matched(d):
    match d.one:
        case uuid.UUID(int=n, version=v):
            return n, v
    return None


# ---- addresses --------------------------------------------------------------------------------


def make_addresses():
    return {
        "one": ipaddress.ip_address("192.168.1.77"),
        "equal": ipaddress.ip_address("192.168.1.77"),
        "other": ipaddress.ip_address("8.8.8.8"),
        "six": ipaddress.ip_address("2001:db8::1"),
        "scoped": ipaddress.ip_address("fe80::1%eth0"),
        "mapped": ipaddress.ip_address("::ffff:10.0.0.1"),
        "network": ipaddress.ip_network("192.168.1.0/28"),
        "wide": ipaddress.ip_network("10.0.0.0/8"),
        "network_six": ipaddress.ip_network("2001:db8::/120"),
        "interface": ipaddress.ip_interface("192.168.1.77/24"),
        "interface_six": ipaddress.ip_interface("2001:db8::5/64"),
        "keys": {ipaddress.ip_address("8.8.8.8"): 1, ipaddress.ip_network("10.0.0.0/8"): 2},
        "members": {ipaddress.ip_address("8.8.8.8"), ipaddress.ip_interface("10.1.1.1/8")},
    }


family = Family("IP addresses", make_addresses)
instances(family, ipaddress.IPv4Address, str, "version")
family.reads(
    text=lambda d: (str(d.one), str(d.six), str(d.network), str(d.interface)),
    represented=lambda d: (repr(d.one), repr(d.network), repr(d.interface_six)),
    number=lambda d: (int(d.one), int(d.six), d.one.packed, d.six.packed),
    formatted=lambda d: (f"{d.one:x}", f"{d.one:s}", f"{d.one:b}"),
    exploded=lambda d: (d.six.exploded, d.six.compressed, d.scoped.scope_id),
    pointer=lambda d: (d.one.reverse_pointer, d.six.reverse_pointer),
    versions=lambda d: (d.one.version, d.six.version, d.one.max_prefixlen),
    privacy=lambda d: (d.one.is_private, d.other.is_private, d.other.is_global),
    categories=lambda d: (d.one.is_multicast, d.one.is_loopback, d.scoped.is_link_local),
    mapped=lambda d: (d.mapped.ipv4_mapped, d.six.ipv4_mapped, d.six.teredo),
    added=lambda d: (d.one + 1, d.six - 1),
    equality=lambda d: (d.one == d.equal, d.one != d.equal, d.one == d.other, d.one == d.six),
    equality_of_plain=lambda d: (
        ipaddress.ip_address("8.8.8.8") == d.other,
        d.wide == ipaddress.ip_network("10.0.0.0/8"),
    ),
    order=lambda d: (d.one > d.other, sorted([d.one, d.other]), d.wide < d.network),
    hashed=lambda d: (hash(d.one) == hash(d.equal), hash(d.wide) == hash(d.wide)),
    as_key=lambda d: (d.keys[d.other], d.keys[d.wide], d.keys[ipaddress.ip_address("8.8.8.8")]),
    as_member=lambda d: (d.other in d.members, d.one in d.members),
    in_network=lambda d: (d.one in d.network, d.one in d.wide, d.interface.ip in d.network),
    network_parts=lambda d: (d.network.prefixlen, d.network.with_netmask, d.network.with_hostmask),
    network_address=lambda d: (d.network.network_address, d.wide.network_address),
    broadcast_recomputed=lambda d: (d.network.broadcast_address, d.network.num_addresses),
    masks=lambda d: (d.network.netmask, d.network.hostmask),
    network_privacy=lambda d: (d.network.is_private, d.wide.is_global),
    overlap=lambda d: (d.network.overlaps(d.wide), d.network.subnet_of(d.wide)),
    network_item=lambda d: (d.network[3], d.network[-1], d.network_six[5]),
    interface_parts=lambda d: (d.interface.ip, d.interface.network, d.interface.netmask),
    interface_text=lambda d: (d.interface.with_prefixlen, d.interface_six.with_prefixlen),
    interface_equality=lambda d: d.interface == ipaddress.ip_interface("192.168.1.77/24"),
    isinstance_of_network=lambda d: isinstance(d.network, ipaddress.IPv4Network),
    several_attributes=lambda d: operator.attrgetter("version", "is_private")(d.one),
    variables=lambda d: sorted(vars(d.interface)),
)
family.heavy(
    hosts=lambda d: list(d.network.hosts())[:3],
    iterated=lambda d: [str(a) for a in d.network][1],
    subnets=lambda d: list(d.network.subnets())[0],
    supernet=lambda d: d.network.supernet(),
    summarized=lambda d: list(ipaddress.summarize_address_range(d.other, d.other + 3)),
    networks_pickled=lambda d: pickle.loads(pickle.dumps((d.network, d.interface_six))),
    networks_copied=lambda d: (copy.copy(d.network), copy.deepcopy(d.interface)),
)


@family.read
def matched_network(d):
    match d.network:
        case ipaddress.IPv4Network(prefixlen=28, version=v):
            return v
    return None
