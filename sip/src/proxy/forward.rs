//! Forwarding a request (RFC 3261 §16.6, RFC 3327 §5, RFC 3581, RFC 5626 §5).

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use super::route::route_uri;
use crate::digits::Digits;
use crate::edit::Edit;
use crate::message::Message;
use crate::name::{HeaderName, Method};
use crate::text;
use crate::transport::Transport;
use crate::uri::Uri;

/// Where one copy goes: what [`super::route`] found, and what the location service adds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Target<'a> {
    /// The new Request-URI, without angle brackets; `None` leaves the received one.
    pub request_uri: Option<&'a str>,
    /// Of [`super::Routed`].
    pub remove_routes: usize,
    pub remove_last_route: bool,
    /// Route values to put on top, comma-separated as in a header: the Path of a binding, or proxies to visit.
    pub push_routes: &'a str,
}

/// One side of this server in a Record-Route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop<'a> {
    pub transport: Transport,
    /// host:port of the listener, as in its Via.
    pub sent_by: &'a str,
    /// User part that leads to the flow on this side (RFC 5626 §5.3.2), in characters of a user part.
    pub token: Option<&'a str>,
}

/// The Record-Route to add: one value where both sides are reached alike, two otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRoute<'a> {
    /// The side the request came from.
    pub upstream: Hop<'a>,
    /// The side it leaves on.
    pub downstream: Hop<'a>,
}

/// A change to the headers besides those of §16.6. Two changes of one message must not touch the same line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a> {
    /// Removes every line.
    Remove(HeaderName),
    /// Removes every line with that name (any case).
    RemoveText(&'a str),
    /// Replaces the value of the first line, or adds one.
    Set(HeaderName, Cow<'a, str>),
    /// Adds a line at the end; after a `Remove`, replaces all.
    Append(HeaderName, Cow<'a, str>),
    AppendText(&'a str, Cow<'a, str>),
    /// Adds a line above the first of that name.
    Prepend(HeaderName, Cow<'a, str>),
    /// Replaces the body and its Content-Length.
    Body(Bytes),
}

impl Change<'_> {
    pub fn apply(&self, edit: &mut Edit<'_>) {
        match self {
            Change::Remove(name) => edit.remove(*name),
            Change::RemoveText(name) => edit.remove_text(name),
            Change::Set(name, value) => edit.set(*name, value),
            Change::Append(name, value) => edit.append(*name, value),
            Change::AppendText(name, value) => edit.append_text(name, value),
            Change::Prepend(name, value) => edit.prepend(*name, value),
            Change::Body(body) => edit.set_body(body.clone()),
        };
    }
}

/// Everything that makes the forwarded copy.
#[derive(Debug, Clone, Copy)]
pub struct Forward<'a> {
    pub target: Target<'a>,
    /// The transport and sent-by of our Via.
    pub transport: Transport,
    pub sent_by: &'a str,
    /// From [`super::branch`] or [`super::stateless_branch`]; another one for each attempt.
    pub branch: &'a str,
    pub record_route: Option<RecordRoute<'a>>,
    /// Max-Breadth of this branch (RFC 5393 §5.3.3); at least 1.
    pub max_breadth: u32,
    pub changes: &'a [Change<'a>],
}

/// The copy as it goes out. The top Via of the request is stamped with its source (§18.2.1, RFC 3581); a datagram
/// gets a Content-Length only if it had one, a stream always.
pub fn forward(request: &Message, plan: &Forward<'_>) -> Bytes {
    let mut edit = Edit::new(request);
    let target = &plan.target;
    let mut next = Effective::of(request, target);

    edit.stamp_via().prepend_with(HeaderName::Via, |text| {
        for part in ["SIP/2.0/", plan.transport.via(), " ", plan.sent_by, ";branch=", plan.branch] {
            text.push_str(part);
        }
    });

    let uri = next.uri.take();
    match next.strict {
        None => {
            if let Some(uri) = &uri {
                edit.set_request_uri(uri);
            }
            if target.remove_last_route {
                rewrite_routes(&mut edit, request, target, 0, None);
            } else {
                if !target.push_routes.is_empty() {
                    edit.prepend(HeaderName::Route, target.push_routes);
                }
                if target.remove_routes > 0 {
                    edit.remove_first_values(HeaderName::Route, target.remove_routes);
                }
            }
        }
        // §16.6 step 6: the next hop is a strict router.
        Some(strict) => {
            let last = uri.as_deref().or_else(|| std::str::from_utf8(request.uri()).ok());
            edit.set_request_uri(&clean_uri(strict));
            rewrite_routes(&mut edit, request, target, 1, last);
        }
    }

    if let Some(record_route) = &plan.record_route {
        let sips = next.sips;
        edit.prepend_with(HeaderName::RecordRoute, |text| record_route.write(text, sips));
    }
    match request.header(HeaderName::MaxForwards) {
        Some(value) => {
            // More than 255 is outside §20.22; it is brought back to the range.
            let hops = text::decimal(value).unwrap_or(70).min(255).saturating_sub(1);
            edit.replace(value, Digits::of(hops).as_str());
        }
        None => {
            edit.append(HeaderName::MaxForwards, "70");
        }
    }
    if request.method() != Method::Cancel {
        let breadth = u64::from(plan.max_breadth);
        match request.header(HeaderName::MaxBreadth) {
            // One value only (RFC 5393 §5.3.3).
            Some(_) if request.headers(HeaderName::MaxBreadth).nth(1).is_some() => {
                edit.remove(HeaderName::MaxBreadth);
                edit.append(HeaderName::MaxBreadth, Digits::of(breadth).as_str());
            }
            Some(value) if text::decimal(value) == Some(breadth) => {}
            Some(value) => {
                edit.replace(value, Digits::of(breadth).as_str());
            }
            None => {
                edit.append(HeaderName::MaxBreadth, Digits::of(breadth).as_str());
            }
        }
    }
    let has_body = plan.changes.iter().any(|change| matches!(change, Change::Body(_)));
    if plan.transport.is_reliable() && request.header(HeaderName::ContentLength).is_none() && !has_body {
        edit.append(HeaderName::ContentLength, Digits::of(request.body().len() as u64).as_str());
    }
    for change in plan.changes {
        change.apply(&mut edit);
    }
    edit.finish()
}

/// Where a copy is sent (§16.6 step 7); RFC 3263 does the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop<'a> {
    /// The URI to resolve: the top Route, else the Request-URI.
    pub uri: Cow<'a, str>,
    /// The Request-URI is sips, so the hop must be secure whatever `uri` says.
    pub sips: bool,
    /// The next hop is a strict router.
    pub strict: bool,
}

pub fn next_hop<'a>(request: &'a Message, target: &Target<'a>) -> NextHop<'a> {
    let next = Effective::of(request, target);
    let uri = match (next.top, next.uri) {
        (Some(top), _) => Cow::Borrowed(top),
        (None, Some(uri)) => uri,
        (None, None) => Cow::Borrowed(std::str::from_utf8(request.uri()).unwrap_or_default()),
    };
    NextHop { uri, sips: next.sips_target, strict: next.strict.is_some() }
}

/// Whether a Record-Route must be added whatever the policy says: a sips request that did not come over TLS, or one
/// that came over TLS and goes on without sips (§16.6 step 4).
pub fn must_record_route(request: &Message, target: &Target<'_>, received: Transport) -> bool {
    request.method().forms_dialog() && Effective::of(request, target).sips != received.is_secure()
}

impl RecordRoute<'_> {
    fn write(&self, text: &mut String, sips: bool) {
        let RecordRoute { upstream, downstream } = self;
        downstream.write(text, sips);
        // Compared with what is written, for two sides that read the same would be a spiral.
        let same = upstream.token == downstream.token
            && upstream.transport == downstream.transport
            && upstream.sent_by == downstream.sent_by;
        if !same {
            // On a line of its own: of two in one, a widespread stack (belle-sip) copies the second twice into its response.
            text.push_str("\r\nRecord-Route: ");
            upstream.write(text, sips);
        }
    }
}

impl Hop<'_> {
    fn write(&self, text: &mut String, sips: bool) {
        // A side without TLS cannot be sips, even if the other one is (§16.7 step 8).
        let sips = sips && self.transport.is_secure();
        text.push_str(if sips { "<sips:" } else { "<sip:" });
        if let Some(token) = self.token {
            text.push_str(token);
            text.push('@');
        }
        text.push_str(self.sent_by);
        match self.transport {
            Transport::Udp => {}
            Transport::Tls if sips => {}
            transport => {
                text.push_str(";transport=");
                text.push_str(transport.param());
            }
        }
        text.push_str(";lr>");
    }
}

/// Request-URI and top Route of the copy.
struct Effective<'a> {
    /// The new Request-URI before the swap for a strict router, if another than received.
    uri: Option<Cow<'a, str>>,
    top: Option<&'a str>,
    /// The top Route, where it is a strict router.
    strict: Option<&'a str>,
    sips_target: bool,
    /// Request-URI or top Route is sips.
    sips: bool,
}

impl<'a> Effective<'a> {
    fn of(request: &'a Message, target: &Target<'a>) -> Effective<'a> {
        let uri = target.request_uri.map(clean_uri);
        let top = if !target.push_routes.is_empty() {
            text::list(target.push_routes.as_bytes()).next().and_then(route_uri)
        } else if request.header(HeaderName::Route).is_some() {
            remaining_routes(request, target).next().and_then(route_uri)
        } else {
            None
        };
        let strict = top.filter(|top| !Uri::parse(top.as_bytes()).is_ok_and(|uri| uri.param("lr").is_some()));
        let sips_target = is_sips(uri.as_deref().map_or(request.uri(), str::as_bytes));
        let sips = sips_target || top.is_some_and(|top| is_sips(top.as_bytes()));
        Effective { uri, top, strict, sips_target, sips }
    }
}

fn is_sips(uri: &[u8]) -> bool {
    uri.len() > 5 && uri[..5].eq_ignore_ascii_case(b"sips:")
}

/// The received Route values that stay.
fn remaining_routes<'m>(request: &'m Message, target: &Target<'_>) -> impl Iterator<Item = &'m [u8]> {
    let mut keep = usize::MAX;
    if target.remove_last_route {
        keep = request.values(HeaderName::Route).count().saturating_sub(1 + target.remove_routes);
    }
    request.values(HeaderName::Route).skip(target.remove_routes).take(keep)
}

/// Writes the Route values anew, without the first `skip`, with `last` behind them.
fn rewrite_routes(edit: &mut Edit<'_>, request: &Message, target: &Target<'_>, skip: usize, last: Option<&str>) {
    edit.remove(HeaderName::Route);
    let pushed = text::list(target.push_routes.as_bytes());
    let all: SmallVec<[&[u8]; 8]> = pushed.chain(remaining_routes(request, target)).skip(skip).collect();
    if all.is_empty() && last.is_none() {
        return;
    }
    edit.prepend_with(HeaderName::Route, |text| {
        let mut separator = "";
        for value in all {
            text.push_str(separator);
            text.push_str(&String::from_utf8_lossy(value));
            separator = ", ";
        }
        if let Some(last) = last {
            for part in [separator, "<", last, ">"] {
                text.push_str(part);
            }
        }
    });
}

/// The URI without what may not stand in a Request-URI: headers and the method parameter (§19.1.1, table 1).
fn clean_uri(uri: &str) -> Cow<'_, str> {
    let bytes = uri.as_bytes();
    // Nearly every contact passes here: parameters have few `=`, and `?` is rare.
    let has_method = |eq: usize| eq >= 6 && bytes[eq - 6..eq].eq_ignore_ascii_case(b"method");
    if memchr::memchr(b'?', bytes).is_none() && !memchr::memchr_iter(b'=', bytes).any(has_method) {
        return uri.into();
    }
    let Ok(parsed) = Uri::parse(uri.as_bytes()) else { return uri.into() };
    if !parsed.is_sip() {
        return uri.into();
    }
    // The parameters are a slice of `uri`, also where empty.
    let head = (parsed.params.as_ptr() as usize).saturating_sub(uri.as_ptr() as usize);
    let mut out = String::with_capacity(uri.len());
    out.push_str(uri.get(..head).unwrap_or(uri));
    for param in parsed.params.split(';').filter(|p| !p.is_empty()) {
        let name = param.split('=').next().unwrap_or_default();
        if !name.eq_ignore_ascii_case("method") {
            out.push(';');
            out.push_str(param);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;
