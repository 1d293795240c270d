//! YAML resources of `conf.d` folders to one checked [`GatewayConfig`].
//!
//! Three stages: the text becomes a *marked tree* (values with line and column), the tree is read into specs with every
//! mistake collected, and the specs of all files become one immutable [`GatewayConfig`] in which nothing is left to
//! check: patterns are compiled, addresses parsed, secrets resolved. Whoever uses it cannot fail on it.
//!
//! The border: no tokio, no HTTP client, no request. The source may be files today and a control plane later; both end
//! in a `GatewayConfig`.

mod address;
mod api;
mod build;
mod check;
mod cluster;
mod content;
mod custom;
mod environment;
mod error;
mod export;
mod expression;
mod files;
mod key;
mod link;
mod live;
mod load;
mod logging;
mod model;
mod otel;
mod pattern;
mod pem;
pub mod policy;
mod ports;
mod read;
mod removal;
mod resource_index;
mod resources;
mod schema;
mod tracing;
mod tree;
mod units;
pub mod view;
mod watch;

pub use api::{Api, Contract, Endpoint, Listen, PolicyBinding, Route, Scheme, Service, UpstreamAddress};
pub use cluster::{Balancing, Cluster, HashKey, HealthCheck, OutlierEjection, Retries};
pub use content::Content;
pub use error::{ConfigError, ConfigErrors, Warnings};
pub use export::{
    AttributeLimits, Batch, HistogramForm, LogExport, MetricExport, OtlpProtocol, OtlpTarget, Signal, TraceExport,
};
pub use expression::Expression;
pub use files::FileHashes;
pub use live::{Cached, Live};
pub use load::{load, load_text};
pub use logging::{
    AccessLog, LineFilter, LineFormat, LogOutput, LogTarget, Logging, RequestLines, TemplatePart, TemplateWord,
};
pub use model::{
    Analytics, ExemplarFilter, GatewayConfig, Identity, Lifecycle, Limits, LogLevel, PeerGateway, Reload, ReloadMode,
    Scraping, Spool, Startup, Timeouts, UpstreamHost,
};
pub use pattern::{Pattern, PatternError, Rule, Shape};
pub use pem::{AnalyticsTls, Authorities, KeyPair, Validity};
pub use policy::Policy;
pub use read::Place;
pub use schema::json_schema;
pub use tracing::{
    ApiTracing, Keep, ParentDecision, Percent, Propagators, Sampling, TraceEdge, TraceLabel, TraceLabelValue,
    TraceListener, TraceTrust, Tracing,
};
pub use units::{ByteSize, Secret, UnitError, parse_duration};
pub use watch::{
    Answer, Candidate, Folders, Handle, Origin, Source, Start, Taker, Verdict, Waiting, WaitsFor, Wake, Watcher,
};
