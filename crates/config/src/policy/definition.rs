//! What the configuration knows of a policy of the chain: one implementation a policy, and the list of all.
//!
//! A new policy is a file here with its [`PolicySpec`], a file in the policies crate that decides, and its name in the
//! list of each: `policies!` in `policy/mod.rs`, `compiled!` in the policies crate.

use serde_json::Value;

use crate::read::Cursor;

/// The checked configuration of a policy, and what is known of every policy of its kind.
pub(crate) trait PolicySpec: Sized {
    /// The policy's name in YAML, in metrics and in events: `http-basic-authentication-flex`.
    const NAME: &'static str;

    /// It stands before all others, whatever their `order`.
    const IS_FIRST: bool = false;

    /// It is bound to a service, and asked for each attempt there.
    const IS_OUTBOUND: bool = false;

    /// Reads `config`. Every field is asked for before the first `?`: the schema is made of what is asked for.
    fn read(at: &Cursor<'_>) -> Option<Self>;

    /// As it is shown to operators: everything but its secrets, for which [`crate::view::REDACTED`] stands.
    fn view(&self) -> Value;

    /// Every secret in it that is text. No document and no message may have one in it.
    fn secrets(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether it says who the consumer is.
    fn identifies(&self) -> bool {
        false
    }

    /// Whether it asks who the consumer is.
    fn asks_who(&self) -> bool {
        false
    }
}

/// The enum of all policies of the chain, what is asked of any of them, and their part of the catalogue.
macro_rules! policies {
    ($($policy:ident),+ $(,)?) => {
        /// A policy of the chain, with its checked configuration.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Policy {
            $($policy($policy),)+
        }

        impl Policy {
            /// The policy's name in YAML, in metrics and in events: `http-basic-authentication-flex`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$policy(_) => <$policy as PolicySpec>::NAME,)+
                }
            }

            /// As it is shown to operators: everything but its secrets.
            pub fn view(&self) -> serde_json::Value {
                match self {
                    $(Self::$policy(policy) => policy.view(),)+
                }
            }

            /// Every secret in it that is text.
            pub fn secrets(&self) -> Vec<&str> {
                match self {
                    $(Self::$policy(policy) => policy.secrets(),)+
                }
            }

            /// Whether it stands before all others, whatever their `order`.
            pub(crate) const fn is_first(&self) -> bool {
                match self {
                    $(Self::$policy(_) => <$policy as PolicySpec>::IS_FIRST,)+
                }
            }

            /// Whether it is bound to a service, and asked for each attempt there.
            pub(crate) const fn is_outbound(&self) -> bool {
                match self {
                    $(Self::$policy(_) => <$policy as PolicySpec>::IS_OUTBOUND,)+
                }
            }

            /// Whether it says who the consumer is.
            pub(crate) fn identifies(&self) -> bool {
                match self {
                    $(Self::$policy(policy) => policy.identifies(),)+
                }
            }

            /// Whether it asks who the consumer is.
            pub(crate) fn asks_who(&self) -> bool {
                match self {
                    $(Self::$policy(policy) => policy.asks_who(),)+
                }
            }
        }

        /// The policies of the chain.
        static CHAIN: &[Entry] = &[
            $(Entry {
                name: <$policy as PolicySpec>::NAME,
                read: Read::Chain(|at| <$policy as PolicySpec>::read(at).map(Policy::$policy)),
            },)+
        ];
    };
}

pub(super) use policies;
