//! The 200 to a REGISTER (RFC 3261 §10.3 step 8, RFC 3327 §5.3, RFC 3608 §6.1, RFC 5626 §6, RFC 5627 §5.2).

use std::fmt::Write as _;

use super::{Binding, GruuKey, Policy};
use crate::digits::Digits;
use crate::header::Date;
use crate::message::Message;
use crate::name::HeaderName;
use crate::reply::Reply;
use crate::text;
use crate::transport::Flow;
use crate::uri::{Aor, Uri};

/// What goes into the 200 beside the bindings.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub aor: &'a Aor,
    /// The flow that the REGISTER came on.
    pub flow: &'a Flow,
    pub to_tag: &'a str,
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// `Service-Route` values, comma-separated in angle brackets; empty for none.
    pub service_route: &'a str,
    /// `P-Associated-URI` values: the user's identities in angle brackets; empty for none.
    pub associated: &'a str,
    /// `None` gives no GRUUs.
    pub gruu: Option<&'a GruuKey>,
}

/// Writes the 200 for `bindings`, which are those after [`apply`](super::Outcome::apply); `outbound` and `direct` are the outcome's.
/// The caller may add headers before it finishes the reply.
///
/// Push parameters in the contacts of other devices are left out: they are theirs alone (RFC 8599 §13).
pub fn answer(
    request: &Message,
    bindings: &[Binding],
    outbound: bool,
    direct: bool,
    policy: &Policy,
    answer: &Answer<'_>,
) -> Reply {
    let gruu = answer.gruu.filter(|_| request.has_token(HeaderName::Supported, "gruu"));
    let mut reply = Reply::new(request, 200, answer.to_tag);
    let mut value = String::with_capacity(256);
    for binding in bindings.iter().filter(|b| b.expires() > answer.now) {
        value.clear();
        write_contact(&mut value, binding, is_own(request, binding, answer.flow), gruu, answer);
        reply = reply.header(HeaderName::Contact, &value);
    }
    reply = reply.copy(request, HeaderName::Path);
    if !answer.service_route.is_empty() {
        reply = reply.header(HeaderName::ServiceRoute, answer.service_route);
    }
    if !answer.associated.is_empty() {
        reply = reply.header(HeaderName::PAssociatedUri, answer.associated);
    }
    if outbound {
        reply = reply.header(HeaderName::Require, "outbound");
        if let Some(seconds) = policy.flow_timer.filter(|_| direct) {
            reply = reply.header(HeaderName::FlowTimer, &seconds.to_string());
        }
    }
    value.clear();
    let _ = write!(value, "{}", Date::from_unix(answer.now));
    reply.header(HeaderName::Supported, "path, outbound").header(HeaderName::Date, &value)
}

fn write_contact(out: &mut String, binding: &Binding, own: bool, gruu: Option<&GruuKey>, answer: &Answer<'_>) {
    out.push('<');
    match own {
        true => out.push_str(binding.contact()),
        false => write_without_push(out, binding.contact()),
    }
    out.push_str(">;expires=");
    out.push_str(Digits::of(binding.expires() - answer.now).as_str());
    if binding.q != 1000 {
        let _ = write!(out, ";q=0.{:03}", binding.q);
        while out.ends_with('0') && !out.ends_with(".0") {
            out.pop();
        }
    }
    if let Some(id) = binding.instance_id() {
        let _ = write!(out, ";+sip.instance=\"<{id}>\"");
    }
    if let Some(id) = binding.reg_id() {
        let _ = write!(out, ";reg-id={id}");
    }
    out.push_str(binding.params());
    // A GRUU is quoted, and a tel AOR has none.
    if let (Some(key), Some(id), false) = (gruu, binding.instance_id(), answer.aor.host().is_empty()) {
        out.push_str(";pub-gruu=\"");
        key.write_public(answer.aor, id, out);
        out.push_str("\";temp-gruu=\"");
        key.write_temporary(answer.aor, binding, answer.now, out);
        out.push('"');
    }
}

/// Whether the binding is of the device that asks.
fn is_own(request: &Message, binding: &Binding, flow: &Flow) -> bool {
    if binding.flow.as_ref() == Some(flow) {
        return true;
    }
    *request.call_id() == *binding.call_id().as_bytes() && request.cseq() == binding.cseq
}

/// The contact without `pn-…` URI parameters.
fn write_without_push(out: &mut String, contact: &str) {
    let uri = Uri::parse(contact.as_bytes()).ok().filter(|uri| uri.params.contains(";pn-"));
    let Some(uri) = uri else { return out.push_str(contact) };
    let at = uri.params.as_ptr() as usize - contact.as_ptr() as usize;
    out.push_str(&contact[..at]);
    for (name, value) in text::params(uri.params.as_bytes(), b';') {
        if name.len() >= 3 && name[..3].eq_ignore_ascii_case(b"pn-") {
            continue;
        }
        out.push(';');
        out.push_str(&String::from_utf8_lossy(name));
        if let Some(value) = value {
            out.push('=');
            out.push_str(&String::from_utf8_lossy(value));
        }
    }
    out.push_str(&contact[at + uri.params.len()..]);
}
