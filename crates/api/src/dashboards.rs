//! Dashboards as Grafana provisions them, as far as the page of weir-analytics draws them, and what their queries answer.
//!
//! The names are those of Grafana's dashboard JSON model (schema version 39), whose documentation says what each is for.
//! A member that is not here is refused when a dashboard is read: the page would not heed it. Times that a query asks for
//! are milliseconds since the Unix epoch.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/dashboards`: those that come with this version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Dashboards {
    /// In the order in which the page lists them.
    pub rows: Vec<DashboardLine>,
}

/// One dashboard in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DashboardLine {
    pub uid: String,
    pub title: String,
    pub description: String,
}

/// `GET /api/v1/dashboards/{id}`: one dashboard, as it is provisioned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Dashboard {
    pub uid: String,
    pub title: String,
    pub description: String,
    pub tags: Vec<String>,
    pub schema_version: u32,
    pub version: u32,
    pub editable: bool,
    /// 0: each panel has a pointer of its own; 1: all show the same time.
    pub graph_tooltip: u8,
    pub timezone: String,
    /// How often it is drawn anew, as `30s`; empty for never.
    pub refresh: String,
    pub time: TimeRange,
    pub templating: Templating,
    pub annotations: Annotations,
    pub links: Vec<DashboardLink>,
    pub panels: Vec<Panel>,
}

/// The time that is shown at first: `now`, or `now-1h`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct TimeRange {
    pub from: String,
    pub to: String,
}

/// The variables of a dashboard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Templating {
    pub list: Vec<Variable>,
}

/// Where the values of a variable come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum VariableKind {
    /// Grafana's data sources; here there is one.
    Datasource,
    /// A query.
    Query,
    /// The options that are listed.
    Custom,
    /// Whoever looks.
    Textbox,
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct Variable {
    #[serde(rename = "type")]
    pub kind: VariableKind,
    pub name: String,
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DatasourceRef>,
    pub query: VariableQuery,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<u8>,
    /// Whether several values may be chosen.
    #[serde(default)]
    pub multi: bool,
    /// Whether all may be chosen at once, as `$__all`.
    #[serde(default)]
    pub include_all: bool,
    /// 0: shown; 2: not.
    #[serde(default)]
    pub hide: u8,
    pub current: VariableValue,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<VariableOption>,
}

/// A text, or a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum VariableQuery {
    Text(String),
    Sql(VariableSql),
}

/// The query of a variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct VariableSql {
    pub editor_type: String,
    pub ref_id: String,
    pub raw_sql: String,
}

/// The value that a variable has at first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct VariableValue {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One value that may be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct VariableOption {
    pub text: String,
    pub value: String,
    pub selected: bool,
}

/// Which data source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DatasourceRef {
    #[serde(rename = "type")]
    pub kind: String,
    pub uid: String,
}

/// What is marked in charts over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Annotations {
    pub list: Vec<Annotation>,
}

/// One kind of marks: a query with the columns `time`, `text`, `tags`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Annotation {
    pub name: String,
    pub enable: bool,
    pub hide: bool,
    pub icon_color: String,
    pub datasource: DatasourceRef,
    pub target: AnnotationTarget,
}

/// The query of an annotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct AnnotationTarget {
    pub ref_id: String,
    pub editor_type: String,
    pub format: u8,
    pub raw_sql: String,
}

/// To the other dashboards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct DashboardLink {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub tags: Vec<String>,
    pub as_dropdown: bool,
    pub include_vars: bool,
    pub keep_time: bool,
    pub target_blank: bool,
    pub icon: String,
}

/// How a panel is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum PanelKind {
    #[serde(rename = "timeseries")]
    TimeSeries,
    Stat,
    Table,
    #[serde(rename = "bargauge")]
    BarGauge,
    #[serde(rename = "heatmap")]
    HeatMap,
    NodeGraph,
    Traces,
    Text,
}

/// One panel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct Panel {
    pub id: u32,
    #[serde(rename = "type")]
    pub kind: PanelKind,
    pub title: String,
    pub description: String,
    pub grid_pos: GridPos,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datasource: Option<DatasourceRef>,
    pub targets: Vec<Target>,
    pub field_config: FieldConfig,
    pub options: PanelOptions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
}

/// Where a panel is: columns of 24, rows of 30 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct GridPos {
    pub x: u32,
    pub y: u32,
    pub w: u32,
    pub h: u32,
}

/// One query of a panel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Target {
    pub ref_id: String,
    pub datasource: DatasourceRef,
    pub editor_type: String,
    /// 0: the first column is the time; 1: a table; 3: spans.
    pub format: u8,
    pub query_type: String,
    pub raw_sql: String,
}

/// How values are shown, and which columns are shown otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct FieldConfig {
    pub defaults: FieldDefaults,
    pub overrides: Vec<FieldOverride>,
}

/// How values are shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct FieldDefaults {
    pub unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What is shown in place of nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<LineStyle>,
}

/// From which value on which colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Thresholds {
    pub mode: ThresholdsMode,
    pub steps: Vec<ThresholdStep>,
}

/// What the steps are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum ThresholdsMode {
    Absolute,
}

/// One step; the first has no value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct ThresholdStep {
    pub color: Colour,
    pub value: Option<f64>,
}

/// The colours that the page has, by the names that Grafana has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Colour {
    Green,
    Orange,
    Red,
    Blue,
    Purple,
    Text,
}

/// How a line is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct LineStyle {
    pub draw_style: DrawStyle,
    pub line_width: u8,
    /// In percent.
    pub fill_opacity: u8,
    pub show_points: String,
    pub span_nulls: bool,
    pub stacking: Stacking,
}

/// Lines or bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum DrawStyle {
    Line,
    Bars,
}

/// Whether the lines of a panel add up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Stacking {
    pub mode: StackingMode,
    pub group: String,
}

/// Whether values add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum StackingMode {
    None,
    Normal,
}

/// One column that is shown otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct FieldOverride {
    pub matcher: Matcher,
    pub properties: Vec<Property>,
}

/// Which column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "id", content = "options", rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Matcher {
    /// By its name in the query.
    ByName(String),
}

/// What is otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "id", content = "value", rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Property {
    Unit(String),
    Decimals(u8),
    DisplayName(String),
    Thresholds(Thresholds),
    Links(Vec<Link>),
    #[serde(rename = "custom.cellOptions")]
    CellOptions(CellOptions),
}

/// How a cell of a table is drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct CellOptions {
    #[serde(rename = "type")]
    pub kind: CellKind,
}

/// Whether the colour of the thresholds is that of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum CellKind {
    Auto,
    ColorText,
}

/// A link; its address may have `${__data.fields.NAME}`, `${__url_time_range}` and `${VARIABLE}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Link {
    pub title: String,
    pub url: String,
}

/// What panels of any kind may be told. Which of these a kind heeds is in Grafana's documentation of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct PanelOptions {
    /// Lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legend: Option<Legend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tooltip: Option<Tooltip>,
    /// Figures and bars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduce_options: Option<ReduceOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub justify_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orientation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_unfilled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_mode: Option<String>,
    /// Tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_header: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_height: Option<String>,
    /// Heat maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calculate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color: Option<HeatColour>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y_axis: Option<HeatAxis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_frame: Option<RowsFrame>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell_gap: Option<u8>,
    /// Node graphs: the units of the figures, which are texts here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NoOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edges: Option<NoOptions>,
    /// Texts: `markdown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TextMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// Nothing may be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct NoOptions {}

/// Of a text panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum TextMode {
    Markdown,
}

/// The legend of lines, or of a heat map (`show`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct Legend {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_legend: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calcs: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show: Option<bool>,
}

/// What is shown at the pointer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct Tooltip {
    pub mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_histogram: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub show_color_scale: Option<bool>,
}

/// Which value of a column is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS), ts(optional_fields))]
pub struct ReduceOptions {
    pub calcs: Vec<Calculation>,
    pub fields: String,
    /// Each row is a figure of its own.
    pub values: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// How many values become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum Calculation {
    LastNotNull,
}

/// The colours of a heat map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct HeatColour {
    pub mode: String,
    pub scheme: String,
    pub steps: u32,
    pub exponent: f64,
    pub reverse: bool,
    pub fill: String,
    pub scale: String,
}

/// The axis of a heat map's buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct HeatAxis {
    pub unit: String,
    pub axis_placement: String,
    pub reverse: bool,
}

/// What the names of a heat map's rows are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct RowsFrame {
    pub layout: RowsLayout,
}

/// The name of a row is the upper edge of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum RowsLayout {
    Le,
}

/// `GET /api/v1/dashboards/{id}/panel`, `/annotation`: what a query answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Frame {
    /// The time that was asked for, in milliseconds since the Unix epoch: whole seconds of a step that answers are shared in.
    pub from_ms: i64,
    pub to_ms: i64,
    /// The step of charts over time, in seconds.
    pub step_s: u32,
    pub columns: Vec<Column>,
    /// A value for each column: a number, a text, `null`, a list or an object; a time as RFC 3339 in UTC.
    #[cfg_attr(test, ts(type = "Array<Array<unknown>>"))]
    pub rows: Vec<Vec<serde_json::Value>>,
}

/// A column of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct Column {
    pub name: String,
    pub kind: ColumnKind,
}

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub enum ColumnKind {
    Time,
    Number,
    Text,
    /// Lists and objects.
    Other,
}

impl ColumnKind {
    /// What a column of this type of ClickHouse holds.
    pub fn of(kind: &str) -> Self {
        let inner = |prefix: &str| kind.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
        if let Some(inner) = inner("LowCardinality(").or_else(|| inner("Nullable(")) {
            return Self::of(inner);
        }
        match kind.split('(').next().unwrap_or_default() {
            "DateTime" | "DateTime64" | "Date" | "Date32" => Self::Time,
            "Array" | "Map" | "Tuple" | "Nested" => Self::Other,
            number if ["UInt", "Int", "Float", "Decimal"].iter().any(|prefix| number.starts_with(prefix)) => {
                Self::Number
            }
            _ => Self::Text,
        }
    }
}

/// `GET /api/v1/dashboards/{id}/variable`: the values that a variable may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema, ts_rs::TS))]
pub struct VariableValues {
    pub values: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_of_clickhouse_says_what_its_values_are() {
        let kinds = [
            ("DateTime64(6, 'UTC')", ColumnKind::Time),
            ("Nullable(DateTime)", ColumnKind::Time),
            ("LowCardinality(Nullable(String))", ColumnKind::Text),
            ("Nullable(UInt64)", ColumnKind::Number),
            ("Float64", ColumnKind::Number),
            ("IPv6", ColumnKind::Text),
            ("Array(Map(String, String))", ColumnKind::Other),
            ("Nullable(Nothing)", ColumnKind::Text),
        ];
        for (kind, expected) in kinds {
            assert_eq!(ColumnKind::of(kind), expected, "{kind}");
        }
    }
}
