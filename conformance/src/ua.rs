//! A user agent that does only what a case tells it to.

use std::time::Duration;

use crate::case::{ANSWER, Ctx, SILENCE, Verdict, fail, skip};
use crate::digest::{Challenge, Credentials};
use crate::link::Link;
use crate::message::{Message, uri_of};
use crate::target::{Account, Proto};

/// How long a first response may take where its absence is no fault.
const SOON: Duration = Duration::from_secs(1);

/// A request in the making: header lines in order, as they will be written.
#[derive(Debug, Clone)]
pub(crate) struct Req {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Req {
    /// Replaces all lines of that name by one, at the place of the first.
    pub(crate) fn set(mut self, name: &str, value: impl Into<String>) -> Req {
        let mut value = Some(value.into());
        let mut kept = Vec::new();
        for (got, old) in self.headers {
            match got.eq_ignore_ascii_case(name) {
                false => kept.push((got, old)),
                true => kept.extend(value.take().map(|value| (got, value))),
            }
        }
        kept.extend(value.take().map(|value| (name.to_owned(), value)));
        self.headers = kept;
        self
    }

    pub(crate) fn add(mut self, name: &str, value: impl Into<String>) -> Req {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces the first line of that name and leaves the others.
    pub(crate) fn replace_first(mut self, name: &str, value: impl Into<String>) -> Req {
        if let Some((_, old)) = self.headers.iter_mut().find(|(got, _)| got.eq_ignore_ascii_case(name)) {
            *old = value.into();
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Req {
        self.headers.retain(|(got, _)| !got.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn body(self, content_type: &str, body: impl AsRef<[u8]>) -> Req {
        Req { body: body.as_ref().to_vec(), ..self.set("Content-Type", content_type) }
    }

    pub(crate) fn get(&self, name: &str) -> &str {
        self.headers.iter().find(|(got, _)| got.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub(crate) fn branch(&self) -> String {
        crate::message::param(self.get("Via"), "branch").unwrap_or_default()
    }

    /// The wire form; Content-Length is added unless set.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} SIP/2.0\r\n", self.method, self.uri);
        for (name, value) in &self.headers {
            out += &format!("{name}: {value}\r\n");
        }
        if self.get("Content-Length").is_empty() {
            out += &format!("Content-Length: {}\r\n", self.body.len());
        }
        out += "\r\n";
        let mut out = out.into_bytes();
        out.extend_from_slice(&self.body);
        out
    }
}

/// One user on one flow.
pub(crate) struct Ua {
    pub(crate) link: Link,
    pub(crate) account: Account,
    pub(crate) domain: String,
    /// Of its REGISTERs.
    pub(crate) call_id: String,
    /// Of its From and of its answers' To.
    pub(crate) tag: String,
    cseq: u32,
    ctx: Ctx,
}

impl Ua {
    pub(crate) fn new(ctx: &Ctx, mut link: Link, account: &Account) -> Ua {
        link.strict = true;
        Ua {
            link,
            account: account.clone(),
            domain: ctx.domain().to_owned(),
            call_id: ctx.id(),
            tag: ctx.id(),
            cseq: 0,
            ctx: ctx.clone(),
        }
    }

    pub(crate) fn aor(&self) -> String {
        format!("sip:{}@{}", self.account.user, self.domain)
    }

    pub(crate) fn contact_uri(&self) -> String {
        let transport = match self.link.proto {
            Proto::Udp => String::new(),
            proto => format!(";transport={}", proto.name()),
        };
        format!("sip:{}@{}{transport}", self.account.user, self.link.name)
    }

    pub(crate) fn via(&self) -> String {
        let branch = format!("z9hG4bK-{}", self.ctx.id());
        format!("SIP/2.0/{} {};branch={branch};rport", self.link.proto.via(), self.link.name)
    }

    pub(crate) fn next_cseq(&mut self) -> u32 {
        self.cseq += 1;
        self.cseq
    }

    /// An out-of-dialog request from this user, complete but for what a case adds.
    pub(crate) fn req(&mut self, method: &str, uri: &str) -> Req {
        let cseq = self.next_cseq();
        let request = Req { method: method.to_owned(), uri: uri.to_owned(), headers: Vec::new(), body: Vec::new() }
            .add("Via", self.via())
            .add("Max-Forwards", "70")
            .add("From", format!("<{}>;tag={}", self.aor(), self.tag))
            .add("To", format!("<{uri}>"))
            .add("Call-ID", self.ctx.id())
            .add("CSeq", format!("{cseq} {method}"));
        match method {
            "INVITE" | "SUBSCRIBE" | "UPDATE" | "REFER" => {
                let contact = self.contact_uri();
                request.add("Contact", format!("<{contact}>"))
            }
            _ => request,
        }
    }

    /// A REGISTER of this user without a Contact (a query).
    pub(crate) fn register_req(&mut self) -> Req {
        let uri = format!("sip:{}", self.domain);
        let (aor, call_id) = (self.aor(), self.call_id.clone());
        self.req("REGISTER", &uri).set("To", format!("<{aor}>")).set("Call-ID", call_id)
    }

    /// The same request again, as a new transaction.
    pub(crate) fn again(&mut self, request: &Req) -> Req {
        let cseq = self.next_cseq();
        let (via, method) = (self.via(), request.method.clone());
        request.clone().replace_first("Via", via).set("CSeq", format!("{cseq} {method}"))
    }

    pub(crate) async fn send(&mut self, request: &Req) -> Verdict {
        self.send_raw(&request.bytes()).await
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> Verdict {
        self.link.send(bytes).await.or_else(|error| fail(format!("cannot send: {error}")))
    }

    /// The next response of that request's transaction, within `wait`.
    pub(crate) async fn response(&mut self, request: &Req, wait: Duration) -> Option<Message> {
        self.response_if(request, wait, |_| true).await
    }

    pub(crate) async fn final_response(&mut self, request: &Req, wait: Duration) -> Option<Message> {
        self.response_if(request, wait, |status| status >= 200).await
    }

    async fn response_if(&mut self, request: &Req, wait: Duration, wanted: fn(u16) -> bool) -> Option<Message> {
        let (branch, method) = (request.branch(), request.method.clone());
        self.link
            .take(wait, |m| {
                m.status().is_some_and(wanted)
                    && m.branch().as_deref() == Some(&branch)
                    && m.cseq().is_some_and(|(_, got)| got == method)
            })
            .await
    }

    /// Waits for the final response of a request that was sent; repeats it over UDP as a client transaction would.
    pub(crate) async fn outcome(&mut self, request: &Req) -> Verdict<Message> {
        let repeat = self.link.proto == Proto::Udp && request.method != "INVITE";
        for attempt in 0..6 {
            if attempt > 0 && repeat {
                self.send(request).await?;
            }
            if let Some(message) = self.response_if(request, ANSWER / 6, |status| status >= 200).await {
                return Ok(message);
            }
        }
        fail(format!("no final response to {} within {} s", request.method, ANSWER.as_secs()))
    }

    /// Sends a request and waits for its final response, without answering a challenge.
    pub(crate) async fn exchange(&mut self, request: &Req) -> Verdict<Message> {
        self.send(request).await?;
        self.outcome(request).await
    }

    /// Like `exchange`, answering one challenge; a non-2xx to an INVITE is acknowledged.
    pub(crate) async fn call(&mut self, request: &Req) -> Verdict<Message> {
        Ok(self.call_as(request).await?.1)
    }

    /// Like `call`; gives the request as it was last sent, too.
    pub(crate) async fn call_as(&mut self, request: &Req) -> Verdict<(Req, Message)> {
        let answer = self.exchange(request).await?;
        let Some(next) = self.after_challenge(request, &answer).await? else { return Ok((request.clone(), answer)) };
        let answer = self.exchange(&next).await?;
        self.ack_failure(&next, &answer).await?;
        Ok((next, answer))
    }

    /// Sends a request that will stay pending; answers a challenge. Gives what was sent, and the first response if
    /// one came soon.
    pub(crate) async fn start(&mut self, request: &Req) -> Verdict<(Req, Option<Message>)> {
        self.send(request).await?;
        let first = self.response(request, SOON).await;
        let challenge = match &first {
            Some(first) if matches!(first.status(), Some(401 | 407)) => Some(first.clone()),
            Some(first) if first.status() == Some(100) => {
                self.response_if(request, Duration::from_millis(20), |s| s == 401 || s == 407).await
            }
            _ => None,
        };
        let Some(challenge) = challenge else { return Ok((request.clone(), first)) };
        let Some(next) = self.after_challenge(request, &challenge).await? else {
            return fail("a challenge that cannot be answered");
        };
        self.send(&next).await?;
        let first = self.response(&next, SOON).await;
        Ok((next, first))
    }

    pub(crate) async fn after_challenge(&mut self, request: &Req, answer: &Message) -> Verdict<Option<Req>> {
        self.ack_failure(request, answer).await?;
        let Some((header, challenge)) = challenge_of(answer) else { return Ok(None) };
        let credentials = self.credentials(&challenge, request, "auth", 1);
        Ok(Some(self.again(request).set(header, credentials)))
    }

    pub(crate) fn credentials(&self, challenge: &Challenge, request: &Req, qop: &str, nc: u32) -> String {
        Credentials {
            user: &self.account.user,
            password: &self.account.password,
            method: &request.method,
            uri: &request.uri,
            body: &request.body,
            qop,
            nc,
            cnonce: "0a4f113b",
        }
        .answer(challenge)
    }

    /// The ACK of a final response that is no 2xx (RFC 3261 §17.1.1.3).
    pub(crate) async fn ack_failure(&mut self, request: &Req, answer: &Message) -> Verdict {
        if request.method != "INVITE" || answer.status().unwrap_or(0) < 300 {
            return Ok(());
        }
        let ack = same_transaction(request, "ACK").set("To", answer.header("to").unwrap_or(""));
        self.send(&ack).await
    }

    /// Registers this flow's own address for five minutes.
    pub(crate) async fn register(&mut self) -> Verdict<Message> {
        let contact = format!("<{}>;expires=300", self.contact_uri());
        self.register_as(&[&contact]).await
    }

    /// Registers these Contact values; the answer has to be a 200.
    pub(crate) async fn register_as(&mut self, contacts: &[&str]) -> Verdict<Message> {
        let mut request = self.register_req();
        for contact in contacts {
            request = request.add("Contact", *contact);
        }
        self.register_with(&request).await
    }

    pub(crate) async fn register_with(&mut self, request: &Req) -> Verdict<Message> {
        let answer = self.call(request).await?;
        match answer.status() {
            Some(200) => Ok(answer),
            _ => fail(format!("expected 200 to REGISTER, got {}", answer.start)),
        }
    }

    /// Removes every binding of the user.
    pub(crate) async fn clear(&mut self) -> Verdict {
        let request = self.register_req().add("Contact", "*").add("Expires", "0");
        match self.call(&request).await {
            Ok(answer) if answer.status() == Some(200) => Ok(()),
            Ok(answer) => skip(format!("cannot clear the bindings of {}: {}", self.account.user, answer.start)),
            Err(error) => Err(error),
        }
    }

    /// The next request of that method that belongs to this case, within `wait`. MESSAGEs left over from others are
    /// answered, so that they do not come again.
    pub(crate) async fn incoming_within(&mut self, method: &str, wait: Duration) -> Verdict<Option<Message>> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            let Some(message) = self.link.take(left, |m| m.method() == Some(method)).await else { return Ok(None) };
            if method == "MESSAGE" && !message.body_text().contains(&self.ctx.token) {
                self.reply(&message, "200 OK", &[]).await?;
                continue;
            }
            return Ok(Some(message));
        }
    }

    pub(crate) async fn incoming(&mut self, method: &str) -> Verdict<Message> {
        match self.incoming_within(method, ANSWER).await? {
            Some(message) => Ok(message),
            None => fail(format!("no {method} arrived at {} within {} s", self.account.user, ANSWER.as_secs())),
        }
    }

    /// Fails when a request of that method arrives within the window.
    pub(crate) async fn nothing(&mut self, method: &str) -> Verdict {
        match self.incoming_within(method, SILENCE).await? {
            Some(message) => fail(format!("unexpected {} at {}", message.start, self.account.user)),
            None => Ok(()),
        }
    }

    /// Answers a request. `more` are further header lines; a 2xx or 1xx to an INVITE carries Contact and Record-Route.
    pub(crate) async fn reply(&mut self, request: &Message, status: &str, more: &[(&str, &str)]) -> Verdict {
        self.reply_with(request, status, more, "").await
    }

    pub(crate) async fn reply_with(
        &mut self,
        request: &Message,
        status: &str,
        more: &[(&str, &str)],
        sdp: &str,
    ) -> Verdict {
        let bytes = self.reply_bytes(request, status, more, sdp);
        self.send_raw(&bytes).await
    }

    pub(crate) fn reply_bytes(&self, request: &Message, status: &str, more: &[(&str, &str)], sdp: &str) -> Vec<u8> {
        let mut out = format!("SIP/2.0 {status}\r\n");
        for via in request.lines("via") {
            out += &format!("Via: {via}\r\n");
        }
        let to = request.header("to").unwrap_or("");
        let tag = match request.tag("to").is_some() || status.starts_with("100") {
            true => String::new(),
            false => format!(";tag={}", self.tag),
        };
        out += &format!("From: {}\r\nTo: {to}{tag}\r\n", request.header("from").unwrap_or(""));
        out += &format!("Call-ID: {}\r\n", request.header("call-id").unwrap_or(""));
        out += &format!("CSeq: {}\r\n", request.header("cseq").unwrap_or(""));
        let dialog = matches!(request.method(), Some("INVITE" | "SUBSCRIBE" | "NOTIFY"));
        if dialog && !status.starts_with("100") && status < "300" {
            for route in request.lines("record-route") {
                out += &format!("Record-Route: {route}\r\n");
            }
            out += &format!("Contact: <{}>\r\n", self.contact_uri());
        }
        for (name, value) in more {
            out += &format!("{name}: {value}\r\n");
        }
        if !sdp.is_empty() {
            out += "Content-Type: application/sdp\r\n";
        }
        out += &format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len());
        out.into_bytes()
    }

    /// A request inside the dialog that `answer` (2xx to `invite`) made, from the caller's side.
    pub(crate) fn in_dialog(&mut self, invite: &Req, answer: &Message, method: &str) -> Req {
        let target = answer.header("contact").map_or_else(|| invite.uri.clone(), |c| uri_of(c).to_owned());
        let cseq = match method {
            "ACK" => invite.get("CSeq").split(' ').next().unwrap_or("1").to_owned(),
            _ => self.next_cseq().to_string(),
        };
        let mut request = self
            .req(method, &target)
            .set("From", invite.get("From"))
            .set("To", answer.header("to").unwrap_or(""))
            .set("Call-ID", invite.get("Call-ID"))
            .set("CSeq", format!("{cseq} {method}"));
        let mut routes = answer.values("record-route");
        routes.reverse();
        for route in routes {
            request = request.add("Route", route);
        }
        request
    }
}

/// The first challenge this client can answer, with the header that answers it.
pub(crate) fn challenge_of(answer: &Message) -> Option<(&'static str, Challenge)> {
    let (from, to) = match answer.status()? {
        401 => ("www-authenticate", "Authorization"),
        407 => ("proxy-authenticate", "Proxy-Authorization"),
        _ => return None,
    };
    let lines = answer.lines(from);
    let usable = |c: &Challenge| c.algorithm.is_some();
    lines.into_iter().filter_map(Challenge::parse).find(usable).map(|challenge| (to, challenge))
}

/// ACK or CANCEL of a request that was sent: same branch, same number, nothing of the body.
pub(crate) fn same_transaction(request: &Req, method: &str) -> Req {
    let number = request.get("CSeq").split(' ').next().unwrap_or("1").to_owned();
    let mut made = Req { method: method.to_owned(), uri: request.uri.clone(), headers: Vec::new(), body: Vec::new() };
    for (name, value) in &request.headers {
        if ["Via", "Max-Forwards", "From", "To", "Call-ID", "Route"].contains(&name.as_str()) {
            made = made.add(name, value.as_str());
        }
    }
    made.add("CSeq", format!("{number} {method}"))
}
