//! What a request must satisfy before it goes on, and what becomes of its header fields: one file a policy, each with
//! one shape.
//!
//! A policy decides and says its [`Outcome`], at once or when somebody else has answered; it never measures or logs. The chain in the proxy runs the policies, times
//! them and records what they said, so that a new policy gets its telemetry without writing a line of it. How one is
//! added is in `CONTRIBUTING.md`.

mod basic_auth;
mod client_id;
mod contract;
mod cors;
mod credential_injection;
mod credentials;
mod direct_response;
mod expression;
mod header_injection;
mod header_removal;
mod ip_list;
mod json_threat;
mod jwt;
mod limiter;
mod message_logging;
mod rate_limit;
mod request_size_limit;
mod services;
#[cfg(test)]
mod testing;

pub use contract::{
    Answer, AttemptView, Authenticated, Body, Carried, Content, ContentReader, Decision, Effects, Message, Need,
    Outcome, RequestView, ResponseHeaders, ResponseView, Stages, Step, Waiting,
};
pub use services::Services;

use basic_auth::BasicAuth;
use bytes::Bytes;
use client_id::ClientId;
use contract::Compiled;
use cors::Cors;
use credential_injection::CredentialInjection;
use direct_response::DirectResponse;
use header_injection::HeaderInjection;
use header_removal::HeaderRemoval;
use ip_list::{IpAllowlist, IpBlocklist};
use json_threat::JsonThreat;
use jwt::Jwt;
use message_logging::MessageLogging;
use rate_limit::RateLimiter;
use request_size_limit::RequestSizeLimit;
use weir_config::{Api, PolicyBinding};

/// The enum of all policies, each under the name of its configuration.
macro_rules! compiled {
    ($($spec:ident: $policy:ident),+ $(,)?) => {
        /// A policy, compiled at load so that evaluating it cannot fail.
        #[derive(Debug)]
        pub enum Policy {
            $($policy($policy),)+
        }

        impl Policy {
            /// Compiles a policy of an API. What it keeps over a reload is in `services`.
            pub fn compile(binding: &PolicyBinding, api: &Api, services: &Services) -> Self {
                match &binding.policy {
                    $(weir_config::Policy::$spec(spec) => {
                        Self::$policy(Compiled::compile(spec, &binding.id, api, services))
                    })+
                }
            }

            /// The stages that it takes part in.
            pub fn stages(&self) -> Stages {
                match self {
                    $(Self::$policy(_) => <$policy as Compiled>::STAGES,)+
                }
            }

            /// Before the route is chosen.
            pub fn before_route(&self, request: &mut RequestView<'_>) -> Step {
                match self {
                    $(Self::$policy(policy) => policy.before_route(request),)+
                }
            }

            /// With the route chosen.
            pub fn on_request(&self, request: &mut RequestView<'_>) -> Step {
                match self {
                    $(Self::$policy(policy) => policy.on_request(request),)+
                }
            }

            /// What it may ask for of a request's content.
            pub fn needs(&self) -> Need {
                match self {
                    $(Self::$policy(policy) => policy.needs(),)+
                }
            }

            /// With the route chosen, and the content of the request read.
            pub fn on_content(&self, request: &mut RequestView<'_>, content: &Bytes) -> Step {
                match self {
                    $(Self::$policy(policy) => policy.on_content(request, content),)+
                }
            }

            /// Before the request is sent to an endpoint.
            pub fn on_attempt(&self, attempt: &mut AttemptView<'_>) -> Step {
                match self {
                    $(Self::$policy(policy) => policy.on_attempt(attempt),)+
                }
            }

            /// Before the response is sent.
            pub fn on_response(&self, response: &mut ResponseView<'_>) {
                match self {
                    $(Self::$policy(policy) => policy.on_response(response),)+
                }
            }
        }
    };
}

compiled! {
    ClientIdEnforcement: ClientId,
    Cors: Cors,
    CredentialInjection: CredentialInjection,
    DirectResponse: DirectResponse,
    HeaderInjection: HeaderInjection,
    HeaderRemoval: HeaderRemoval,
    HttpBasicAuthentication: BasicAuth,
    IpAllowlist: IpAllowlist,
    IpBlocklist: IpBlocklist,
    JsonThreatProtection: JsonThreat,
    JwtValidation: Jwt,
    MessageLogging: MessageLogging,
    RateLimiting: RateLimiter,
    RequestSizeLimit: RequestSizeLimit,
}
