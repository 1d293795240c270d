//! What of the tables a reader may see, as ClickHouse enforces it.
//!
//! The setting `additional_table_filters` has the engine add a condition to each reading of a table, in subqueries and
//! joins too, so that it does not depend on how a query is written. Every table has one here: those with an organization
//! by it, those of streams by whose stream it is, and all others, ClickHouse's own among them, show nothing. A table that
//! a migration adds without a place here fails a test.

use crate::schema::{ROLLUPS, Schema};

/// Organizations and environments; `None` for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    pub organizations: Option<Vec<String>>,
    pub environments: Option<Vec<String>>,
}

/// Tables besides the roll-ups that have an organization and an environment.
const OWNED: [&str; 4] = ["access_events", "streams", "stream_reports", "gateway_gauges"];
/// Tables that say of a stream by its number alone.
const OF_STREAMS: [&str; 7] =
    ["stored_seqs", "gaps", "dead_letters", "report_history", "audits", "stream_accounts", "acknowledgements"];
/// Tables that belong to nobody.
const OF_NOBODY: [&str; 7] =
    ["schema_migrations", "barrier", "leases", "lease_renewals", "retired_leases", "dead_chunks", "rollup_fills"];
/// Tables of ClickHouse that the dashboards read.
const OF_CLICKHOUSE: [&str; 1] = ["system.parts"];

impl Scope {
    /// Whether everything may be seen.
    pub fn is_all(&self) -> bool {
        self.organizations.is_none() && self.environments.is_none()
    }

    /// The value of `additional_table_filters` for the tables of `schema`.
    pub(crate) fn filters(&self, schema: &Schema) -> String {
        let owned = self.condition();
        let mut filters = Vec::new();
        // On a cluster a query reads the table of all shards, and each shard its own, where the condition is applied. A
        // stream's rows are all on the shard of its reports.
        let of_streams = format!("stream IN (SELECT stream FROM {} WHERE {owned})", schema.local("stream_reports"));
        let mut suffixes = vec!["", schema.layout.local_suffix()];
        suffixes.dedup();
        for suffix in suffixes {
            let table = |name: &str| format!("{}.{name}{suffix}", schema.database);
            let rollups = ROLLUPS.iter().map(|rollup| rollup.table);
            filters.extend(rollups.chain(OWNED).map(|name| (table(name), owned.clone())));
            filters.extend(OF_STREAMS.iter().map(|name| (table(name), of_streams.clone())));
            filters.extend(OF_NOBODY.iter().map(|name| (table(name), "0".to_owned())));
        }
        filters.extend(OF_CLICKHOUSE.iter().map(|name| ((*name).to_owned(), "0".to_owned())));
        let pairs: Vec<_> =
            filters.iter().map(|(table, condition)| format!("{}: {}", literal(table), literal(condition))).collect();
        format!("{{{}}}", pairs.join(", "))
    }

    fn condition(&self) -> String {
        let parts = [("organization", &self.organizations), ("environment", &self.environments)];
        let one_of = |(column, names): (&str, &Option<Vec<String>>)| {
            let names: Vec<_> = names.as_ref()?.iter().map(|name| literal(name)).collect();
            Some(format!("{column} IN ({})", names.join(", ")))
        };
        let conditions: Vec<_> = parts.into_iter().filter_map(one_of).collect();
        if conditions.is_empty() { "1".to_owned() } else { conditions.join(" AND ") }
    }
}

/// A string literal of ClickHouse's SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Layout;

    fn scope(organizations: &[&str], environments: Option<&[&str]>) -> Scope {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Scope { organizations: Some(owned(organizations)), environments: environments.map(owned) }
    }

    #[test]
    fn every_table_has_a_filter() {
        for schema in [Schema::single("weir"), Schema { layout: Layout::Cluster("c".into()), ..Schema::single("weir") }]
        {
            let filters = scope(&["acme"], None).filters(&schema);
            let tables: Vec<_> = schema
                .render()
                .lines()
                .filter_map(|line| line.strip_prefix("CREATE TABLE IF NOT EXISTS `weir`.").map(str::to_owned))
                .filter_map(|rest| rest.split([' ', '\n']).next().map(str::to_owned))
                .collect();
            assert!(tables.iter().any(|table| table == "rollup_fills"), "{tables:?}");
            for table in &tables {
                assert!(filters.contains(&format!("'weir.{table}': ")), "`{table}` has no filter");
            }
        }
    }

    #[test]
    fn a_name_is_a_text_whatever_is_in_it() {
        let filters = scope(&["o'neill\\"], Some(&["a", "b"])).filters(&Schema::single("weir"));
        let owned = r"'weir.access_events': 'organization IN (\'o\\\'neill\\\\\') AND environment IN (\'a\', \'b\')'";
        assert!(filters.contains(owned), "{filters}");
        let stream = r"'weir.gaps': 'stream IN (SELECT stream FROM `weir`.stream_reports WHERE organization IN";
        assert!(filters.contains(stream), "{filters}");
        assert!(filters.ends_with("'system.parts': '0'}"), "{filters}");
    }

    #[test]
    fn all_is_all() {
        assert!(Scope::default().is_all() && !scope(&["acme"], None).is_all());
        let all_of_one = Scope { environments: Some(vec!["demo".to_owned()]), ..Scope::default() };
        assert!(!all_of_one.is_all());
        assert_eq!(all_of_one.condition(), "environment IN ('demo')");
    }
}
