//! A query of a dashboard as ClickHouse takes it: macros of Grafana's ClickHouse data source and variables expanded.
//!
//! What a macro means is in the data source's documentation (version 4.20, "Macros"). A value of a variable never becomes
//! text of the statement: it travels as a parameter of the query, so that it cannot be anything but a string. The text is
//! read once, from the front: nothing that was put in is read again.

use std::collections::BTreeMap;
use weir_api::dashboards::{Dashboard, Variable, VariableKind};

/// The value that stands for all.
const ALL: &str = "$__all";
/// Values that one variable may have at once.
const MOST_VALUES: usize = 200;
/// Bytes of one value: the longest that an event has.
const LONGEST_VALUE: usize = 4096;

/// What a query is asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The time shown, in whole seconds since the Unix epoch.
    pub from_s: i64,
    pub to_s: i64,
    /// The step of charts over time, in seconds.
    pub step_s: u32,
    /// Values of variables; those that are not here have the dashboard's.
    pub values: BTreeMap<String, Vec<String>>,
}

/// A statement with its parameters, by their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    pub sql: String,
    pub args: Vec<(String, String)>,
}

/// Why a query cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// Whoever asks is wrong.
    #[error("{0}")]
    Asked(String),
    /// The dashboard is wrong: the tests let none be shipped that is.
    #[error("the query of the dashboard is wrong: {0}")]
    Dashboard(String),
}

/// Expands `sql`, a query of `dashboard`.
///
/// # Errors
/// A variable is not the dashboard's or may not have the value, or the query has a macro that is not known.
pub fn expand(dashboard: &Dashboard, sql: &str, asked: &Asked) -> Result<Statement, ExpandError> {
    let values = chosen(dashboard, asked)?;
    let mut out = Expansion { asked, values: &values, sql: String::with_capacity(sql.len()), args: BTreeMap::new() };
    out.text(sql)?;
    Ok(Statement { sql: out.sql, args: out.args.into_iter().collect() })
}

/// The values of each variable; `None` for all.
type Values = BTreeMap<String, Option<Vec<String>>>;

fn chosen(dashboard: &Dashboard, asked: &Asked) -> Result<Values, ExpandError> {
    let known = &dashboard.templating.list;
    if let Some(name) = asked.values.keys().find(|name| known.iter().all(|variable| variable.name != **name)) {
        return Err(ExpandError::Asked(format!("`{}` has no variable `{name}`", dashboard.uid)));
    }
    known.iter().map(|variable| Ok((variable.name.clone(), values(variable, asked)?))).collect()
}

fn values(variable: &Variable, asked: &Asked) -> Result<Option<Vec<String>>, ExpandError> {
    let refused = |why: &str| Err(ExpandError::Asked(format!("`{}` {why}", variable.name)));
    let own = || vec![variable.current.value.clone().unwrap_or_default()];
    let values = asked.values.get(&variable.name).cloned().unwrap_or_else(own);
    if values.iter().any(|value| value == ALL) {
        return if variable.include_all { Ok(None) } else { refused("cannot be all") };
    }
    if values.is_empty() || values.len() > MOST_VALUES || values.len() > 1 && !variable.multi {
        return refused(&format!("has between one and {} values", if variable.multi { MOST_VALUES } else { 1 }));
    }
    if values.iter().any(|value| value.len() > LONGEST_VALUE) {
        return refused(&format!("has a value of over {LONGEST_VALUE} bytes"));
    }
    let is_option = |value: &String| variable.options.iter().any(|option| option.value == *value);
    if variable.kind == VariableKind::Custom && !values.iter().all(is_option) {
        return refused("has no such value");
    }
    Ok(Some(values))
}

struct Expansion<'a> {
    asked: &'a Asked,
    values: &'a Values,
    sql: String,
    args: BTreeMap<String, String>,
}

impl Expansion<'_> {
    fn text(&mut self, mut rest: &str) -> Result<(), ExpandError> {
        while let Some((before, after)) = rest.split_once('$') {
            self.sql.push_str(before);
            rest = match after.strip_prefix("__") {
                Some(named) => self.macro_call(named)?,
                None => self.variable(after)?,
            };
        }
        self.sql.push_str(rest);
        Ok(())
    }

    /// `{name:singlequote}`: every value as a parameter. Answers what follows.
    fn variable<'t>(&mut self, after: &'t str) -> Result<&'t str, ExpandError> {
        let wrong =
            || ExpandError::Dashboard(format!("a variable is not written `${{name:singlequote}}`: ${after:.40}"));
        let (inside, rest) = after.strip_prefix('{').and_then(|inside| inside.split_once('}')).ok_or_else(wrong)?;
        let name = inside.strip_suffix(":singlequote").ok_or_else(wrong)?;
        let values = self.values.get(name).ok_or_else(|| ExpandError::Dashboard(format!("no variable `{name}`")))?;
        let Some(values) = values else {
            return Err(ExpandError::Dashboard(format!("`{name}` may be all and stands outside of $__conditionalAll")));
        };
        for (index, value) in values.iter().enumerate() {
            let parameter = format!("var_{name}_{index}");
            self.sql.push_str(if index == 0 { "" } else { ", " });
            self.sql.push_str(&format!("{{{parameter}:String}}"));
            self.args.insert(parameter, value.clone());
        }
        Ok(rest)
    }

    /// A macro, without its `$__`. Answers what follows.
    fn macro_call<'t>(&mut self, named: &'t str) -> Result<&'t str, ExpandError> {
        let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(named.len());
        let (name, rest) = named.split_at(end);
        let (arguments, after) = arguments(rest)?;
        let Asked { from_s, to_s, step_s, .. } = *self.asked;
        let (from, to) = (format!("toDateTime({from_s})"), format!("toDateTime({to_s})"));
        let [from_ms, to_ms] = [from_s, to_s].map(|at| format!("fromUnixTimestamp64Milli({})", at * 1000));
        let between = |column: &str, from: &str, to: &str| format!("{column} >= {from} AND {column} <= {to}");
        let days = |column: &str| between(column, &format!("toDate({from})"), &format!("toDate({to})"));
        let (expanded, rest) = match (name, arguments.as_slice()) {
            ("conditionalAll", [condition, variable]) => {
                self.conditional(condition, variable)?;
                return Ok(after);
            }
            ("timeFilter", [column]) => (between(column, &from, &to), after),
            ("timeFilter_ms", [column]) => (between(column, &from_ms, &to_ms), after),
            ("dateFilter", [column]) => (days(column), after),
            ("dateTimeFilter" | "dt", [date, time]) => {
                (format!("{} AND {}", days(date), between(time, &from, &to)), after)
            }
            ("timeInterval", [column]) => {
                (format!("toStartOfInterval(toDateTime({column}), INTERVAL {step_s} second)"), after)
            }
            ("timeInterval_ms", [column]) => {
                let step_ms = u64::from(step_s) * 1000;
                (format!("toStartOfInterval(toDateTime64({column}, 3), INTERVAL {step_ms} millisecond)"), after)
            }
            ("fromTime", _) => (from, rest),
            ("toTime", _) => (to, rest),
            ("fromTime_ms", _) => (from_ms, rest),
            ("toTime_ms", _) => (to_ms, rest),
            ("interval_s", _) => (step_s.to_string(), rest),
            _ => return Err(ExpandError::Dashboard(format!("`$__{name}` with {} arguments", arguments.len()))),
        };
        self.sql.push_str(&expanded);
        Ok(rest)
    }

    /// The condition, or one that always holds where the variable is all.
    fn conditional(&mut self, condition: &str, variable: &str) -> Result<(), ExpandError> {
        let name = variable.trim_start_matches('$');
        match self.values.get(name) {
            None => Err(ExpandError::Dashboard(format!("no variable `{name}`"))),
            Some(None) => {
                self.sql.push_str("1=1");
                Ok(())
            }
            Some(Some(_)) => self.text(condition),
        }
    }
}

/// The arguments in the parentheses that `rest` may begin with, and what follows them.
fn arguments(rest: &str) -> Result<(Vec<&str>, &str), ExpandError> {
    let Some(inside) = rest.strip_prefix('(') else { return Ok((Vec::new(), rest)) };
    let (mut depth, mut begin, mut found) = (0, 0, Vec::new());
    for (at, c) in inside.char_indices() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' if depth == 0 => {
                found.push(inside[begin..at].trim());
                return Ok((found, &inside[at + 1..]));
            }
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                found.push(inside[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    Err(ExpandError::Dashboard("a parenthesis of a macro is not closed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::dashboards::find;

    fn asked(values: &[(&str, &[&str])]) -> Asked {
        let owned = |list: &[&str]| list.iter().map(|&value| value.to_owned()).collect();
        let values = values.iter().map(|(name, list)| ((*name).to_owned(), owned(list))).collect();
        Asked { from_s: 1000, to_s: 4600, step_s: 30, values }
    }

    fn expanded(sql: &str, values: &[(&str, &[&str])]) -> Result<Statement, ExpandError> {
        expand(find("weir-events").unwrap(), sql, &asked(values))
    }

    #[test]
    fn macros_are_those_of_the_data_source() {
        let of = |sql| expanded(sql, &[]).unwrap().sql;
        assert_eq!(of("$__timeFilter(t) AND x"), "t >= toDateTime(1000) AND t <= toDateTime(4600) AND x");
        assert_eq!(
            of("$__timeFilter_ms(t)"),
            "t >= fromUnixTimestamp64Milli(1000000) AND t <= fromUnixTimestamp64Milli(4600000)"
        );
        assert_eq!(
            of("$__dt(d, t)"),
            "d >= toDate(toDateTime(1000)) AND d <= toDate(toDateTime(4600)) AND t >= toDateTime(1000) AND t <= toDateTime(4600)"
        );
        assert_eq!(of("$__timeInterval(f(t, 1))"), "toStartOfInterval(toDateTime(f(t, 1)), INTERVAL 30 second)");
        assert_eq!(of("greatest($__interval_s, 60)"), "greatest(30, 60)");
        assert_eq!(of("($__toTime - 900)"), "(toDateTime(4600) - 900)");
        assert_eq!(of("$__fromTime_ms"), "fromUnixTimestamp64Milli(1000000)");
    }

    #[test]
    fn a_value_is_a_parameter_and_never_text() {
        let sql = "$__conditionalAll(site IN (${site:singlequote}), $site) AND x";
        assert_eq!(expanded(sql, &[]).unwrap().sql, "1=1 AND x");
        let evil = "'); DROP TABLE weir.access_events; -- $__toTime ${gateway:singlequote}";
        let statement = expanded(sql, &[("site", &["a", evil])]).unwrap();
        assert_eq!(statement.sql, "site IN ({var_site_0:String}, {var_site_1:String}) AND x");
        let pairs = [("var_site_0", "a"), ("var_site_1", evil)];
        assert_eq!(statement.args, pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_may_not_be_asked_is_said() {
        let refused = |values: &[(&str, &[&str])]| match expanded("1", values) {
            Err(ExpandError::Asked(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&[("nosuch", &["a"])]), "`weir-events` has no variable `nosuch`");
        assert_eq!(refused(&[("result", &["everything"])]), "`result` has no such value");
        assert_eq!(refused(&[("trace", &["$__all"])]), "`trace` cannot be all");
        assert_eq!(refused(&[("trace", &["a", "b"])]), "`trace` has between one and 1 values");
        assert_eq!(refused(&[("site", &["a"; 201])]), "`site` has between one and 200 values");
        assert_eq!(refused(&[("search", &[&"x".repeat(4097)])]), "`search` has a value of over 4096 bytes");
    }

    #[test]
    fn a_query_that_would_mean_something_else_here_is_refused() {
        for sql in [
            "$site",
            "${site}",
            "${site:raw}",
            "${nosuch:singlequote}",
            "site IN (${site:singlequote})",
            "$__adhocFilters('t')",
            "$__timeFilter(t",
            "$__timeFilter()) $__nosuch",
        ] {
            assert!(matches!(expanded(sql, &[]), Err(ExpandError::Dashboard(_))), "{sql}");
        }
    }
}
