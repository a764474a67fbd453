//! Messages of a handset, and the notifications about them, whatever carries them.

use super::Step;
use super::call::Call;
use super::cpim::{self, Envelope, is};
use super::engine::{Engine, Go, Halt, What};
use super::media::Out;
use super::model::{Accept, Content, Kind};
use super::seen::{Got, How, Receipt};
use crate::message::{Message, uri_of};

/// Where content came from.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) from: String,
    pub(super) how: How,
    /// The call it came in.
    pub(super) call: Option<usize>,
    pub(super) deferred: bool,
    /// Nothing is said about it.
    pub(super) quiet: bool,
    /// The focus of the group that it was said in.
    pub(super) focus: Option<String>,
}

impl Engine {
    pub(super) async fn page(&mut self, to: &str, id: &str, text: &str, number: usize) -> Go {
        if self.model.kind == Kind::Pager && !self.model.cpim {
            let uri = self.aor_of(to);
            let req = self.ua.req("MESSAGE", &uri).body("text/plain;charset=UTF-8", text);
            return self.start(req, What::Page(number)).await;
        }
        let body = self.envelope(to, false, id, Content::Text(text));
        self.message(to, body, What::Page(number)).await
    }

    pub(super) fn envelope(&self, to: &str, session: bool, id: &str, content: Content<'_>) -> Vec<u8> {
        let extra = self.state.look(|seen| seen.extras.get(id).cloned()).unwrap_or_default();
        self.model.envelope((&self.ua.aor(), &self.aor_of(to)), session, id, content, &extra)
    }

    pub(super) async fn message(&mut self, to: &str, body: Vec<u8>, what: What) -> Go {
        let (uri, conversation) = (self.aor_of(to), self.conversation(to));
        let req = self.ua.req("MESSAGE", &uri).body("message/cpim", body);
        let mut req = self.model.service(req, "msg", &self.ctx, &conversation);
        if let (Some(seconds), What::Page(_)) = (self.model.expires, &what) {
            req = req.add("Expires", seconds.to_string());
        }
        self.start(req, what).await
    }

    pub(super) async fn paged(&mut self, message: Message) -> Go {
        let is_notification = message.body_text().contains("message/imdn+xml");
        // One about a message of long ago may still wait for the account, and is nothing to break off at.
        if !is_notification {
            self.trap(Step::Received)?;
        }
        // SIMPLE IM has no messages but those in sessions; notifications come so (RCS-e).
        if self.model.kind == Kind::Rcse && !is_notification {
            self.respond(&message, "403 Forbidden", &[], "").await?;
            return Err(Halt::Fault("a text by MESSAGE for a SIMPLE IM handset".into()));
        }
        self.respond(&message, "200 OK", &[], "").await?;
        let from = asserted(&message);
        let focus = self.paging_focus(&message, &from);
        let origin = Origin { from, how: How::Page, call: None, deferred: false, quiet: false, focus };
        let content_type = message.header("content-type").unwrap_or("").to_owned();
        self.content(origin, &content_type, message.body).await
    }

    /// Tells that the user types: in the session, or by MESSAGE where a kind has no sessions (RFC 3994 §3.2).
    pub(super) async fn compose(&mut self, to: &str, active: bool) -> Go {
        const TYPE: &str = "application/im-iscomposing+xml";
        let body = cpim::composing(active).into_bytes();
        if let Some(call) = self.calls.iter().find(|call| call.peer == to && call.media.is_some()) {
            call.put(Out { key: None, content_type: TYPE, body });
            return Ok(());
        }
        if self.model.calls() {
            return Err(Halt::Fault("composing without a session".into()));
        }
        let (uri, conversation) = (self.aor_of(to), self.conversation(to));
        let req = self.ua.req("MESSAGE", &uri).body(TYPE, body);
        let req = self.model.service(req, "msg", &self.ctx, &conversation);
        self.start(req, What::Other).await
    }

    /// The focus that a MESSAGE is from: it says so, or its sender is not the author.
    fn paging_focus(&self, message: &Message, from: &str) -> Option<String> {
        let author = Envelope::read(&message.body).map(|envelope| user_of(uri_of(&envelope.from)));
        let other = author.is_some_and(|author| !author.is_empty() && author != "anonymous" && author != from);
        let says = message.header("contact").is_some_and(|contact| contact.contains("isfocus"));
        let uri = uri_of(message.header("from").unwrap_or(""));
        let known = self.state.look(|seen| seen.room(uri).is_some());
        (says || other || known).then(|| uri.to_owned())
    }

    /// Takes content, however it came.
    pub(super) async fn content(&mut self, mut origin: Origin, content_type: &str, body: Vec<u8>) -> Go {
        let mut envelope = Envelope { content_type: content_type.to_owned(), body, ..Envelope::default() };
        if is(content_type, "message/cpim") {
            match Envelope::read(&envelope.body) {
                Some(read) => envelope = read,
                None => return Err(Halt::Fault("an envelope that cannot be read".into())),
            }
        }
        let author = uri_of(&envelope.from);
        if !author.is_empty() && !author.contains("anonymous") {
            origin.from = user_of(author);
        }
        let text = String::from_utf8_lossy(&envelope.body).into_owned();
        if is(&envelope.content_type, "message/imdn+xml") {
            let Some((id, kind)) = cpim::read_notification(&text) else {
                return Err(Halt::Fault("a notification that cannot be read".into()));
            };
            let receipt = Receipt { id, kind, how: origin.how, from: origin.from };
            self.state.change(|seen| seen.receipts.push(receipt));
            return Ok(());
        }
        if is(&envelope.content_type, "application/im-iscomposing+xml") {
            self.state.change(|seen| seen.composing.push((origin.from, cpim::is_active(&text))));
            return Ok(());
        }
        self.state.change(|seen| {
            seen.messages.push(Got {
                id: envelope.id.clone(),
                text,
                content_type: envelope.content_type,
                more: envelope.more,
                disposition: envelope.disposition,
                wants: envelope.wants.clone(),
                date: envelope.date.clone(),
                from: origin.from.clone(),
                how: origin.how,
                deferred: origin.deferred,
                room: origin.focus.as_deref().map(user_of),
            });
        });
        if origin.quiet {
            return Ok(());
        }
        if origin.how != How::Session {
            self.trap(Step::Confirmed)?;
        }
        let Some(id) = envelope.id else { return Ok(()) };
        let wanted = |word: &str| envelope.wants.iter().any(|want| want == word);
        let date = envelope.date.clone().unwrap_or_default();
        if self.model.hasty && self.model.displays && wanted("display") {
            self.notify("displayed", &id, &date, &origin).await?;
        }
        // A copy is shown once, yet its delivery is told again: the server may have missed it.
        if self.model.delivers && wanted("positive-delivery") {
            self.notify("delivered", &id, &date, &origin).await?;
        }
        if self.model.delivers && wanted("display") {
            match self.model.displays {
                true if self.model.hasty => {}
                true => self.notify("displayed", &id, &date, &origin).await?,
                false => {
                    self.shown.insert(id, (origin, date));
                }
            }
        }
        Ok(())
    }

    /// Sends a notification in the session that the message came in, else by MESSAGE.
    pub(super) async fn notify(&mut self, kind: &str, about: &str, date: &str, origin: &Origin) -> Go {
        let xml = cpim::notification(about, date, kind);
        let id = self.ctx.id();
        // Where the call will be taken, CPM handsets wait for it; the others tell at once.
        let soon = self.model.accept == Accept::Auto && !self.model.simple;
        let goes = |call: &&Call| {
            Some(call.number) == origin.call
                && !call.deferred
                && !self.model.large
                && call.remote.is_some()
                && (call.media.is_some() || soon)
        };
        if let Some(at) = self.calls.iter().position(|call| goes(&call)) {
            let body = match &origin.focus {
                Some(focus) => {
                    self.group_envelope(focus, Some(&self.aor_of(&origin.from)), &id, Content::Notification(&xml))
                }
                None => self.envelope(&origin.from, true, &id, Content::Notification(&xml)),
            };
            self.calls[at].put_later(Out { key: None, content_type: "message/cpim", body });
            return Ok(());
        }
        let body = self.envelope(&origin.from, false, &id, Content::Notification(&xml));
        if let Some(focus) = &origin.focus {
            return self.page_focus(focus, body, What::Other).await;
        }
        self.message(&origin.from, body, What::Other).await
    }
}

/// The user that a request is from: asserted, else by From.
pub(super) fn asserted(message: &Message) -> String {
    let asserted = message.values("p-asserted-identity");
    let value = asserted.first().map(String::as_str).or(message.header("from")).unwrap_or("");
    user_of(uri_of(value))
}

pub(super) fn user_of(uri: &str) -> String {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.split(['@', ';']).next().unwrap_or("").to_owned()
}
