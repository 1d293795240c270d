//! Phase `response_policies`: what an answer gets on its way out, whoever gave it.
//!
//! No policy of this version has a response side; what every answer gets is the request id, by which a user can
//! name the request to an operator.

use crate::accept::X_REQUEST_ID;
use crate::body::Reply;
use crate::pipeline::Flow;
use http::Response;

/// Runs the response side, in reverse order of the request side.
pub(crate) fn response_policies(flow: &mut Flow, mut reply: Response<Reply>) -> Response<Reply> {
    reply.headers_mut().insert(X_REQUEST_ID, flow.request_id.clone());
    reply
}
