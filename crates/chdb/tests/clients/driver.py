"""clickhouse-driver, the native protocol's client of Python, against a running weir-chdb: `driver.py HOST:PORT golden.sql`.
Ends with 0 if all is well. The schema is made as weir-analytics makes it; every type of its columns, and what row E3 of
the cases adds, is created, inserted and read back; then streams, external tables, errors and sessions.
"""

import datetime as dt
import sys

from clickhouse_driver import Client
from clickhouse_driver.errors import ServerException

from values import EXTRA, same, statements, values

host, port = sys.argv[1].rsplit(":", 1)


def client(**options):
    return Client(host=host, port=int(port), **options)


def near(read, wanted):
    """This client makes times of fractions of binary numbers: what is within a microsecond is taken for the same."""
    if isinstance(read, (list, tuple)) and len(read) == len(wanted):
        return type(read)(near(*pair) for pair in zip(read, wanted))
    is_near = isinstance(read, dt.datetime) and read.tzinfo and abs(read - wanted) <= dt.timedelta(microseconds=1)
    return wanted if is_near else read


def every_type(ch):
    types = [row[0] for row in ch.execute("SELECT DISTINCT type FROM system.columns WHERE database = 'weir' ORDER BY type")]
    assert len(types) >= 20, types
    for name in types + EXTRA:
        ch.execute("DROP TABLE IF EXISTS one_type")
        ch.execute(f"CREATE TABLE one_type (n UInt8, v {name}) ENGINE = MergeTree ORDER BY n")
        if name.startswith("AggregateFunction("):
            ch.execute("INSERT INTO one_type SELECT 1, argMaxState(toFixedString('0123456789abcdef', 16), toUInt64(5))")
            read = ch.execute("SELECT finalizeAggregation(v) FROM one_type", settings={"strings_as_bytes": True})
            assert read in ([(b"0123456789abcdef",)], [("0123456789abcdef",)]), (name, read)
            continue
        wanted = values(name)
        # This client takes text or bytes, one for all strings of a query.
        binary = {"strings_as_bytes": True} if "FixedString" in name else {}
        assert ch.execute("INSERT INTO one_type (n, v) VALUES", list(enumerate(wanted)), settings=binary) == len(wanted)
        read = [row[0] for row in ch.execute("SELECT v FROM one_type ORDER BY n", settings=binary)]
        assert same(name, near(read, wanted), wanted), (name, read, wanted)
    return types


def time_zones(ch):
    at = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    sql = (
        "SELECT toDateTime(1767225600, 'Asia/Tokyo'), toDateTime64(1767225600, 3, 'America/New_York'),"
        " toNullable(toDateTime(1767225600, 'Asia/Tokyo')), [toDateTime64(1767225600, 6, 'Asia/Tokyo')]"
    )
    tokyo, york, nullable, array = ch.execute(sql)[0]
    for value, offset in [(tokyo, 9), (york, -5), (nullable, 9), (array[0], 9)]:
        assert value == at and value.utcoffset() == dt.timedelta(hours=offset), value


def the_rest(ch):
    assert ch.execute("SELECT %(a)s", {"a": "x'\n"}) == [("x'\n",)]
    external = [{"name": "ext", "structure": [("n", "UInt32"), ("s", "String")], "data": [{"n": 1, "s": "a"}, {"n": 2, "s": "b"}]}]
    assert ch.execute("SELECT sum(n), groupArray(s) FROM ext", external_tables=external) == [(3, ["a", "b"])]
    for packing in ["lz4", False]:
        rows = client(compression=packing).execute_iter("SELECT number FROM numbers(500000)")
        assert sum(1 for _ in rows) == 500_000, packing
    ch.execute("CREATE TEMPORARY TABLE mine (a UInt8)")
    ch.execute("INSERT INTO mine VALUES", [(1,), (2,)])
    assert ch.execute("SELECT sum(a) FROM mine") == [(3,)]
    for sql, code in {"SELECT nosuch": 47, "SELECT throwIf(number = 3000000, 'late') FROM numbers(4000000)": 395}.items():
        try:
            ch.execute(sql)
            raise AssertionError("no error")
        except ServerException as error:
            assert error.code == code, error


if __name__ == "__main__":
    ch = client()
    for statement in statements(sys.argv[2]):
        ch.execute(statement)
    types = every_type(ch)
    time_zones(ch)
    the_rest(ch)
    print(f"{len(types)} types of columns and the rest are well with clickhouse-driver")
