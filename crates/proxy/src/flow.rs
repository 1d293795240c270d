//! What one request carries through its phases.

use crate::exchange::ExchangeRef;
use crate::record::Closer;
use crate::request_id::RequestId;
use crate::upload::Incoming;
use http::Method;
use weir_policies::{Carried, ResponseHeaders};
use weir_telemetry::Continuation;
use weir_upstream::Lease;

/// A request. Dropped before its end, it records a cancelled exchange.
pub(crate) struct Flow {
    /// With the worker, the connection and the configuration, which all its holders share.
    pub(crate) exchange: ExchangeRef,
    /// Where in the configuration the connection's listener stands; none once a reload has taken that away.
    pub(crate) listener: Option<usize>,
    pub(crate) closer: Closer,
    pub(crate) trace: Continuation,
    pub(crate) request_id: RequestId,
    pub(crate) method: Method,
    /// The API at that listener, once known.
    pub(crate) api: Option<usize>,
    /// What comes behind the request, should it open a tunnel.
    pub(crate) tunnel: Option<Incoming>,
    /// Its place among the requests that are open at its endpoint, where there are several.
    pub(crate) lease: Option<Lease>,
    /// What has a say in the response, in the order of the request side.
    pub(crate) passed: Vec<Passed>,
}

/// A policy that the request has passed, and that has a say in the response.
pub(crate) struct Passed {
    /// Its place in the chain of the API.
    pub(crate) policy: usize,
    /// Its place among the runs of the exchange.
    pub(crate) run: usize,
    pub(crate) headers: ResponseHeaders,
    pub(crate) carried: Option<Carried>,
}
