//! `client-id-enforcement-flex`: who has a `Contract` with the API, by client id and, unless set otherwise, secret.

use http::HeaderName;
use serde_json::{Value, json};

use super::PolicySpec;
use crate::expression::Expression;
use crate::read::Cursor;

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

impl PolicySpec for ClientIdEnforcement {
    const NAME: &'static str = "client-id-enforcement-flex";

    fn read(at: &Cursor<'_>) -> Option<Self> {
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

    fn view(&self) -> Value {
        match self {
            Self::BasicHeader => json!({"origin": "basic authentication"}),
            Self::Expressions { id, secret } => {
                json!({"client_id": id.to_string(), "client_secret": secret.as_ref().map(ToString::to_string)})
            }
        }
    }

    fn identifies(&self) -> bool {
        true
    }
}

fn client_id() -> Expression {
    Expression::Header(HeaderName::from_static("client_id"))
}
