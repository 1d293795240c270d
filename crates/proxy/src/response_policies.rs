//! Phase `response_policies`: what an answer gets on its way out, whoever gave it.
//!
//! No policy of this version looks at a response. What a policy of the request side has to say in it is put in here, and
//! the request id, by which a user can name the request to an operator.

use crate::accept::X_REQUEST_ID;
use crate::body::Reply;
use crate::pipeline::Flow;
use http::Response;

/// Runs the response side, in reverse order of the request side: what the first policy says stands.
pub(crate) fn response_policies(flow: &mut Flow, mut reply: Response<Reply>) -> Response<Reply> {
    let headers = reply.headers_mut();
    for (name, value) in flow.response_headers.drain(..).rev() {
        headers.insert(name, value);
    }
    let mut id = flow.request_id.clone();
    // Of HTTP/2: it is never said twice, and must not push out of the client's table what is (RFC 7541 7.1.3).
    id.set_sensitive(true);
    headers.insert(X_REQUEST_ID, id);
    reply
}
