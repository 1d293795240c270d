"""clickhouse-connect against a running weir-chdb: `connect.py HOST:PORT golden.sql`. Ends with 0 if all is well.

The schema is made as weir-analytics makes it; every type of its columns is created, inserted and read back; then
what else the client does by itself: sessions, parameters, external tables, streams, settings, errors.
"""

import datetime as dt
import ipaddress
import sys
import uuid

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

UTC = dt.timezone.utc
host, port = sys.argv[1].rsplit(":", 1)


def client(**options):
    return clickhouse_connect.get_client(host=host, port=int(port), **options)


def values(name):
    """Three values of a type, as Python has them: the least, one in the middle, the greatest worth trying."""
    if name.startswith("LowCardinality("):
        return values(name[len("LowCardinality(") : -1])
    if name.startswith("SimpleAggregateFunction("):
        return values(name.split(", ", 1)[1][:-1])
    if name.startswith("Array("):
        inner = values(name[len("Array(") : -1])
        return [[], inner[:1], inner]
    if name.startswith("Tuple("):
        return list(zip(*(values(part) for part in name[len("Tuple(") : -1].split(", "))))
    if name == "Map(LowCardinality(String), String)":
        return [{}, {"k": "v"}, {"k": "", "ä": "x" * 300}]
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
    return {
        "String": ["", "plain", "ä\0\n\t'\\" * 100],
        "Date": [dt.date(1970, 1, 1), dt.date(2026, 11, 23), dt.date(2149, 6, 6)],
        "DateTime('UTC')": [dt.datetime(1970, 1, 1, tzinfo=UTC), dt.datetime(2026, 11, 23, 9, 8, 7, tzinfo=UTC), dt.datetime(2106, 2, 7, 6, 28, 15, tzinfo=UTC)],
        "IPv6": [ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::ffff:10.0.0.1"), ipaddress.IPv6Address("ffff:" * 7 + "ffff")],
        "UUID": [uuid.UUID(int=0), uuid.UUID("01234567-89ab-cdef-0123-456789abcdef"), uuid.UUID(int=2**128 - 1)],
    }[name]


def same(name, read, wanted):
    if "IPv6" in name:
        # The client gives mapped addresses as IPv4.
        return [ipaddress.IPv6Address("::ffff:" + str(x)) if x.version == 4 else x for x in read] == wanted
    if "DateTime" in name:
        return [x if x.tzinfo else x.replace(tzinfo=UTC) for x in read] == wanted
    return list(read) == wanted


def schema(ch, path):
    statements = [part.strip().rstrip(";") for part in open(path).read().split(";\n")]
    for statement in statements:
        text = "\n".join(line for line in statement.splitlines() if not line.startswith("--")).strip()
        if text:
            ch.command(text)


def every_type(ch):
    types = [row[0] for row in ch.query("SELECT DISTINCT type FROM system.columns WHERE database = 'weir' ORDER BY type").result_rows]
    assert len(types) >= 20, types
    for name in types:
        ch.command("DROP TABLE IF EXISTS one_type")
        ch.command(f"CREATE TABLE one_type (n UInt8, v {name}) ENGINE = MergeTree ORDER BY n")
        if name.startswith("AggregateFunction(argMax, FixedString(16), UInt64)"):
            # No client inserts a state; it is made, and read as its value.
            ch.command("INSERT INTO one_type SELECT 1, argMaxState(toFixedString('0123456789abcdef', 16), toUInt64(5))")
            read = ch.query("SELECT finalizeAggregation(v) FROM one_type").result_rows
            assert read == [(b"0123456789abcdef",)], (name, read)
            continue
        wanted = values(name)
        summary = ch.insert("one_type", list(enumerate(wanted)), column_names=["n", "v"])
        assert summary.written_rows == 3, summary.summary
        read = ch.query("SELECT v FROM one_type ORDER BY n").result_columns[0]
        assert same(name, read, wanted), (name, read, wanted)
    return types


def every_table(ch):
    """A row into the raw table is in every roll-up, and every table is read whole."""
    columns = ch.query("SELECT name, type FROM system.columns WHERE database = 'weir' AND table = 'access_events' ORDER BY position").result_rows
    rows = [[values(kind)[1] for _, kind in columns] for _ in range(5)]
    names = [name for name, _ in columns]
    for at, row in enumerate(rows):
        row[names.index("seq")] = at + 1
    ch.insert("access_events", rows, column_names=names, database="weir")
    read = ch.query("SELECT * FROM weir.access_events ORDER BY seq")
    assert read.row_count == 5 and list(read.column_names) == names
    for table, sql in {
        "requests_1m": "SELECT sum(n), hex(argMaxMerge(slow_trace)) FROM weir.requests_1m",
        "requests_1h": "SELECT sum(n), hex(argMaxMerge(slow_trace)) FROM weir.requests_1h",
        "stored_seqs": "SELECT sum(n), min(first) FROM weir.stored_seqs",
    }.items():
        count = ch.query(sql).first_row[0]
        assert count == (5 * values("UInt32")[1] if table.startswith("requests") else 5), (table, count)
    for (table,) in ch.query("SELECT name FROM system.tables WHERE database = 'weir' AND engine LIKE '%MergeTree'").result_rows:
        plain = ch.query(f"SELECT name FROM system.columns WHERE database = 'weir' AND table = '{table}' AND type NOT LIKE 'Aggregate%'").result_columns[0]
        ch.query(f"SELECT {', '.join(plain)} FROM weir.{table}")


def the_rest(ch):
    # A session is made by the client itself.
    ch.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    ch.insert("mine", [[1], [2]], column_names=["a"])
    assert ch.query("SELECT sum(a) FROM mine").first_row == (3,)
    ch.command("SET max_block_size = 77")
    assert ch.query("SELECT getSetting('max_block_size')", settings={"max_threads": 1}).first_row == (77,)
    assert client().query("SELECT getSetting('max_block_size')").first_row != (77,)
    # Parameters, bound by the server and by the client.
    assert ch.query("SELECT {a:String}, {b:Array(UInt8)}", parameters={"a": "x'\n", "b": [1, 2]}).first_row == ("x'\n", [1, 2])
    assert ch.query("SELECT %(a)s", parameters={"a": "y'"}).first_row == ("y'",)
    # External tables.
    external = ExternalData(file_name="ext.csv", data=b"1,a\n2,b\n", fmt="CSV", structure="n UInt8, s String")
    assert ch.query("SELECT sum(n), groupArray(s) FROM ext", external_data=external).first_row == (3, ["a", "b"])
    # Many blocks, streamed, in each packing.
    for packing in ["lz4", "zstd", "gzip", False]:
        with client(compress=packing).query_row_block_stream("SELECT number FROM numbers(500000)") as stream:
            assert sum(len(block) for block in stream) == 500_000, packing
    rows = [[n, "s"] for n in range(50_000)]
    ch.command("CREATE TABLE many (n UInt64, s LowCardinality(String)) ENGINE = MergeTree ORDER BY n")
    for packing in ["lz4", "zstd", "gzip", False]:
        client(compress=packing).insert("many", rows, column_names=["n", "s"])
    assert ch.command("SELECT count() FROM many") == 200_000
    assert ch.raw_query("SELECT 1", fmt="JSONEachRow") == b'{"1":1}\n'
    assert ch.query("SELECT number FROM numbers(5) LIMIT 0").column_names == ("number",)
    assert ch.query("SELECT 1 WHERE 0").row_count == 0
    # Errors, before and after the answer has begun.
    try:
        ch.query("SELECT nosuch")
        raise AssertionError("no error")
    except DatabaseError as error:
        assert error.code == 47, error
    try:
        with ch.query_row_block_stream("SELECT throwIf(number = 3000000, 'late') FROM numbers(4000000)") as stream:
            for _ in stream:
                pass
        raise AssertionError("no error")
    except StreamFailureError as error:
        assert "late" in str(error), error


if __name__ == "__main__":
    ch = client()
    assert ch.ping()
    schema(ch, sys.argv[2])
    types = every_type(ch)
    every_table(ch)
    the_rest(ch)
    print(f"{len(types)} types of columns and the rest are well with clickhouse-connect {clickhouse_connect.__version__ if hasattr(clickhouse_connect, '__version__') else ''}")
