//! The server as user agent server: RFC 3261 §8.2, §9.2, §11.

use crate::case::{ANSWER, Case, Ctx, Verdict, cases, check, fail, skip};
use crate::message::Message;
use crate::target::Proto;
use crate::ua::{Req, Ua};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc3261-uas";
        "11.2" "options" Must "OPTIONS to the server itself is answered 200" => options;
        "11.2" "options-headers" Should "The 200 to OPTIONS carries Allow, Accept and Supported" => options_headers;
        "8.2.6.2" "response-headers" Must "Via, From, Call-ID and CSeq are copied, and To gets a tag" => response_headers;
        "20.42" "via-quoted" Must "A comma in a quoted Via parameter separates nothing" => via_quoted;
        "8.2.6.2" "to-tag-kept" Must "A To tag that came is given back unchanged" => to_tag_kept;
        "8.2.6.2" "same-tag-again" Must "A request sent again is answered with the same To tag" => same_tag;
        "8.2.1" "unknown-method" Must "An unknown method is refused with 405 or 501, and 405 carries Allow" => unknown_method;
        "7.1" "method-case" Must "Method names are case-sensitive" => method_case;
        "8.2.2.1" "unknown-scheme" Should "A Request-URI of an unknown scheme is answered 416" => unknown_scheme;
        "8.2.2.2" "merged" Should "The same request by another way is answered 482" => merged;
        "8.2.2.3" "require" Must "An unknown Require is answered 420 with Unsupported" => require;
        "8.2.2.3" "require-compact" Must "Supported and Unsupported options are told apart in a list" => require_list;
        "9.2" "cancel-unknown" Must "A CANCEL that matches nothing is answered 481" => cancel_unknown;
        "21.5.6" "version" Should "Another SIP version is answered 505" => version;
        "8.1.1" "no-cseq" Must "A request without CSeq is refused with 400 or dropped" => no_cseq;
        "20.16" "cseq-mismatch" Must "A CSeq method that is not the request's is refused" => cseq_mismatch;
        "7.3.3" "compact" Must "Compact header names are read like the long ones" => compact;
        "7.3.1" "name-case" Must "Header names are read in any case" => name_case;
        "7.3.1" "folding" Must "A header folded over lines is read as one" => folding;
        "18.3" "short-body" Must "A datagram shorter than its Content-Length is refused with 400" => short_body;
        "8.2.7" "from-without-tag" Must "A From without a tag, as of old, is accepted" => from_without_tag;
        "17.1.1.3" "ack-unanswered" Must "An ACK is never answered" => ack_unanswered;
    }
}

fn server_uri(ctx: &Ctx) -> String {
    format!("sip:{}", ctx.domain())
}

async fn ask(ctx: &Ctx, change: impl FnOnce(Req) -> Req) -> Verdict<(Req, Message)> {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(ctx);
    let request = change(ua.req("OPTIONS", &uri));
    let answer = ua.exchange(&request).await?;
    Ok((request, answer))
}

async fn options(ctx: Ctx) -> Verdict {
    let (_, answer) = ask(&ctx, |r| r).await?;
    check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
    Ok(())
}

async fn options_headers(ctx: Ctx) -> Verdict {
    let (_, answer) = ask(&ctx, |r| r).await?;
    let missing: Vec<&str> =
        ["Allow", "Accept", "Supported"].into_iter().filter(|name| answer.header(name).is_none()).collect();
    check!(missing.is_empty(), "missing: {}", missing.join(", "));
    Ok(())
}

async fn response_headers(ctx: Ctx) -> Verdict {
    let below = "SIP/2.0/UDP below.invalid:5070;branch=z9hG4bKbelow;unknown";
    let (request, answer) = ask(&ctx, |r| r.add("Via", below)).await?;
    for name in ["From", "Call-ID", "CSeq"] {
        let (sent, got) = (request.get(name), answer.header(name).unwrap_or(""));
        check!(sent == got, "{name} was {sent:?}, came back as {got:?}");
    }
    let vias = answer.values("via");
    check!(vias.len() == 2 && vias[1] == below, "Via came back as {vias:?}");
    check!(answer.tag("to").is_some_and(|tag| !tag.is_empty()), "To has no tag");
    Ok(())
}

async fn via_quoted(ctx: Ctx) -> Verdict {
    let below = "SIP/2.0/UDP below.invalid:5070;branch=z9hG4bKbelow;unknown=\"a;b,c\"";
    let (_, answer) = ask(&ctx, |r| r.add("Via", below)).await?;
    let vias = answer.values("via");
    check!(vias.len() == 2 && vias[1] == below, "Via came back as {vias:?}");
    Ok(())
}

async fn to_tag_kept(ctx: Ctx) -> Verdict {
    let (_, answer) = ask(&ctx, |r| {
        let to = format!("{};tag=Kept-1", r.get("To"));
        r.set("To", to)
    })
    .await?;
    check!(answer.tag("to").as_deref() == Some("Kept-1"), "To came back as {:?}", answer.header("to"));
    Ok(())
}

async fn same_tag(ctx: Ctx) -> Verdict {
    if ctx.proto() != Proto::Udp {
        return skip("over a stream nothing is sent again (timer J is 0)");
    }
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri);
    let one = ua.exchange(&request).await?;
    let two = ua.exchange(&request).await?;
    check!(one.tag("to") == two.tag("to"), "To tags {:?} and {:?}", one.tag("to"), two.tag("to"));
    Ok(())
}

fn refused_method(answer: &Message) -> Verdict {
    match answer.status() {
        Some(501) => Ok(()),
        Some(405) if answer.header("allow").is_some() => Ok(()),
        Some(405) => fail("405 without Allow"),
        _ => fail(format!("expected 405 or 501, got {}", answer.start)),
    }
}

async fn ask_method(ctx: &Ctx, method: &str) -> Verdict<Message> {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(ctx);
    let request = ua.req(method, &uri);
    ua.exchange(&request).await
}

async fn unknown_method(ctx: Ctx) -> Verdict {
    refused_method(&ask_method(&ctx, "CHAPPETEST").await?)
}

async fn method_case(ctx: Ctx) -> Verdict {
    let answer = ask_method(&ctx, "Options").await?;
    check!(answer.status().is_some_and(|code| code >= 400), "\"Options\" was answered {}", answer.start);
    Ok(())
}

async fn unknown_scheme(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger().await?;
    let request = ua.req("OPTIONS", "nobodyknowsthis:opaque");
    let answer = ua.exchange(&request).await?;
    check!(answer.status() == Some(416), "expected 416, got {}", answer.start);
    Ok(())
}

async fn merged(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri);
    ua.exchange(&request).await?;
    let via = ua.via();
    let other_way = request.set("Via", via);
    let answer = ua.exchange(&other_way).await?;
    check!(answer.status() == Some(482), "expected 482, got {}", answer.start);
    Ok(())
}

async fn require(ctx: Ctx) -> Verdict {
    let (_, answer) = ask(&ctx, |r| r.add("Require", "x-chappe-unknown")).await?;
    check!(answer.status() == Some(420), "expected 420, got {}", answer.start);
    let named = answer.values("unsupported");
    check!(named == ["x-chappe-unknown"], "Unsupported is {named:?}");
    Ok(())
}

async fn require_list(ctx: Ctx) -> Verdict {
    let (_, answer) = ask(&ctx, |r| r.add("Require", "x-one ,\r\n x-two").add("Require", "x-three")).await?;
    check!(answer.status() == Some(420), "expected 420, got {}", answer.start);
    let named = answer.values("unsupported");
    for tag in ["x-one", "x-two", "x-three"] {
        check!(named.iter().any(|v| v == tag), "{tag} is not in Unsupported: {named:?}");
    }
    Ok(())
}

async fn cancel_unknown(ctx: Ctx) -> Verdict {
    let answer = ask_method(&ctx, "CANCEL").await?;
    check!(answer.status() == Some(481), "expected 481, got {}", answer.start);
    Ok(())
}

/// Sends the text and waits for a response of the request's transaction.
async fn raw(ua: &mut Ua, request: &Req, text: &[u8]) -> Verdict<Option<Message>> {
    // What the request lacks cannot come back in the answer.
    ua.link.strict = false;
    ua.send_raw(text).await?;
    let call_id = request.get("Call-ID").to_owned();
    Ok(ua
        .link
        .take(ANSWER / 3, |m| m.status().is_some_and(|s| s >= 200) && m.header("call-id") == Some(&call_id))
        .await)
}

/// An OPTIONS to the server with its text changed.
async fn raw_options(ctx: &Ctx, change: impl FnOnce(String) -> String) -> Verdict<Option<Message>> {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(ctx);
    let request = ua.req("OPTIONS", &uri);
    let text = change(String::from_utf8_lossy(&request.bytes()).into_owned());
    raw(&mut ua, &request, text.as_bytes()).await
}

async fn version(ctx: Ctx) -> Verdict {
    let answer = raw_options(&ctx, |text| text.replacen(" SIP/2.0\r\n", " SIP/3.0\r\n", 1)).await?;
    let line = answer.as_ref().map_or("silence", |m| m.start.as_str());
    check!(answer.as_ref().and_then(Message::status) == Some(505), "expected 505, got {line}");
    Ok(())
}

async fn no_cseq(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri).without("CSeq");
    let answer = raw(&mut ua, &request, &request.bytes()).await?;
    let line = answer.as_ref().map_or("silence", |m| m.start.as_str());
    check!(matches!(answer.as_ref().and_then(Message::status), None | Some(400)), "expected 400, got {line}");
    Ok(())
}

async fn cseq_mismatch(ctx: Ctx) -> Verdict {
    let (_, answer) = {
        let mut ua = ctx.stranger().await?;
        let uri = server_uri(&ctx);
        let request = ua.req("OPTIONS", &uri).set("CSeq", "1 INVITE");
        let answer = raw(&mut ua, &request, &request.bytes()).await?;
        (request, answer)
    };
    match answer.as_ref().and_then(Message::status) {
        Some(400..=499) | None => Ok(()),
        _ => fail(format!("expected 400, got {}", answer.map_or_else(String::new, |m| m.start))),
    }
}

/// The changed OPTIONS must still get its 200.
async fn still_ok(ctx: &Ctx, change: impl FnOnce(String) -> String) -> Verdict {
    match raw_options(ctx, change).await? {
        Some(answer) if answer.status() == Some(200) => Ok(()),
        Some(answer) => fail(format!("expected 200, got {}", answer.start)),
        None => fail("no answer"),
    }
}

async fn compact(ctx: Ctx) -> Verdict {
    still_ok(&ctx, |text| {
        [("Via:", "v:"), ("From:", "f:"), ("To:", "t:"), ("Call-ID:", "i:"), ("Content-Length:", "l:")]
            .into_iter()
            .fold(text, |text, (long, short)| text.replace(&format!("\r\n{long}"), &format!("\r\n{short}")))
    })
    .await
}

async fn name_case(ctx: Ctx) -> Verdict {
    still_ok(&ctx, |text| {
        [("Via:", "vIA :"), ("From:", "FROM\t:"), ("To:", "tO:"), ("Call-ID:", "call-id:"), ("CSeq:", "cseq  :")]
            .into_iter()
            .fold(text, |text, (usual, odd)| text.replace(&format!("\r\n{usual}"), &format!("\r\n{odd}")))
    })
    .await
}

async fn folding(ctx: Ctx) -> Verdict {
    still_ok(&ctx, |text| {
        text.replace(";branch=", "\r\n ;branch=")
            .replace(";tag=", "\r\n\t;tag=")
            .replace("Max-Forwards: ", "Max-Forwards:\r\n  00")
    })
    .await
}

async fn short_body(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger_over(Proto::Udp).await?;
    let uri = server_uri(&ctx);
    let request = ua.req("OPTIONS", &uri).set("Content-Length", "100");
    let answer = raw(&mut ua, &request, &request.bytes()).await?;
    let line = answer.as_ref().map_or("silence", |m| m.start.as_str());
    check!(answer.as_ref().and_then(Message::status) == Some(400), "expected 400, got {line}");
    Ok(())
}

async fn from_without_tag(ctx: Ctx) -> Verdict {
    let (_, answer) = ask(&ctx, |r| {
        let from = r.get("From").split(";tag=").next().unwrap_or("").to_owned();
        r.set("From", from)
    })
    .await?;
    check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
    Ok(())
}

async fn ack_unanswered(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger().await?;
    let uri = server_uri(&ctx);
    let request = ua.req("ACK", &uri);
    ua.send(&request).await?;
    match ua.response(&request, crate::case::SILENCE).await {
        Some(answer) => fail(format!("an ACK was answered {}", answer.start)),
        None => Ok(()),
    }
}
