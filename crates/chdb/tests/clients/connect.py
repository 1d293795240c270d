"""clickhouse-connect against a running weir-chdb: `connect.py HOST:PORT golden.sql`. Ends with 0 if all is well.

The schema is made as weir-analytics makes it; every type of its columns is created, inserted and read back; then
what else the client does by itself: sessions, parameters, external tables, streams, settings, errors.
"""

import datetime as dt
import sys

import clickhouse_connect
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from values import EXTRA, same, statements, values

host, port = sys.argv[1].rsplit(":", 1)


def client(**options):
    return clickhouse_connect.get_client(host=host, port=int(port), **options)


def every_type(ch):
    types = [row[0] for row in ch.query("SELECT DISTINCT type FROM system.columns WHERE database = 'weir' ORDER BY type").result_rows]
    assert len(types) >= 20, types
    for name in types + EXTRA:
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


def time_zones(ch):
    """The zone of a column reaches the client, nullable and in arrays (row E3 of the cases)."""
    at = dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)
    sql = (
        "SELECT toDateTime(1767225600, 'Asia/Tokyo'), toDateTime64(1767225600, 3, 'America/New_York'),"
        " toNullable(toDateTime(1767225600, 'Asia/Tokyo')), [toDateTime64(1767225600, 6, 'Asia/Tokyo')]"
    )
    tokyo, york, nullable, array = ch.query(sql).first_row
    for value, offset in [(tokyo, 9), (york, -5), (nullable, 9), (array[0], 9)]:
        assert value == at and value.utcoffset() == dt.timedelta(hours=offset), value


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
    for statement in statements(sys.argv[2]):
        ch.command(statement)
    types = every_type(ch)
    every_table(ch)
    time_zones(ch)
    the_rest(ch)
    print(f"{len(types)} types of columns and the rest are well with clickhouse-connect {clickhouse_connect.__version__ if hasattr(clickhouse_connect, '__version__') else ''}")
