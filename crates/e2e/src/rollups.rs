//! The roll-ups of a stack against its raw table.

use clickhouse::Client;
use weir_testkit::rollups;

/// What differs, a line each; empty when raw and every roll-up agree.
pub async fn disagreement(client: &Client) -> clickhouse::error::Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (table, sql) in rollups::differences("weir") {
        let text = client.query(&sql).fetch_bytes("TabSeparated")?.collect().await?;
        wrong.extend(String::from_utf8_lossy(&text).lines().map(|line| format!("{table}: {line}")));
    }
    Ok(wrong)
}
