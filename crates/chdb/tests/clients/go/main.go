// clickhouse-go over HTTP, as Grafana's ClickHouse data source uses it, against a running weir-chdb:
// `chdb-go-client HOST:PORT golden.sql [user password]`. Ends with 0 if all is well.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
)

func main() {
	methods := []clickhouse.CompressionMethod{
		clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD,
		clickhouse.CompressionGZIP, clickhouse.CompressionDeflate,
	}
	for _, method := range methods {
		if err := run(method); err != nil {
			fmt.Printf("%s: %v\n", method, err)
			os.Exit(1)
		}
	}
	fmt.Println("all is well with clickhouse-go")
}

func run(method clickhouse.CompressionMethod) error {
	options := &clickhouse.Options{
		Addr:        []string{os.Args[1]},
		Protocol:    clickhouse.HTTP,
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
	checks := []struct {
		name string
		run  func(context.Context, clickhouse.Conn) error
	}{
		{"schema", schema}, {"types", types}, {"insert", insert}, {"external", external},
		{"errors", errors}, {"session", session}, {"shows", shows},
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
	text, err := os.ReadFile(os.Args[2])
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
	insert := "INSERT INTO weir.access_events (ts, organization, path, client_ip, seq, stream, trace_id, policy_names, policy_us, attrs, sample_interval)" +
		" SELECT now64(6), 'o', '/p', toIPv6('::1'), number, 1, toFixedString('0123456789abcdef', 16), ['a', 'b'], [1, 2], map('k', 'v'), 1 FROM numbers(1000)"
	if err := conn.Exec(ctx, insert); err != nil {
		return err
	}
	for _, table := range []string{"access_events", "stored_seqs", "gaps", "dead_letters", "streams"} {
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
