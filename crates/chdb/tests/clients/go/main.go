// clickhouse-go against a running weir-chdb, over HTTP as Grafana's ClickHouse data source uses it, or over the native
// protocol: `chdb-go-client http|native HOST:PORT golden.sql`. Ends with 0 if all is well.
package main

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
)

func main() {
	protocol := clickhouse.HTTP
	methods := []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate,
	}
	if os.Args[1] == "native" {
		protocol, methods = clickhouse.Native, methods[:3]
	}
	for _, method := range methods {
		if err := run(protocol, method); err != nil {
			fmt.Printf("%s: %v\n", method, err)
			os.Exit(1)
		}
	}
	fmt.Println("all is well with clickhouse-go")
}

type check struct {
	name string
	run  func(context.Context, clickhouse.Conn) error
}

func run(protocol clickhouse.Protocol, method clickhouse.CompressionMethod) error {
	options := &clickhouse.Options{
		Addr:        []string{os.Args[2]},
		Protocol:    protocol,
		Auth:        clickhouse.Auth{Database: "default", Username: "default"},
		Compression: &clickhouse.Compression{Method: method, Level: 1},
		// What Grafana's data source sets for a query.
		Settings: clickhouse.Settings{"max_execution_time": 60},
	}
	conn, err := clickhouse.Open(options)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := context.Background()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	checks := []check{
		{"schema", schema}, {"every type", everyType}, {"types", types}, {"time zones", timeZones}, {"insert", insert},
		{"external", external}, {"errors", errors}, {"shows", shows},
	}
	if protocol == clickhouse.HTTP {
		checks = append(checks, check{"session", session})
	}
	for _, check := range checks {
		if err := check.run(ctx, conn); err != nil {
			return fmt.Errorf("%s: %w", check.name, err)
		}
	}
	return nil
}

// schema makes the schema of weir-analytics and reads all of it.
func schema(ctx context.Context, conn clickhouse.Conn) error {
	text, err := os.ReadFile(os.Args[3])
	if err != nil {
		return err
	}
	for _, statement := range strings.Split(string(text), ";\n") {
		if statement = strings.TrimSpace(statement); statement != "" {
			if err := conn.Exec(ctx, statement); err != nil {
				return fmt.Errorf("%.60s: %w", statement, err)
			}
		}
	}
	insert := "INSERT INTO weir.access_events (ts, organization, path, client_ip, seq, stream, trace_id, policy_names, policy_verdicts, policy_us, attrs, sample_interval)" +
		" SELECT now64(6), 'o', '/p', toIPv6('::1'), number, 1, toFixedString('0123456789abcdef', 16), ['a', 'b'], ['continue', 'continue'], [1, 2], map('k', 'v'), 1 FROM numbers(1000)"
	if err := conn.Exec(ctx, insert); err != nil {
		return err
	}
	for _, table := range []string{"access_events", "stored_seqs", "gaps", "dead_letters", "streams", "consumers_1m", "links_1m", "policies_1m", "attempts_1m"} {
		if _, err := count(ctx, conn, "SELECT * FROM weir."+table); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	rows, err := count(ctx, conn, "SELECT * EXCEPT slow_trace, hex(argMaxMerge(slow_trace)) FROM weir.requests_1m GROUP BY ALL")
	if err != nil || rows == 0 {
		return fmt.Errorf("requests_1m: %d rows, %v", rows, err)
	}
	return nil
}

// everyType makes a table of each type that the schema has, and of what rows E3 and E5 of the cases name; fills it with
// values that the server makes; and reads them with the client, which must get what the server says of them as text.
func everyType(ctx context.Context, conn clickhouse.Conn) error {
	rows, err := conn.Query(ctx, "SELECT DISTINCT type FROM system.columns WHERE database = 'weir' ORDER BY type")
	if err != nil {
		return err
	}
	var kinds []string
	for rows.Next() {
		var kind string
		if err := rows.Scan(&kind); err != nil {
			return err
		}
		kinds = append(kinds, kind)
	}
	if err := rows.Err(); err != nil || len(kinds) < 20 {
		return fmt.Errorf("%d types, %v", len(kinds), err)
	}
	kinds = append(kinds, "DateTime('Asia/Tokyo')", "Nullable(DateTime('Asia/Tokyo'))", "Array(DateTime64(6, 'America/New_York'))",
		"Nullable(DateTime64(3, 'Asia/Tokyo'))", "Nullable(String)", "JSON", "Dynamic", "Variant(String, UInt64)")
	for _, kind := range kinds {
		if err := oneType(ctx, conn, kind); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
	}
	return nil
}

func oneType(ctx context.Context, conn clickhouse.Conn, kind string) error {
	value := fmt.Sprintf("SELECT number AS n, v FROM generateRandom('v %s', 7, 8, 3) LIMIT 50", strings.ReplaceAll(kind, "'", "\\'"))
	switch {
	case strings.HasPrefix(kind, "AggregateFunction("):
		value = "SELECT 1 AS n, argMaxState(toFixedString('0123456789abcdef', 16), toUInt64(5)) AS v"
	case strings.HasPrefix(kind, "SimpleAggregateFunction("):
		inner := strings.TrimSuffix(strings.SplitN(kind, ", ", 2)[1], ")")
		value = strings.ReplaceAll(value, strings.ReplaceAll(kind, "'", "\\'"), strings.ReplaceAll(inner, "'", "\\'"))
	case kind == "JSON":
		value = `SELECT number AS n, '{"a": ' || toString(number) || ', "b": ["x", "y"], "c": {"d": 1.5}}' AS v FROM numbers(50)`
	case kind == "Dynamic", strings.HasPrefix(kind, "Variant("):
		value = "SELECT number AS n, if(number % 2 = 0, toUInt64(number)::" + kind + ", toString(number)::" + kind + ") AS v FROM numbers(50)"
	}
	value = strings.Replace(value, "SELECT number AS n, v FROM", "SELECT rowNumberInAllBlocks() AS n, v FROM", 1)
	for _, sql := range []string{
		"DROP TABLE IF EXISTS one_type",
		"CREATE TABLE one_type (n UInt64, v " + kind + ") ENGINE = MergeTree ORDER BY n",
		"INSERT INTO one_type " + value,
	} {
		if err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	if strings.HasPrefix(kind, "AggregateFunction(") {
		return states(ctx, conn)
	}
	rows, err := conn.Query(ctx, "SELECT v, toString(v) FROM one_type ORDER BY n")
	if err != nil {
		return err
	}
	defer rows.Close()
	got := 0
	for rows.Next() {
		value := reflect.New(rows.ColumnTypes()[0].ScanType())
		var text *string
		if err := rows.Scan(value.Interface(), &text); err != nil {
			return fmt.Errorf("row %d: %w", got, err)
		}
		if err := same(kind, value.Elem().Interface(), text); err != nil {
			return fmt.Errorf("row %d: %w", got, err)
		}
		got++
	}
	if rows.Err() != nil || got != 50 {
		return fmt.Errorf("%d rows, %v", got, rows.Err())
	}
	return nil
}

// states reads one_type.v, a column of states of argMax. The client has no such type (clickhouse-go#1173): it refuses the
// column by its name, and goes on with the same connection. The server's value of it is a value like any other.
func states(ctx context.Context, conn clickhouse.Conn) error {
	_, err := count(ctx, conn, "SELECT v FROM one_type")
	if err == nil || !strings.Contains(err.Error(), `unsupported column type "AggregateFunction(argMax`) {
		return fmt.Errorf("a state by itself: %v", err)
	}
	for _, value := range []string{"finalizeAggregation(v)", "argMaxMerge(v)"} {
		var read string
		if err := conn.QueryRow(ctx, "SELECT "+value+" FROM one_type").Scan(&read); err != nil || read != "0123456789abcdef" {
			return fmt.Errorf("%s: read %q, %v", value, read, err)
		}
	}
	return nil
}

// same holds what the client read against the server's text, where both are simple.
func same(kind string, value any, text *string) error {
	if pointer := reflect.ValueOf(value); pointer.Kind() == reflect.Pointer {
		if pointer.IsNil() != (text == nil) {
			return fmt.Errorf("%v and %v", value, text)
		}
		if pointer.IsNil() {
			return nil
		}
		value = pointer.Elem().Interface()
	}
	var read string
	switch v := value.(type) {
	case time.Time:
		layout := "2006-01-02 15:04:05"
		switch {
		case kind == "Date":
			layout = "2006-01-02"
		case strings.Contains(kind, "DateTime64(6"):
			layout += ".000000"
		case strings.Contains(kind, "DateTime64(3"):
			layout += ".000"
		}
		read = v.Format(layout)
	case string, uint8, uint16, uint32, uint64:
		read = fmt.Sprint(v)
	default:
		return nil
	}
	if read != *text {
		return fmt.Errorf("%q and %q", read, *text)
	}
	return nil
}

// timeZones reads times of columns with a zone, nullable and in arrays: the zone is there with them.
func timeZones(ctx context.Context, conn clickhouse.Conn) error {
	var tokyo, york time.Time
	var nullable *time.Time
	var array []time.Time
	row := conn.QueryRow(ctx, "SELECT toDateTime(1767225600, 'Asia/Tokyo'), toDateTime64(1767225600, 3, 'America/New_York'), "+
		"toNullable(toDateTime(1767225600, 'Asia/Tokyo')), [toDateTime64(1767225600, 6, 'Asia/Tokyo')]")
	if err := row.Scan(&tokyo, &york, &nullable, &array); err != nil {
		return err
	}
	for at, each := range []struct {
		value time.Time
		zone  string
	}{{tokyo, "Asia/Tokyo"}, {york, "America/New_York"}, {*nullable, "Asia/Tokyo"}, {array[0], "Asia/Tokyo"}} {
		if each.value.Location().String() != each.zone || each.value.Unix() != 1767225600 {
			return fmt.Errorf("%d: %v is not of %s", at, each.value, each.zone)
		}
	}
	return nil
}

// types reads columns of every layout, in several blocks.
func types(ctx context.Context, conn clickhouse.Conn) error {
	rows, err := count(ctx, conn, `SELECT number AS n, toInt128(number) AS i, toFloat32(1.5) AS f, toDecimal128(1.5, 3) AS d,
		toString(number) AS s, toFixedString('ab', 2) AS fs, toLowCardinality(toString(number % 300)) AS l,
		CAST(if(number % 2 = 0, NULL, 'x'), 'LowCardinality(Nullable(String))') AS ln, toNullable(number) AS nu,
		range(number % 4) AS a, arrayMap(x -> toLowCardinality(toString(x)), range(number % 3)) AS la, [[number]] AS aa,
		map(toLowCardinality('k'), [1, 2]) AS m, tuple(1, 'z') AS t, CAST(tuple(1, 'z'), 'Tuple(a UInt8, b String)') AS tn,
		CAST('a' AS Enum8('a' = 1, 'b(' = 2)) AS e, toDate('2026-01-02') AS da, toDate32('2026-01-02') AS d32,
		toDateTime('2026-01-02 03:04:05', 'UTC') AS dt, toDateTime64('2026-01-02 03:04:05.123456', 6, 'UTC') AS d64,
		toIPv4('1.2.3.4') AS i4, toIPv6('::1') AS i6, generateUUIDv4() AS u, true AS b, (1., 2.)::Point AS p, toIntervalDay(1) AS iv
		FROM numbers(150000)`)
	if err != nil || rows != 150000 {
		return fmt.Errorf("%d rows, %v", rows, err)
	}
	return nil
}

func insert(ctx context.Context, conn clickhouse.Conn) error {
	if err := conn.Exec(ctx, "CREATE OR REPLACE TABLE go (a UInt64, s LowCardinality(String), m Map(String, UInt8), t DateTime64(6)) ENGINE = MergeTree ORDER BY a"); err != nil {
		return err
	}
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO go")
	if err != nil {
		return err
	}
	for n := range 1000 {
		if err := batch.Append(uint64(n), "s", map[string]uint8{"k": 1}, time.Now()); err != nil {
			return err
		}
	}
	if err := batch.Send(); err != nil {
		return err
	}
	return scan(ctx, conn, "SELECT count(), sum(a) FROM go", 1000, 499500)
}

func external(ctx context.Context, conn clickhouse.Conn) error {
	table, err := ext.NewTable("outside", ext.Column("c", "UInt64"))
	if err != nil {
		return err
	}
	for n := range 10 {
		if err := table.Append(uint64(n)); err != nil {
			return err
		}
	}
	return scan(clickhouse.Context(ctx, clickhouse.WithExternalTable(table)), conn, "SELECT count(), sum(c) FROM outside", 10, 45)
}

func errors(ctx context.Context, conn clickhouse.Conn) error {
	for sql, code := range map[string]string{
		"SELECT nosuch": "code: 47",
		"SELECT throwIf(number = 3000000, 'late') FROM numbers(4000000)": "code: 395",
	} {
		if _, err := count(ctx, conn, sql); err == nil || !strings.Contains(err.Error(), code) {
			return fmt.Errorf("%s: %v and not %s", sql, err, code)
		}
	}
	return nil
}

func session(ctx context.Context, conn clickhouse.Conn) error {
	kept := clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{"session_id": "go", "session_timeout": "60"}),
		clickhouse.WithParameters(clickhouse.Parameters{"p": "5"}))
	if err := conn.Exec(kept, "CREATE TEMPORARY TABLE IF NOT EXISTS kept (a UInt64)"); err != nil {
		return err
	}
	if err := scan(kept, conn, "SELECT count(), {p:UInt64} FROM kept", 0, 5); err != nil {
		return err
	}
	if _, err := count(ctx, conn, "SELECT * FROM kept"); err == nil {
		return fmt.Errorf("a temporary table is seen outside its session")
	}
	return nil
}

func shows(ctx context.Context, conn clickhouse.Conn) error {
	for _, sql := range []string{"SHOW TABLES", "SHOW DATABASES", "DESCRIBE TABLE go", "EXPLAIN SELECT 1", "EXISTS TABLE go", "SELECT timezone()",
		"SELECT name FROM system.databases", "SELECT a % 2 AS k, count() FROM go GROUP BY k WITH TOTALS"} {
		if rows, err := count(ctx, conn, sql); err != nil || rows == 0 {
			return fmt.Errorf("%s: %d rows, %v", sql, rows, err)
		}
	}
	if rows, err := count(ctx, conn, "SELECT 1 WHERE 0"); err != nil || rows != 0 {
		return fmt.Errorf("nothing: %d rows, %v", rows, err)
	}
	return nil
}

func count(ctx context.Context, conn clickhouse.Conn, sql string) (int, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}

func scan(ctx context.Context, conn clickhouse.Conn, sql string, wanted ...uint64) error {
	var first, second uint64
	if err := conn.QueryRow(ctx, sql).Scan(&first, &second); err != nil {
		return err
	}
	if first != wanted[0] || second != wanted[1] {
		return fmt.Errorf("%s: %d and %d, and not %v", sql, first, second, wanted)
	}
	return nil
}
