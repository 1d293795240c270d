"""Values of every type of a column that the schema has, for the clients of Python, and how the schema is read."""

import datetime as dt
import ipaddress
import uuid
import zoneinfo

UTC = dt.timezone.utc

# What row E3 of the cases names beside the types of the schema: time zones, nullable and in arrays.
EXTRA = [
    "DateTime('Asia/Tokyo')",
    "Nullable(DateTime('Asia/Tokyo'))",
    "Array(DateTime64(6, 'America/New_York'))",
    "Nullable(DateTime64(3, 'Asia/Tokyo'))",
    "Nullable(String)",
]


UTC_TIMES = [dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2026, 11, 23, 9, 8, 7, tzinfo=UTC), dt.datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)]


def values(name):
    """Three values of a type, as Python has them: the least, one in the middle, the greatest worth trying."""
    if name.startswith("LowCardinality("):
        return values(name[len("LowCardinality(") : -1])
    if name.startswith("SimpleAggregateFunction("):
        return values(name.split(", ", 1)[1][:-1])
    if name.startswith("Nullable("):
        return [None, *values(name[len("Nullable(") : -1])[1:]]
    if name.startswith("Array("):
        inner = values(name[len("Array(") : -1])
        return [[], inner[:1], inner]
    if name.startswith("Tuple("):
        return list(zip(*(values(part) for part in name[len("Tuple(") : -1].split(", "))))
    if name == "Map(LowCardinality(String), String)":
        return [{}, {"k": "v"}, {"k": "", "ä": "x" * 300}]
    if name == "Map(LowCardinality(String), UInt64)":
        return [{}, {"k": 1}, {"": 0, "ä": 2**64 - 1}]
    if name == "Map(UInt16, UInt64)":
        return [{}, {1: 2}, {0: 0, 65535: 2**64 - 1}]
    if name.startswith("UInt"):
        top = 2 ** int(name[4:]) - 1
        return [0, top // 3, top]
    if name.startswith("FixedString("):
        width = int(name[12:-1])
        return [bytes(width), bytes(range(width)), b"\xff" * width]
    if name.startswith("DateTime64("):
        micros = 123456 if name.startswith("DateTime64(6") else 123000
        return [dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2026, 11, 23, 9, 8, 7, micros, tzinfo=UTC), dt.datetime(2299, 12, 31, 23, 59, 59, micros, tzinfo=UTC)]
    if name.startswith("DateTime('"):
        # Of the same moments, whatever the zone.
        zone = zoneinfo.ZoneInfo(name.split("'")[1])
        return [at.astimezone(zone) for at in values("DateTime('UTC')")] if name != "DateTime('UTC')" else UTC_TIMES
    return {
        # Those that both widths can hold.
        "Float32": [0.0, 0.5, -(2.0**100)],
        "Float64": [0.0, 0.1, -1.7976931348623157e308],
        "String": ["", "plain", "ä\0\n\t'\\" * 100],
        "Date": [dt.date(1970, 1, 1), dt.date(2026, 11, 23), dt.date(2149, 6, 6)],
        "IPv6": [ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::ffff:10.0.0.1"), ipaddress.IPv6Address("ffff:" * 7 + "ffff")],
        "UUID": [uuid.UUID(int=0), uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"), uuid.UUID(int=2**128 - 1)],
    }[name]


def same(name, read, wanted):
    if "IPv6" in name:
        # The client gives mapped addresses as IPv4.
        return [ipaddress.IPv6Address("::ffff:" + str(x)) if x.version == 4 else x for x in read] == wanted
    if "DateTime" in name:
        return aware(list(read)) == aware(wanted)
    return list(read) == wanted


def aware(value):
    """Times as moments: those without a zone are of UTC."""
    if isinstance(value, (list, tuple)):
        return [aware(each) for each in value]
    return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC) if isinstance(value, dt.datetime) else value


def statements(path):
    """The statements of a file, without comments."""
    for part in open(path).read().split(";\n"):
        text = "\n".join(line for line in part.splitlines() if not line.startswith("--")).strip().rstrip(";")
        if text:
            yield text
