//! A setting is one row: where it stands in a `Configuration`, what it means, which field it sets, and how it is read.
//!
//! Its default is what the field has before anything is read. JSON Schema, `docs/configuration.md` and the view of what
//! runs are made of the rows: a reader that is only described says what its field holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::output::{OutputDraft, TargetDraft};
use crate::environment::Variables;
use crate::export::{Batch, LogExport, MetricExport, OtlpProtocol, TraceExport};
use crate::logging::{LogOutput, LogTarget};
use crate::model::{Analytics, GatewayConfig, LogLevel, PeerGateway, ReloadMode, UpstreamHost};
use crate::otel::{self, ExportDraft};
use crate::pem::{AnalyticsTls, REDACTED, authorities_view, key_pair_view};
use crate::policy::{ClientCertificates, Tls};
use crate::read::{Cursor, Errors, Mapping, Place, did_you_mean, show};
use crate::tracing::{ParentDecision, Percent, Sampling, TraceLabel, TraceLabelValue, TraceListener, TraceTrust};
use crate::units::{ByteSize, Secret, time};

/// What all `Configuration` resources set, together; before that, what the environment says, and the defaults.
#[derive(Default)]
pub(crate) struct Settings {
    values: Values,
    /// Where each was set, by its path.
    places: BTreeMap<String, Place>,
}

/// What settings set: the configuration, and the parts of it that are none alone.
#[derive(Default)]
pub(super) struct Values {
    pub config: GatewayConfig,
    pub endpoint: Option<http::Uri>,
    pub token: Option<Secret>,
    pub analytics_tls: Option<AnalyticsTls>,
    pub outputs: Vec<OutputDraft>,
    pub spans: ExportDraft,
    pub metric_export: ExportDraft,
    pub metric_interval: MetricInterval,
    /// What the environment says of these.
    pub of_environment: otel::Environment,
}

/// From one export of metrics to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MetricInterval(pub Duration);

impl Default for MetricInterval {
    fn default() -> Self {
        Self(Duration::from_secs(60))
    }
}

impl Settings {
    /// Nothing but what the environment says.
    pub fn of_environment(variables: &Variables<'_>) -> Self {
        let mut settings = Self::default();
        variables.apply(&mut settings.values.config);
        let values = &mut settings.values;
        values.of_environment = otel::read(variables, &mut values.config.tracing);
        values.config.scraping.exemplars = values.of_environment.exemplars;
        values.metric_interval = values.of_environment.metric_interval.map(MetricInterval).unwrap_or_default();
        settings
    }

    /// The defaults, but for the name of the machine that this runs on.
    pub fn to_be_described() -> Self {
        let mut settings = Self::default();
        settings.values.config.startup.identity.gateway.clear();
        settings
    }

    /// Those of a configuration, to be shown.
    pub fn of(config: &GatewayConfig) -> Self {
        let config = config.settings();
        let analytics = config.startup.analytics.clone();
        let (endpoint, token, analytics_tls) = match analytics {
            Some(Analytics { endpoint, token, tls }) => (Some(endpoint), Some(token), Some(tls)),
            None => (None, None, None),
        };
        let spans = config.startup.spans.clone().map(|export| export.target.into()).unwrap_or_default();
        let metrics = config.startup.metric_export.clone();
        let metric_interval = metrics.as_ref().map(|export| MetricInterval(export.interval)).unwrap_or_default();
        let metric_export = metrics.map(|export| export.target.into()).unwrap_or_default();
        let of_environment = otel::Environment::default();
        let outputs = config.startup.logging.outputs.iter().cloned().map(OutputDraft::from).collect();
        let values = Values {
            config,
            endpoint,
            token,
            analytics_tls,
            outputs,
            spans,
            metric_export,
            metric_interval,
            of_environment,
        };
        Self { values, places: BTreeMap::new() }
    }

    /// Where the setting at `path` is set.
    pub fn place(&self, path: &str) -> Option<&Place> {
        self.places.get(path)
    }

    pub fn admin(&self) -> SocketAddr {
        self.values.config.startup.admin
    }

    pub fn probe(&self) -> Option<SocketAddr> {
        self.values.config.startup.probe
    }

    pub fn metrics(&self) -> Option<SocketAddr> {
        self.values.config.startup.metrics
    }

    pub fn into_spool_path(self) -> PathBuf {
        self.values.config.startup.spool.path
    }

    /// A configuration without APIs.
    pub fn into_config(mut self, errors: &Errors) -> GatewayConfig {
        let analytics = self.analytics(errors);
        self.check_scraping(errors);
        self.check_outputs(errors);
        let metric_export = self.metric_export(errors);
        self.outputs();
        let Values { mut config, spans, of_environment, .. } = self.values;
        config.startup.analytics = analytics;
        config.startup.metric_export = metric_export;
        config.startup.spans = spans.over(of_environment.traces).finish().map(|target| TraceExport {
            target,
            batch: of_environment.span_batch,
            attributes: of_environment.attributes,
            known_methods: of_environment.known_methods,
        });
        config
    }

    /// The outputs of logs, each with its receiver.
    fn outputs(&mut self) {
        let Values { outputs, of_environment, config, .. } = &mut self.values;
        let batch = of_environment.log_batch.unwrap_or_else(Batch::of_logs);
        let environment = &of_environment.logs;
        let export = |draft: ExportDraft| {
            let target = draft.over(environment.clone()).finish()?;
            Some(LogExport { target, batch })
        };
        let output = |OutputDraft { name, target, format }: OutputDraft| {
            let target = match target {
                TargetDraft::Known(target) => target,
                // Without a target only where OpenTelemetry's variables switch it off.
                TargetDraft::Otlp(draft) => LogTarget::Otlp(Box::new(export(*draft)?)),
            };
            Some(LogOutput { name, target, format })
        };
        let logging = &mut config.startup.logging;
        logging.outputs = std::mem::take(outputs).into_iter().filter_map(output).collect();
        let is_asked_for = of_environment.logs_are_asked_for;
        logging.also = export(ExportDraft::default()).filter(|_| is_asked_for).map(LogOutput::of_environment);
    }

    /// Where metrics are sent; an interval of what is not sent is a mistake.
    fn metric_export(&mut self, errors: &Errors) -> Option<MetricExport> {
        const RECEIVER: &str = "metrics.otlp";
        let draft = std::mem::take(&mut self.values.metric_export);
        let environment = &mut self.values.of_environment;
        let target = draft.over(std::mem::take(&mut environment.metrics)).finish();
        let (timeout, histograms) = (environment.metric_timeout, environment.histograms);
        let interval = self.values.metric_interval.0;
        let Some(target) = target else {
            let is_wrong = errors.borrow().iter().any(|error| error.path.starts_with(RECEIVER));
            let place = self.place("metrics.exportInterval").filter(|_| !is_wrong);
            let message = format!("has no effect without `{RECEIVER}`, or OTEL_METRICS_EXPORTER=otlp; add one of them");
            errors.borrow_mut().extend(place.map(|place| place.error(message)));
            return None;
        };
        let timeout = timeout.unwrap_or(Duration::from_secs(30));
        Some(MetricExport { target, interval, timeout, histograms })
    }

    /// What is said of a port that there is not is a mistake.
    fn check_scraping(&self, errors: &Errors) {
        const ADDRESS: &str = "metrics.address";
        let is_wrong = errors.borrow().iter().any(|error| error.path == ADDRESS);
        if self.values.config.startup.metrics.is_some() || is_wrong {
            return;
        }
        for place in ["metrics.token", "metrics.tls"].iter().filter_map(|path| self.place(path)) {
            errors
                .borrow_mut()
                .push(place.error(format!("has no effect without `{ADDRESS}`; add it, as in `0.0.0.0:9902`")));
        }
    }

    /// A name of an output that there is not would lose what is meant for it.
    fn check_outputs(&self, errors: &Errors) {
        let logging = &self.values.config.startup.logging;
        if errors.borrow().iter().any(|error| error.path.starts_with("logging.outputs")) {
            return;
        }
        for (path, names) in
            [("logging.runtimeLogs.outputs", &logging.runtime), ("logging.accessLogs.outputs", &logging.access)]
        {
            let known = || self.values.outputs.iter().map(|output| output.name.as_str());
            for name in names.iter().filter(|name| known().all(|known| known != *name)) {
                let message = format!("`{}` is none of `logging.outputs`{}", show(name), did_you_mean(name, known()));
                errors.borrow_mut().extend(self.place(path).map(|place| place.error(message)));
            }
        }
    }

    /// Both or none: an endpoint without a token would answer 401 for ever.
    fn analytics(&self, errors: &Errors) -> Option<Analytics> {
        const ENDPOINT: &str = "analytics.endpoint";
        const TOKEN: &str = "analytics.token";
        let Values { endpoint, token, analytics_tls, .. } = &self.values;
        if let (Some(endpoint), Some(place)) = (endpoint, self.place("analytics.tls"))
            && endpoint.scheme_str() == Some("http")
        {
            let message = "has no effect, since the endpoint is plain http; use https, or remove it";
            errors.borrow_mut().push(place.error(message.to_owned()));
        }
        let (set, missing) = match (endpoint, token) {
            (Some(endpoint), Some(token)) => {
                let tls = analytics_tls.clone().unwrap_or_default();
                return Some(Analytics { endpoint: endpoint.clone(), token: token.clone(), tls });
            }
            (Some(_), None) => (ENDPOINT, TOKEN),
            (None, Some(_)) => (TOKEN, ENDPOINT),
            (None, None) => return None,
        };
        // It may be there and wrong, which is reported already.
        let reported = errors.borrow().iter().any(|error| error.path == missing);
        if let Some(place) = self.place(set).filter(|_| !reported) {
            errors.borrow_mut().push(place.error(format!("`{missing}` is missing; add it")));
        }
        None
    }
}

/// A mapping of settings.
pub(super) struct Section<'a, 's> {
    fields: Mapping<'a>,
    settings: &'s mut Settings,
}

impl<'a, 's> Section<'a, 's> {
    pub fn new(fields: Mapping<'a>, settings: &'s mut Settings) -> Self {
        Self { fields, settings }
    }

    /// The setting `name`, which means `meaning` and sets `field`.
    pub fn row<T: Shown>(
        &mut self,
        name: &'static str,
        meaning: &'static str,
        field: fn(&mut Values) -> &mut T,
        read: impl FnOnce(&Cursor<'a>) -> Option<T>,
    ) {
        let at = self.fields.take(name);
        self.set(at, meaning, field, T::shown, read);
    }

    /// As [`Section::row`], for a time that is written as a number of seconds.
    pub fn row_of_seconds(
        &mut self,
        name: &'static str,
        meaning: &'static str,
        field: fn(&mut Values) -> &mut Duration,
        read: impl FnOnce(&Cursor<'a>) -> Option<Duration>,
    ) {
        let at = self.fields.take(name);
        self.set(at, meaning, field, |time| json!(time.as_secs()), read);
    }

    /// As [`Section::row`], for what Flex has no word for; `$NAME` stands for an environment variable.
    pub fn row_of_weir<T: Shown>(
        &mut self,
        name: &'static str,
        meaning: &'static str,
        field: fn(&mut Values) -> &mut T,
        read: impl FnOnce(&Cursor<'a>) -> Option<T>,
    ) {
        let at = self.fields.take_weir(name).map(Cursor::with_env);
        self.set(at, meaning, field, T::shown, read);
    }

    fn set<T>(
        &mut self,
        at: Option<Cursor<'a>>,
        meaning: &'static str,
        field: fn(&mut Values) -> &mut T,
        shown: fn(&T) -> Value,
        read: impl FnOnce(&Cursor<'a>) -> Option<T>,
    ) {
        let Some(at) = at else { return };
        let (place, settings) = (at.place(), &mut *self.settings);
        if at.is_described() {
            read(&at);
            return at.means(meaning, Some(shown(field(&mut settings.values))));
        }
        match settings.places.get(&place.path) {
            Some(first) => at.refuse(format!("is set here and at {first}; remove one")).unwrap_or_default(),
            None => {
                if let Some(value) = read(&at) {
                    *field(&mut settings.values) = value;
                    settings.places.insert(place.path.clone(), place);
                }
            }
        }
    }

    /// A mapping of Flex within this one.
    pub fn section(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'a, '_>)) {
        let at = self.fields.take(name);
        self.within(at, read);
    }

    /// A mapping that Flex has no word for, in which `$NAME` stands for an environment variable.
    pub fn section_of_weir(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'a, '_>)) {
        let at = self.fields.take_weir(name).map(Cursor::with_env);
        self.within(at, read);
    }

    fn within(&mut self, at: Option<Cursor<'a>>, read: impl FnOnce(&mut Section<'a, '_>)) {
        let Some(fields) = at.and_then(|at| at.fields()) else { return };
        let mut inner = Section { fields, settings: &mut *self.settings };
        read(&mut inner);
        inner.finish();
    }

    pub fn fields(&mut self) -> &mut Mapping<'a> {
        &mut self.fields
    }

    /// Refuses every key that was not asked for.
    pub fn finish(self) {
        self.fields.finish();
    }
}

/// A value as a configuration writes it, and a secret as nobody does.
pub(crate) trait Shown {
    fn shown(&self) -> Value;
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> Value {
        self.as_ref().map_or(Value::Null, Shown::shown)
    }
}

impl Shown for Vec<String> {
    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Shown for String {
    fn shown(&self) -> Value {
        json!(self)
    }
}

/// The largest stands for no limit.
impl Shown for u32 {
    fn shown(&self) -> Value {
        if *self == Self::MAX { Value::Null } else { json!(self) }
    }
}

impl Shown for bool {
    fn shown(&self) -> Value {
        json!(self)
    }
}

impl Shown for Duration {
    fn shown(&self) -> Value {
        json!(time(*self))
    }
}

impl Shown for ByteSize {
    fn shown(&self) -> Value {
        json!(self.to_string())
    }
}

impl Shown for PathBuf {
    fn shown(&self) -> Value {
        json!(self.to_string_lossy())
    }
}

/// There is none by default.
impl Shown for Vec<PeerGateway> {
    fn shown(&self) -> Value {
        json!(self.iter().map(|gateway| format!("{gateway:?}")).collect::<Vec<_>>())
    }
}

impl Shown for SocketAddr {
    fn shown(&self) -> Value {
        json!(self.to_string())
    }
}

impl Shown for http::Uri {
    fn shown(&self) -> Value {
        json!(self.to_string())
    }
}

impl Shown for Secret {
    fn shown(&self) -> Value {
        json!(REDACTED)
    }
}

impl Shown for AnalyticsTls {
    fn shown(&self) -> Value {
        let Self { authorities, certificate } = self;
        let verify = authorities.as_ref().map_or(json!("system"), authorities_view);
        json!({"verify": verify, "certificate": certificate.as_ref().map(key_pair_view)})
    }
}

impl Shown for Arc<Tls> {
    fn shown(&self) -> Value {
        let certificates: Vec<_> = self.certificates.iter().map(key_pair_view).collect();
        let client = match &self.client {
            ClientCertificates::Ignored => json!("ignored"),
            ClientCertificates::Required(by) => json!({"required_by": authorities_view(by)}),
        };
        json!({"certificates": certificates, "client_certificates": client})
    }
}

impl Shown for Vec<IpNet> {
    fn shown(&self) -> Value {
        json!(self.iter().map(ToString::to_string).collect::<Vec<_>>())
    }
}

impl Shown for MetricInterval {
    fn shown(&self) -> Value {
        self.0.shown()
    }
}

/// Where a signal goes, without what its fields hold.
impl Shown for ExportDraft {
    fn shown(&self) -> Value {
        let Some(endpoint) = &self.endpoint else { return Value::Null };
        let headers: BTreeMap<_, _> =
            self.headers.iter().flatten().map(|(name, _)| (name.to_string(), REDACTED)).collect();
        json!({"address": endpoint.to_string(), "protocol": self.protocol.map(OtlpProtocol::name), "headers": headers})
    }
}

impl Shown for Sampling {
    fn shown(&self) -> Value {
        let percent = |percent: Percent| json!(percent.ratio() * 100.0);
        let Self { client, random, overall } = *self;
        json!({"client": percent(client), "random": percent(random), "overall": percent(overall)})
    }
}

impl Shown for Percent {
    fn shown(&self) -> Value {
        json!(self.ratio() * 100.0)
    }
}

impl Shown for Vec<TraceLabel> {
    fn shown(&self) -> Value {
        let of = |label: &TraceLabel| match &label.value {
            TraceLabelValue::Text(_) => json!({"name": label.name}),
            TraceLabelValue::Header(header, _) => json!({"name": label.name, "header": header.to_string()}),
        };
        json!(self.iter().map(of).collect::<Vec<_>>())
    }
}

impl Shown for Vec<TraceListener> {
    fn shown(&self) -> Value {
        let of = |one: &TraceListener| json!({"port": one.port, "trust": one.trust.as_ref().map(Shown::shown), "serverTiming": one.server_timing});
        json!(self.iter().map(of).collect::<Vec<_>>())
    }
}

macro_rules! shown_by_name {
    ($($name:ident),+) => {$(
        impl Shown for $name {
            fn shown(&self) -> Value {
                json!(Self::NAMES.iter().find(|(_, known)| known == self).map(|(name, _)| name))
            }
        }
    )+};
}
shown_by_name!(LogLevel, ReloadMode, UpstreamHost, ParentDecision, TraceTrust);
