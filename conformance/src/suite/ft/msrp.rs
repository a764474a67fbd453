//! Files by MSRP (RFC 5547) to and from clients that know files by HTTP, and to users that are away.

use std::time::Duration;

use super::client::{self, Client, Form};
use super::file_link;
use crate::case::{ANSWER, Ctx, Verdict, check, fail, skip};
use crate::handset::COMES;
use crate::message::Message;
use crate::msrp::{Conn, Frame, Req, place_of, response};
use crate::target::Account;
use crate::ua::{self, Ua};

/// Contact parameters of a phone of SIMPLE IM that knows files by MSRP, and of one that knows them by HTTP.
const BY_MSRP: &str = ";+g.oma.sip-im;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcse.ft\"";
const BY_HTTP: &str = ";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg\"\
    ;+g.3gpp.iari-ref=\"urn%3Aurn-7%3A3gpp-application.ims.iari.rcs.fthttp\"";
const CHUNK: usize = 32 * 1024;

/// A file that is offered.
struct Offer<'a> {
    /// As the selector says it.
    size: usize,
    hash: Option<String>,
    /// Bytes that are there already.
    first: usize,
    kind: &'a str,
}

impl Offer<'_> {
    fn of(content: &[u8]) -> Offer<'static> {
        Offer { size: content.len(), hash: Some(sha1(content)), first: 0, kind: "image/jpeg" }
    }

    fn sdp(&self, ctx: &Ctx, path: &str, id: &str) -> String {
        let hash = self.hash.as_ref().map_or(String::new(), |hash| format!(" hash:sha-1:{hash}"));
        let range = match self.first {
            0 => String::new(),
            first => format!("a=file-range:{}-{}\r\n", first + 1, self.size),
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
             a=accept-types:{kind}\r\na=file-transfer-id:{id}\r\na=file-disposition:attachment\r\n\
             a=file-selector:name:\"beach {token}.jpg\" type:{kind} size:{size}{hash}\r\n{range}\
             a=setup:active\r\na=path:{path}\r\na=sendonly\r\n",
            kind = self.kind,
            token = ctx.token,
            size = self.size,
        )
    }
}

/// As selectors have it.
fn sha1(content: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, content);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// A transfer that was accepted.
struct Sending {
    ctx: Ctx,
    conn: Conn,
    to: String,
    own: String,
    invite: ua::Req,
    ok: Message,
    /// Of the transfer.
    id: String,
}

impl Sending {
    /// Offers a file; gives the final answer where that is no 200.
    async fn begin(ctx: &Ctx, ua: &mut Ua, to: &str, offer: &Offer<'_>) -> Verdict<Result<Sending, Message>> {
        let (own, id) = (format!("msrp://127.0.0.1:9/{};tcp", ctx.id()), ctx.id());
        let uri = format!("sip:{to}@{}", ctx.domain());
        let contact = format!("<{}>{BY_MSRP}", ua.contact_uri());
        let invite = ua
            .req("INVITE", &uri)
            .set("Contact", contact)
            .add("Accept-Contact", format!("*{BY_MSRP}"))
            .add("Contribution-ID", ctx.id())
            .body("application/sdp", offer.sdp(ctx, &own, &id));
        let (invite, ok) = ua.call_as(&invite).await?;
        if ok.status() != Some(200) {
            return Ok(Err(ok));
        }
        let ack = ua.in_dialog(&invite, &ok, "ACK");
        ua.send(&ack).await?;
        let answer = ok.body_text();
        for expected in ["a=file-selector:", &format!("a=file-transfer-id:{id}"), "a=recvonly"] {
            check!(answer.contains(expected), "no {expected} in {answer}");
        }
        let (conn, to) = connected(ctx, &answer).await?;
        Ok(Ok(Sending { ctx: ctx.clone(), conn, to, own, invite, ok, id }))
    }

    /// The same; it has to be accepted.
    async fn accepted(ctx: &Ctx, ua: &mut Ua, to: &str, offer: &Offer<'_>) -> Verdict<Sending> {
        match Sending::begin(ctx, ua, to, offer).await? {
            Ok(sending) => Ok(sending),
            Err(answer) if answer.status() == Some(480) => skip("the target takes no files for users that are away"),
            Err(answer) => fail(format!("the file was answered {}", answer.start)),
        }
    }

    /// Sends the bytes from `first` up to `end` of a content that is `size` bytes long; gives the code of the last answer.
    async fn send(&mut self, content: &[u8], first: usize, end: usize) -> Verdict<u16> {
        let id = self.ctx.id();
        let (total, mut at, mut status) = (content.len() - first, first, 0);
        while at < end {
            let to = (at + CHUNK).min(end);
            let flag = if to == content.len() { '$' } else { '+' };
            let mut req = Req::new("SEND", self.ctx.id(), self.to.clone(), self.own.clone())
                .line(format!("Message-ID: {id}"))
                .line(format!("Byte-Range: {}-{}/{total}", at - first + 1, to - first))
                .line("Failure-Report: yes")
                .body(&content[at..to])
                .flag(flag);
            req.content = req.content.map(|(_, body)| ("image/jpeg".to_owned(), body));
            self.conn.send_quietly(&req.bytes()).await?;
            let Some(answer) = self.conn.response(&req.tid, COMES).await else { return fail("no response to a SEND") };
            status = answer.status.unwrap_or(0);
            if status != 200 {
                break;
            }
            at = to;
        }
        Ok(status)
    }

    async fn all(&mut self, content: &[u8]) -> Verdict {
        let status = self.send(content, 0, content.len()).await?;
        check!(status == 200, "the last byte was answered {status}");
        Ok(())
    }

    async fn bye(&mut self, ua: &mut Ua) -> Verdict {
        let bye = ua.in_dialog(&self.invite, &self.ok, "BYE");
        let answer = ua.exchange(&bye).await?;
        check!(answer.status() == Some(200), "BYE was answered {}", answer.start);
        Ok(())
    }
}

/// A connection to where a description says, and the path.
async fn connected(ctx: &Ctx, sdp: &str) -> Verdict<(Conn, String)> {
    let path = sdp.lines().find_map(|line| line.strip_prefix("a=path:")).unwrap_or("").trim().to_owned();
    let place = place_of(ctx, &path).or_else(fail)?;
    match Conn::dial(&place, &ctx.log).await {
        Ok(conn) => Ok((conn, path)),
        Err(error) => fail(format!("cannot connect to {path}: {error}")),
    }
}

/// A user that is there, on a phone with these Contact parameters.
async fn there(ctx: &Ctx, account: &Account, tags: &str) -> Verdict<Ua> {
    let mut ua = ctx.ua(account).await?;
    let instance = format!(
        "<urn:uuid:00000000-0000-4000-8000-{:0>12.12}>",
        ctx.id().to_lowercase().replace(|c: char| !c.is_ascii_hexdigit(), "0")
    );
    let contact = format!("<{}>;expires=300;+sip.instance=\"{instance}\"{tags}", ua.contact_uri());
    ua.register_as(&[&contact]).await?;
    Ok(ua)
}

/// The link in a MESSAGE that tells of a file.
async fn told(ctx: &Ctx, ua: &mut Ua) -> Verdict<(String, Message)> {
    let Some(message) = ua.incoming_within("MESSAGE", COMES).await? else {
        return fail(format!("nothing tells {} of the file", ua.account.user));
    };
    ua.reply(&message, "200 OK", &[]).await?;
    let text = message.body_text();
    check!(text.contains("application/vnd.gsma.rcs-ft-http+xml"), "no document: {text}");
    check!(text.contains(&format!("beach {}.jpg", ctx.token)), "another name: {text}");
    let info = text.split("<file-info").find(|info| info.contains("type=\"file\"")).unwrap_or("");
    match client::url(info) {
        Some(url) => Ok((url, message)),
        None => fail(format!("no link in {text}")),
    }
}

/// Fetches a file by its link.
async fn same(ctx: &Ctx, account: &Account, url: &str, content: &[u8]) -> Verdict {
    let found = Client::with(ctx, account)?.get(url, "").await?;
    check!(found.status == 200, "the link is answered {}", found.status);
    check!(found.body == content, "{} bytes came, {} were sent", found.body.len(), content.len());
    Ok(())
}

/// An INVITE with a file: what it says of it.
async fn offered(ua: &mut Ua) -> Verdict<Message> {
    match ua.incoming_within("INVITE", COMES).await? {
        Some(invite) => {
            let sdp = invite.body_text();
            check!(sdp.contains("a=file-selector:") && sdp.contains("a=sendonly"), "no file in {sdp}");
            Ok(invite)
        }
        None => fail(format!("no file is offered to {}", ua.account.user)),
    }
}

/// Takes an offered file: all its bytes, and the BYE behind them.
async fn take(ctx: &Ctx, ua: &mut Ua, invite: &Message) -> Verdict<Vec<u8>> {
    let offer = invite.body_text();
    let mirrored: String = offer
        .lines()
        .filter(|line| line.starts_with("a=file-selector:") || line.starts_with("a=file-transfer-id:"))
        .map(|line| format!("{}\r\n", line.trim_end()))
        .collect();
    let own = format!("msrp://127.0.0.1:9/{};tcp", ctx.id());
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\n\
         a=accept-types:*\r\n{mirrored}a=setup:active\r\na=path:{own}\r\na=recvonly\r\n"
    );
    ua.reply_with(invite, "200 OK", &[], &sdp).await?;
    ua.incoming("ACK").await?;
    let (mut conn, path) = connected(ctx, &offer).await?;
    let hello = Req::new("SEND", ctx.id(), path, own).line(format!("Message-ID: {}", ctx.id()));
    conn.send(&hello.bytes()).await?;
    let mut content = Vec::new();
    loop {
        let Some(mut chunk) = conn.take(COMES, |frame: &Frame| frame.is("SEND")).await else {
            return fail(format!("the file ends after {} bytes", content.len()));
        };
        conn.send_quietly(&response(&chunk, "200 OK")).await?;
        let Some(part) = chunk.body.take() else { continue };
        let start = chunk.range().map_or(1, |(start, ..)| start);
        check!(start == content.len() as u64 + 1, "a chunk begins at {start}, {} was due", content.len() + 1);
        content.extend(part);
        match chunk.flag {
            b'$' => break,
            b'#' => return fail("the file was given up"),
            _ => {}
        }
    }
    let bye = ua.incoming("BYE").await?;
    ua.reply(&bye, "200 OK", &[]).await?;
    Ok(content)
}

pub(super) async fn away_to_http(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    for size in [1, 70_000, 5_000_000] {
        let content = client::bytes(size);
        let mut sending = Sending::accepted(&ctx, &mut a, &lease[1].user, &Offer::of(&content)).await?;
        sending.all(&content).await?;
        sending.bye(&mut a).await?;
        let mut b = there(&ctx, &lease[1], BY_HTTP).await?;
        let (url, message) = told(&ctx, &mut b).await?;
        check!(message.body_text().contains(&sending.id), "the message has another id than the transfer");
        same(&ctx, &lease[1], &url, &content).await?;
        b.clear().await?;
    }
    Ok(())
}

pub(super) async fn http_is_there(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let (mut a, mut b) = (there(&ctx, &lease[0], BY_MSRP).await?, there(&ctx, &lease[1], BY_HTTP).await?);
    let content = client::bytes(300_000);
    let mut sending = Sending::accepted(&ctx, &mut a, &lease[1].user, &Offer::of(&content)).await?;
    sending.all(&content).await?;
    sending.bye(&mut a).await?;
    let (url, _) = told(&ctx, &mut b).await?;
    same(&ctx, &lease[1], &url, &content).await
}

pub(super) async fn away_to_msrp(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    let content = client::bytes(2_000_000);
    let mut sending = Sending::accepted(&ctx, &mut a, &lease[1].user, &Offer::of(&content)).await?;
    sending.all(&content).await?;
    sending.bye(&mut a).await?;
    let mut b = there(&ctx, &lease[1], BY_MSRP).await?;
    let invite = offered(&mut b).await?;
    let from = invite.header("from").unwrap_or("").to_owned();
    check!(from.contains(&lease[0].user), "the file is from {from}");
    check!(invite.body_text().contains(&format!("beach {}.jpg", ctx.token)), "another file: {}", invite.body_text());
    let got = take(&ctx, &mut b, &invite).await?;
    check!(got == content, "{} bytes came, {} were sent", got.len(), content.len());
    // The phone cannot say so by itself: nothing told it the id of the message.
    let Some(receipt) = receipt(&mut a, &sending.id).await? else { return fail("nobody says that it was delivered") };
    check!(receipt.body_text().contains("<delivered"), "another receipt: {}", receipt.body_text());
    Ok(())
}

/// A notification about a message.
async fn receipt(ua: &mut Ua, id: &str) -> Verdict<Option<Message>> {
    let found = ua.link.take(COMES, |m| m.method() == Some("MESSAGE") && m.body_text().contains(id)).await;
    if let Some(message) = &found {
        ua.reply(message, "200 OK", &[]).await?;
    }
    Ok(found)
}

/// A file that a user has uploaded and tells another of.
async fn announced(ctx: &Ctx, a: &mut Ua, account: &Account, to: &str, content: &[u8]) -> Verdict {
    let answer = Client::with(ctx, account)?.upload(&Form::of(content)).await?;
    file_link(&answer)?;
    let uri = format!("sip:{to}@{}", ctx.domain());
    let envelope = format!(
        "From: <{}>\r\nTo: <{uri}>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: {}\r\n\
         DateTime: 2026-03-05T10:15:30Z\r\n\r\nContent-Type: application/vnd.gsma.rcs-ft-http+xml\r\n\r\n{}",
        a.aor(),
        ctx.id(),
        answer.text()
    );
    let message = a.req("MESSAGE", &uri).body("message/cpim", envelope);
    let answer = a.call(&message).await?;
    check!(matches!(answer.status(), Some(200 | 202)), "the document was answered {}", answer.start);
    Ok(())
}

pub(super) async fn http_to_msrp(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let (mut a, mut b) = (there(&ctx, &lease[0], BY_HTTP).await?, there(&ctx, &lease[1], BY_MSRP).await?);
    let content = client::bytes(700_001);
    announced(&ctx, &mut a, &lease[0], &lease[1].user, &content).await?;
    let invite = offered(&mut b).await?;
    let got = take(&ctx, &mut b, &invite).await?;
    check!(got == content, "{} bytes came, {} were sent", got.len(), content.len());
    // For one that is away it waits.
    b.clear().await?;
    announced(&ctx, &mut a, &lease[0], &lease[1].user, &content).await?;
    let mut b = there(&ctx, &lease[1], BY_MSRP).await?;
    let invite = offered(&mut b).await?;
    let got = take(&ctx, &mut b, &invite).await?;
    check!(got == content, "{} bytes came later, {} were sent", got.len(), content.len());
    Ok(())
}

pub(super) async fn declined(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let (mut a, mut b) = (there(&ctx, &lease[0], BY_HTTP).await?, there(&ctx, &lease[1], BY_MSRP).await?);
    announced(&ctx, &mut a, &lease[0], &lease[1].user, &client::bytes(5000)).await?;
    let invite = offered(&mut b).await?;
    b.reply(&invite, "603 Decline", &[]).await?;
    b.incoming("ACK").await?;
    // Who does not want it is not asked again, as one who is busy would be.
    match b.incoming_within("INVITE", Duration::from_secs(4)).await? {
        Some(_) => fail("a file that was declined is offered again"),
        None => Ok(()),
    }
}

pub(super) async fn busy(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let (mut a, mut b) = (there(&ctx, &lease[0], BY_HTTP).await?, there(&ctx, &lease[1], BY_MSRP).await?);
    let content = client::bytes(5000);
    announced(&ctx, &mut a, &lease[0], &lease[1].user, &content).await?;
    let invite = offered(&mut b).await?;
    b.reply(&invite, "486 Busy Here", &[]).await?;
    b.incoming("ACK").await?;
    let invite = offered(&mut b).await?;
    check!(take(&ctx, &mut b, &invite).await? == content, "another content");
    Ok(())
}

pub(super) async fn msrp_resume(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    let content = client::bytes(900_000);
    let mut sending = Sending::accepted(&ctx, &mut a, &lease[1].user, &Offer::of(&content)).await?;
    let sent = 10 * CHUNK;
    let status = sending.send(&content, 0, sent).await?;
    check!(status == 200, "a chunk was answered {status}");
    drop(sending);
    // What has a 200 is there as soon as the server knows that the connection is gone.
    let offer = Offer { first: sent, ..Offer::of(&content) };
    let mut last = None;
    for _ in 0..20 {
        match Sending::begin(&ctx, &mut a, &lease[1].user, &offer).await? {
            Ok(mut sending) => {
                let status = sending.send(&content, sent, content.len()).await?;
                check!(status == 200, "the rest was answered {status}");
                sending.bye(&mut a).await?;
                let mut b = there(&ctx, &lease[1], BY_HTTP).await?;
                let (url, _) = told(&ctx, &mut b).await?;
                return same(&ctx, &lease[1], &url, &content).await;
            }
            Err(answer) => last = Some(answer.start),
        }
        tokio::time::sleep(crate::case::SILENCE).await;
    }
    fail(format!("a file that was cut cannot be gone on with: {last:?}"))
}

pub(super) async fn wrong_hash(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    let content = client::bytes(50_000);
    let offer = Offer { hash: Some(sha1(b"something else")), ..Offer::of(&content) };
    let mut sending = Sending::accepted(&ctx, &mut a, &lease[1].user, &offer).await?;
    let status = sending.send(&content, 0, content.len()).await?;
    check!(status != 200, "content with another hash than the offer's was taken");
    let mut b = there(&ctx, &lease[1], BY_HTTP).await?;
    b.nothing("MESSAGE").await
}

pub(super) async fn too_large(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    let offer = Offer { size: 999_999_999_999_999, hash: None, ..Offer::of(b"x") };
    match Sending::begin(&ctx, &mut a, &lease[1].user, &offer).await? {
        Err(answer) if answer.status() == Some(480) => skip("the target takes no files for users that are away"),
        Err(answer) => {
            check!(matches!(answer.status(), Some(403 | 413)), "answered {}", answer.start);
            let warning = answer.header("warning").unwrap_or("").to_owned();
            check!(warning.contains("bytes"), "the Warning does not tell the limit: {warning:?}");
            Ok(())
        }
        Ok(_) => fail("a file that nobody has room for was accepted"),
    }
}

pub(super) async fn refused_type(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    let offer = Offer { kind: "application/x-msdownload", ..Offer::of(b"MZ") };
    match Sending::begin(&ctx, &mut a, &lease[1].user, &offer).await? {
        Err(answer) if answer.status() == Some(480) => skip("the target takes no files for users that are away"),
        Err(answer) => {
            check!(answer.status() == Some(415), "answered {}", answer.start);
            Ok(())
        }
        Ok(_) => skip("the target takes programs"),
    }
}

/// More than was offered, and bytes that are left out.
pub(super) async fn msrp_hostile(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let mut a = there(&ctx, &lease[0], BY_MSRP).await?;
    let content = client::bytes(100_000);
    let offer = Offer { size: 50_000, hash: None, ..Offer::of(&content) };
    let mut sending = Sending::accepted(&ctx, &mut a, &lease[1].user, &offer).await?;
    let status = sending.send(&content, 0, content.len()).await?;
    check!(status != 200, "more bytes than were offered were taken");
    let mut gap = Sending::accepted(&ctx, &mut a, &lease[1].user, &Offer::of(&content)).await?;
    let req = Req::new("SEND", ctx.id(), gap.to.clone(), gap.own.clone())
        .line(format!("Message-ID: {}", ctx.id()))
        .line("Byte-Range: 50001-100000/100000")
        .body(&content[50_000..]);
    gap.conn.send_quietly(&req.bytes()).await?;
    let answer = gap.conn.response(&req.tid, ANSWER).await;
    let mut b = there(&ctx, &lease[1], BY_HTTP).await?;
    b.nothing("MESSAGE").await?;
    check!(answer.is_none_or(|answer| answer.status.is_some()), "no answer to a SEND");
    Ok(())
}
