//! `client-id-enforcement-flex`: who has a `Contract` with the API, by client id and, unless told otherwise, secret.

use http::HeaderName;

use crate::expression::Expression;
use crate::read::At;

/// Where a request carries the client's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientIdEnforcement {
    /// As the user and the password of `Authorization: Basic`.
    BasicHeader,
    /// Where these say. Without one for the secret, the id alone is enough.
    Expressions { id: Expression, secret: Option<Expression> },
}

#[derive(Clone, Copy)]
enum Origin {
    Custom,
    Basic,
}

const ORIGINS: [(&str, Origin); 2] =
    [("customExpression", Origin::Custom), ("httpBasicAuthenticationHeader", Origin::Basic)];

impl ClientIdEnforcement {
    /// Flex's name for it.
    pub const NAME: &'static str = "client-id-enforcement-flex";

    pub(super) fn read(at: &At<'_>) -> Option<Self> {
        let mut fields = at.fields()?;
        let origin = fields.take("credentialsOriginHasHttpBasicAuthenticationHeader");
        let origin = origin.as_ref().map_or(Some(Origin::Custom), |at| at.choice(&ORIGINS));
        let id = fields.take("clientIdExpression");
        let secret = fields.take("clientSecretExpression");
        fields.finish();
        let id = id.as_ref().map_or(Some(client_id()), Expression::read);
        let secret = secret.as_ref().map_or(Some(None), |at| Expression::read(at).map(Some));
        Some(match (origin?, id?, secret?) {
            // Flex keeps the defaults of the expressions beside it; they have no say.
            (Origin::Basic, ..) => Self::BasicHeader,
            (Origin::Custom, id, secret) => Self::Expressions { id, secret },
        })
    }
}

fn client_id() -> Expression {
    Expression::Header(HeaderName::from_static("client_id"))
}
