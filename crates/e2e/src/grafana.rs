//! What Grafana's ClickHouse data source makes of a query before ClickHouse sees it: macros and variables, written from its
//! documentation, because no Grafana can run here. `$__conditionalAll` is expanded before other variables, as the data
//! source does it.

use std::collections::BTreeMap;

/// What is chosen in a dashboard.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The time shown, in seconds since the Unix epoch.
    pub from_s: i64,
    pub to_s: i64,
    /// The step of charts over time, in seconds.
    pub interval_s: i64,
    /// The values of each variable; `None` is All.
    pub variables: BTreeMap<String, Option<Vec<String>>>,
}

impl Choice {
    /// The SQL that ClickHouse gets. An error names what is not in the documentation, or not among the variables.
    pub fn expand(&self, raw: &str) -> Result<String, String> {
        let sql = self.conditions(raw)?;
        let sql = self.macros(&sql)?;
        self.values(&sql)
    }

    /// `$__conditionalAll(condition, $variable)`: the condition, or `1=1` where All is chosen.
    fn conditions(&self, raw: &str) -> Result<String, String> {
        const MACRO: &str = "$__conditionalAll";
        let (mut out, mut rest) = (String::new(), raw);
        while let Some((before, after)) = rest.split_once(MACRO) {
            let (arguments, after) = arguments(after)?;
            let (condition, variable) = arguments.rsplit_once(',').ok_or("`$__conditionalAll` takes two arguments")?;
            let name = variable.trim().trim_start_matches('$').trim_matches(['{', '}']);
            let chosen = self.variables.get(name).ok_or_else(|| format!("there is no variable `{name}`"))?;
            out += before;
            out += if chosen.is_some() { condition } else { "1=1" };
            rest = after;
        }
        Ok(out + rest)
    }

    fn macros(&self, sql: &str) -> Result<String, String> {
        let Self { from_s, to_s, interval_s, .. } = self;
        let (mut out, mut rest) = (String::new(), sql);
        while let Some((before, after)) = rest.split_once("$__") {
            let length = after.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(after.len());
            let (name, after) = after.split_at(length);
            let takes_column = matches!(name, "timeFilter" | "timeFilter_ms" | "dateFilter" | "timeInterval");
            let (column, after) = if takes_column { arguments(after)? } else { ("", after) };
            out += before;
            out += &match name {
                "timeFilter" => format!("{column} >= toDateTime({from_s}) AND {column} <= toDateTime({to_s})"),
                "timeFilter_ms" => format!(
                    "{column} >= fromUnixTimestamp64Milli({from_s}000) AND {column} <= fromUnixTimestamp64Milli({to_s}000)"
                ),
                "dateFilter" => {
                    format!("{column} >= toDate(toDateTime({from_s})) AND {column} <= toDate(toDateTime({to_s}))")
                }
                "timeInterval" => format!("toStartOfInterval(toDateTime({column}), INTERVAL {interval_s} second)"),
                "fromTime" => format!("toDateTime({from_s})"),
                "toTime" => format!("toDateTime({to_s})"),
                "fromTime_ms" => format!("fromUnixTimestamp64Milli({from_s}000)"),
                "toTime_ms" => format!("fromUnixTimestamp64Milli({to_s}000)"),
                "interval_s" => interval_s.to_string(),
                _ => return Err(format!("`$__{name}` is no macro of the data source")),
            };
            rest = after;
        }
        Ok(out + rest)
    }

    /// `${name}`, `${name:singlequote}` and `$name`.
    fn values(&self, sql: &str) -> Result<String, String> {
        let (mut out, mut rest) = (String::new(), sql);
        while let Some((before, after)) = rest.split_once('$') {
            let (name, format, after) = match after.strip_prefix('{') {
                Some(braced) => {
                    let (inside, after) = braced.split_once('}').ok_or("a variable's brace is not closed")?;
                    let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
                    (name, format, after)
                }
                None => {
                    let end = after.find(|char: char| !char.is_ascii_alphanumeric() && char != '_');
                    let (name, after) = after.split_at(end.unwrap_or(after.len()));
                    (name, "", after)
                }
            };
            let chosen = self.variables.get(name).ok_or_else(|| format!("there is no variable `{name}`"))?;
            // Of All, Grafana gives every value; these queries never ask for it outside of a condition.
            let values = chosen.as_deref().ok_or_else(|| format!("`{name}` is All outside of `$__conditionalAll`"))?;
            let quoted = |value: &String| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
            out += before;
            out += &match format {
                "singlequote" => values.iter().map(quoted).collect::<Vec<_>>().join(","),
                "" => values.join(","),
                _ => return Err(format!("`{name}` has the format `{format}`")),
            };
            rest = after;
        }
        Ok(out + rest)
    }
}

/// What stands between the parentheses that `text` begins with, and what comes after them.
fn arguments(text: &str) -> Result<(&str, &str), String> {
    let inside = text.strip_prefix('(').ok_or("a macro has no parenthesis")?;
    let mut depth = 1;
    for (at, char) in inside.char_indices() {
        depth += match char {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return Ok((&inside[..at], &inside[at + 1..]));
        }
    }
    Err("the parentheses of a macro are not closed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(site: Option<&str>) -> Choice {
        let sites = site.map(|site| vec![site.to_owned(), "b".to_owned()]);
        Choice { from_s: 100, to_s: 200, interval_s: 20, variables: BTreeMap::from([("site".to_owned(), sites)]) }
    }

    /// The expansions that the data source's documentation has for each macro.
    #[test]
    fn macros_become_what_the_documentation_says() {
        let expanded = |raw: &str| choice(None).expand(raw).unwrap();
        assert_eq!(expanded("$__timeFilter(t)"), "t >= toDateTime(100) AND t <= toDateTime(200)");
        assert_eq!(expanded("$__timeInterval(a.t)"), "toStartOfInterval(toDateTime(a.t), INTERVAL 20 second)");
        assert_eq!(expanded("$__interval_s + $__fromTime - $__toTime"), "20 + toDateTime(100) - toDateTime(200)");
        assert_eq!(expanded("$__conditionalAll(f(site) IN (${site:singlequote}), $site) x"), "1=1 x");
    }

    #[test]
    fn values_are_quoted_and_mistakes_are_named() {
        let sql = choice(Some("o'b\\")).expand("$__conditionalAll(site IN (${site:singlequote}), $site)").unwrap();
        assert_eq!(sql, "site IN ('o\\'b\\\\','b')");
        let refused = |raw: &str| choice(None).expand(raw).unwrap_err();
        assert_eq!(refused("$__timefilter(t)"), "`$__timefilter` is no macro of the data source");
        assert_eq!(refused("$gateway"), "there is no variable `gateway`");
        assert_eq!(refused("${site}"), "`site` is All outside of `$__conditionalAll`");
        assert_eq!(refused("$__timeFilter(t"), "the parentheses of a macro are not closed");
    }
}
