//! The registrar of RFC 3261 §10.

use crate::case::{Case, Ctx, Verdict, cases, check, skip};
use crate::link::local_ip;
use crate::message::{Message, param, uri_of};
use crate::ua::Ua;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc3261-registrar";
        "10.3-3" "challenge" Should "A REGISTER without credentials is challenged with 401" => challenge;
        "22.4" "wrong-password" Must "A REGISTER with a wrong password changes nothing" => wrong_password;
        "10.2.3" "query" Must "A REGISTER without Contact lists the bindings and changes none" => query;
        "10.3-8" "add" Must "The 200 lists every current binding, each with its expires" => add;
        "10.3-8" "several-contacts" Must "Contacts on one line or on several are all bound" => several;
        "10.2.4" "refresh" Must "A Contact that is bound already is refreshed, not doubled" => refresh;
        "10.2.2" "remove-one" Must "expires=0 removes that binding and no other" => remove_one;
        "10.2.2" "remove-all" Must "Contact * with Expires 0 removes all bindings" => remove_all;
        "10.3-6" "wildcard-expires" Must "Contact * with another Expires is refused with 400" => wildcard_expires;
        "10.3-6" "wildcard-alone" Must "Contact * beside another Contact is refused with 400" => wildcard_alone;
        "10.3-6" "wildcard-no-expires" Must "Contact * without Expires is refused with 400" => wildcard_no_expires;
        "10.3-7" "cseq-order" Must "A REGISTER with the same Call-ID and a lower CSeq changes nothing" => cseq_order;
        "10.3-7" "other-call-id" Must "Another Call-ID may refresh a binding whatever its CSeq" => other_call_id;
        "10.3-7" "param-over-header" Must "The expires parameter outranks the Expires header" => param_over_header;
        "10.3-7" "expires-header" Must "Without a parameter the Expires header counts" => expires_header;
        "10.3-7" "default-expires" Must "Without either the registrar chooses a lifetime and says it" => default_expires;
        "10.2.1.1" "malformed-expires" Should "A malformed expires counts as the default" => malformed_expires;
        "10.2.8" "too-brief" Must "A lifetime too brief is taken, or refused by 423 with Min-Expires" => too_brief;
        "10.3-7" "hour-not-brief" Must "A lifetime of an hour is never too brief" => hour_not_brief;
        "10.2.1.2" "q" Should "The q of a Contact is kept" => q_kept;
        "19.1.4" "host-case" Must "Contacts that differ in the case of the host are one binding" => host_case;
        "19.1.4" "user-case" Must "Contacts that differ in the case of the user are two bindings" => user_case;
        "10.3-5" "canonical-aor" Must "Parameters of the To URI are no part of the address of record" => canonical_params;
        "10.3-5" "escaped-aor" Must "Escapes in the To URI are resolved before the look-up" => canonical_escapes;
        "10.3-5" "unknown-user" Must "An address of record that does not exist is not registered" => unknown_user;
        "10.3-4" "third-party" Must "One user may not register for another" => third_party;
        "10.3-1" "foreign-domain" Must "A REGISTER for another domain is not answered as one's own" => foreign_domain;
        "10.3-2" "require" Must "An unknown Require is answered 420 with Unsupported" => require;
        "10.3-8" "date" Should "The 200 carries a Date" => date;
        "10.3" "no-record-route" Must "A registrar ignores Record-Route and gives none back" => no_record_route;
        "8.2.6.2" "response-headers" Must "The response copies Via, From, Call-ID and CSeq and adds a To tag" => response_headers;
        "10.3-8" "removed-is-gone" Must "Removing a binding that is not there is no error" => remove_missing;
    }
}

/// A user with its bindings cleared, and Contact URIs that are never called.
struct Setup {
    _lease: crate::case::Lease,
    ua: Ua,
    host: String,
}

impl Setup {
    fn uri(&self, user: &str) -> String {
        format!("sip:{user}@{}:4100", self.host)
    }
}

async fn setup(ctx: &Ctx) -> Verdict<Setup> {
    let lease = ctx.accounts(1).await?;
    let ua = ctx.ua(&lease[0]).await?;
    let host = match local_ip(ctx.options().target.addr) {
        Ok(ip) if ip.is_ipv6() => format!("[{ip}]"),
        Ok(ip) => ip.to_string(),
        Err(_) => return skip("no route to the target"),
    };
    Ok(Setup { _lease: lease, ua, host })
}

fn uris(answer: &Message) -> Vec<String> {
    answer.values("contact").iter().map(|value| uri_of(value).to_owned()).collect()
}

fn expires(answer: &Message, uri: &str) -> Option<u32> {
    let values = answer.values("contact");
    let value = values.iter().find(|value| uri_of(value) == uri)?;
    param(value, "expires")?.parse().ok()
}

async fn bindings(ua: &mut Ua) -> Verdict<Message> {
    let request = ua.register_req();
    ua.register_with(&request).await
}

async fn challenge(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let request = s.ua.register_req();
    let answer = s.ua.exchange(&request).await?;
    check!(answer.status() == Some(401), "expected 401, got {}", answer.start);
    check!(crate::ua::challenge_of(&answer).is_some(), "no Digest challenge that can be answered");
    Ok(())
}

async fn wrong_password(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let right = std::mem::replace(&mut s.ua.account.password, "not the password".into());
    let request = s.ua.register_req().add("Contact", format!("<{uri}>"));
    let answer = s.ua.call(&request).await?;
    check!(matches!(answer.status(), Some(401 | 403)), "expected 401 or 403, got {}", answer.start);
    s.ua.account.password = right;
    let now = uris(&bindings(&mut s.ua).await?);
    check!(now.is_empty(), "bound all the same: {now:?}");
    Ok(())
}

async fn query(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    s.ua.register_as(&[&format!("<{uri}>;expires=300")]).await?;
    for _ in 0..2 {
        let answer = bindings(&mut s.ua).await?;
        check!(uris(&answer) == [uri.clone()], "expected {uri}, got {:?}", uris(&answer));
        check!(expires(&answer, &uri).is_some(), "the binding has no expires");
    }
    Ok(())
}

async fn add(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let (one, two) = (s.uri("one"), s.uri("two"));
    s.ua.register_as(&[&format!("<{one}>;expires=300")]).await?;
    let answer = s.ua.register_as(&[&format!("<{two}>;expires=300")]).await?;
    for uri in [&one, &two] {
        check!(expires(&answer, uri).is_some(), "{uri} is not listed with its expires: {:?}", answer.values("contact"));
    }
    Ok(())
}

async fn several(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let (one, two, three) = (s.uri("one"), s.uri("two"), s.uri("three"));
    let line = format!("<{one}>;expires=300, \"a, b\" <{two}>;expires=300");
    let answer = s.ua.register_as(&[&line, &format!("<{three}>;expires=300")]).await?;
    let got = uris(&answer);
    for uri in [one, two, three] {
        check!(got.contains(&uri), "{uri} is not among {got:?}");
    }
    Ok(())
}

async fn refresh(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    s.ua.register_as(&[&format!("<{uri}>;expires=300")]).await?;
    let answer = s.ua.register_as(&[&format!("<{uri}>;expires=900")]).await?;
    check!(uris(&answer).len() == 1, "expected one binding, got {:?}", uris(&answer));
    let now = expires(&answer, &uri).unwrap_or(0);
    check!(now > 300, "the lifetime did not grow: {now}");
    Ok(())
}

async fn remove_one(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let (one, two) = (s.uri("one"), s.uri("two"));
    s.ua.register_as(&[&format!("<{one}>;expires=300"), &format!("<{two}>;expires=300")]).await?;
    let answer = s.ua.register_as(&[&format!("<{one}>;expires=0")]).await?;
    check!(uris(&answer) == [two.clone()], "expected only {two}, got {:?}", uris(&answer));
    Ok(())
}

async fn remove_all(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let (one, two) = (s.uri("one"), s.uri("two"));
    s.ua.register_as(&[&format!("<{one}>;expires=300"), &format!("<{two}>;expires=300")]).await?;
    s.ua.clear().await?;
    let left = uris(&bindings(&mut s.ua).await?);
    check!(left.is_empty(), "still bound: {left:?}");
    Ok(())
}

/// Sends a REGISTER that must get a 400, and checks that the one binding is still there.
async fn refused_wildcard(ctx: Ctx, lines: &[(&str, &str)]) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    s.ua.register_as(&[&format!("<{uri}>;expires=300")]).await?;
    let mut request = s.ua.register_req();
    for (name, value) in lines {
        request = request.add(name, *value);
    }
    let answer = s.ua.call(&request).await?;
    check!(answer.status() == Some(400), "expected 400, got {}", answer.start);
    let left = uris(&bindings(&mut s.ua).await?);
    check!(left.contains(&uri), "the binding is gone");
    Ok(())
}

async fn wildcard_expires(ctx: Ctx) -> Verdict {
    refused_wildcard(ctx, &[("Contact", "*"), ("Expires", "60")]).await
}

async fn wildcard_alone(ctx: Ctx) -> Verdict {
    refused_wildcard(ctx, &[("Contact", "*"), ("Contact", "<sip:other@127.0.0.1:4100>"), ("Expires", "0")]).await
}

async fn wildcard_no_expires(ctx: Ctx) -> Verdict {
    refused_wildcard(ctx, &[("Contact", "*")]).await
}

async fn cseq_order(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    for _ in 0..20 {
        s.ua.next_cseq();
    }
    s.ua.register_as(&[&format!("<{uri}>;expires=300")]).await?;
    let call_id = s.ua.call_id.clone();
    // A second client of the same user with the same Call-ID counts from 1.
    let account = s.ua.account.clone();
    let mut late = ctx.ua(&account).await?;
    late.call_id = call_id;
    let request = late.register_req().add("Contact", format!("<{uri}>;expires=0"));
    let answer = late.call(&request).await?;
    let left = uris(&bindings(&mut s.ua).await?);
    check!(left.contains(&uri), "an out-of-order REGISTER removed the binding ({})", answer.start);
    ctx.should(answer.status().is_some_and(|code| code >= 400), format!("not refused: {}", answer.start));
    Ok(())
}

async fn other_call_id(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    for _ in 0..20 {
        s.ua.next_cseq();
    }
    s.ua.register_as(&[&format!("<{uri}>;expires=300")]).await?;
    let account = s.ua.account.clone();
    let mut other = ctx.ua(&account).await?;
    let answer = other.register_as(&[&format!("<{uri}>;expires=900")]).await?;
    check!(uris(&answer).len() == 1, "expected one binding, got {:?}", uris(&answer));
    check!(expires(&answer, &uri).unwrap_or(0) > 300, "not refreshed: {:?}", answer.values("contact"));
    Ok(())
}

async fn param_over_header(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let request = s.ua.register_req().add("Contact", format!("<{uri}>;expires=300")).add("Expires", "1200");
    let answer = s.ua.register_with(&request).await?;
    let got = expires(&answer, &uri);
    check!(got.is_some_and(|e| e > 0 && e <= 300), "expected at most 300, got {got:?}");
    Ok(())
}

async fn expires_header(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let request = s.ua.register_req().add("Contact", format!("<{uri}>")).add("Expires", "400");
    let answer = s.ua.register_with(&request).await?;
    let got = expires(&answer, &uri);
    check!(got.is_some_and(|e| e > 0 && e <= 400), "expected at most 400, got {got:?}");
    Ok(())
}

async fn default_expires(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let answer = s.ua.register_as(&[&format!("<{uri}>")]).await?;
    check!(expires(&answer, &uri).is_some_and(|e| e > 0), "no lifetime: {:?}", answer.values("contact"));
    Ok(())
}

async fn malformed_expires(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let answer = s.ua.register_as(&[&format!("<{uri}>;expires=soon")]).await?;
    check!(expires(&answer, &uri).is_some_and(|e| e > 0), "no lifetime: {:?}", answer.values("contact"));
    Ok(())
}

async fn too_brief(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let request = s.ua.register_req().add("Contact", format!("<{uri}>;expires=1"));
    let answer = s.ua.call(&request).await?;
    match answer.status() {
        Some(200) => {
            let got = expires(&answer, &uri);
            check!(got.is_some_and(|e| e <= 1), "longer than asked for: {got:?}");
        }
        Some(423) => {
            let min = answer.header("min-expires").and_then(|v| v.parse::<u32>().ok());
            check!(min.is_some_and(|m| m > 1 && m < 3600), "423 with Min-Expires {min:?}");
        }
        _ => check!(false, "expected 200 or 423, got {}", answer.start),
    }
    Ok(())
}

async fn hour_not_brief(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    s.ua.register_as(&[&format!("<{uri}>;expires=3600")]).await?;
    Ok(())
}

async fn q_kept(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let answer = s.ua.register_as(&[&format!("<{uri}>;q=0.35;expires=300")]).await?;
    let q = answer.values("contact").iter().find_map(|value| param(value, "q")).and_then(|q| q.parse::<f64>().ok());
    check!(q.is_some_and(|q| (q - 0.35).abs() < 0.011), "q is {q:?}");
    Ok(())
}

async fn host_case(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    s.ua.register_as(&["<sip:dev@phone.invalid:4100>;expires=300"]).await?;
    let answer = s.ua.register_as(&["<sip:dev@PHONE.invalid:4100>;expires=300"]).await?;
    check!(uris(&answer).len() == 1, "expected one binding, got {:?}", uris(&answer));
    Ok(())
}

async fn user_case(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let (one, two) = (s.uri("dev"), s.uri("DEV"));
    let answer = s.ua.register_as(&[&format!("<{one}>;expires=300"), &format!("<{two}>;expires=300")]).await?;
    check!(uris(&answer).len() == 2, "expected two bindings, got {:?}", uris(&answer));
    Ok(())
}

/// Registers under the plain address of record, then queries under another spelling of it.
async fn same_aor(ctx: &Ctx, spelled: fn(&str, &str) -> String) -> Verdict {
    let mut s = setup(ctx).await?;
    let uri = s.uri("dev");
    s.ua.register_as(&[&format!("<{uri}>;expires=300")]).await?;
    let to = spelled(&s.ua.account.user, &s.ua.domain);
    let request = s.ua.register_req().set("To", format!("<{to}>"));
    let answer = s.ua.register_with(&request).await?;
    check!(uris(&answer) == [uri.clone()], "{to} is another address of record: {:?}", uris(&answer));
    Ok(())
}

async fn canonical_params(ctx: Ctx) -> Verdict {
    same_aor(&ctx, |user, domain| format!("sip:{user}@{domain};unknown=1;transport=tcp")).await
}

async fn canonical_escapes(ctx: Ctx) -> Verdict {
    same_aor(&ctx, |user, domain| {
        let first = user.bytes().next().unwrap_or(b'u');
        format!("sip:%{first:02x}{}@{domain}", user.get(1..).unwrap_or(""))
    })
    .await
}

async fn unknown_user(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let (uri, domain) = (s.uri("dev"), s.ua.domain.clone());
    let to = format!("<sip:nobody-{}@{domain}>", ctx.token);
    let request = s.ua.register_req().set("To", to).add("Contact", format!("<{uri}>"));
    let answer = s.ua.call(&request).await?;
    check!(answer.status().is_some_and(|code| code >= 400), "registered: {}", answer.start);
    ctx.should(matches!(answer.status(), Some(403 | 404)), format!("expected 404 or 403, got {}", answer.start));
    Ok(())
}

async fn third_party(ctx: Ctx) -> Verdict {
    let users = ctx.accounts(2).await?;
    let (mut ua, mut other) = (ctx.ua(&users[0]).await?, ctx.ua(&users[1]).await?);
    let (contact, aor) = (ua.contact_uri(), other.aor());
    let request = ua.register_req().set("To", format!("<{aor}>")).add("Contact", format!("<{contact}>"));
    let answer = ua.call(&request).await?;
    check!(answer.status().is_some_and(|code| code >= 400), "registered: {}", answer.start);
    ctx.should(answer.status() == Some(403), format!("expected 403, got {}", answer.start));
    let left = uris(&bindings(&mut other).await?);
    check!(left.is_empty(), "bound all the same: {left:?}");
    Ok(())
}

async fn foreign_domain(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    let mut request = s.ua.register_req().set("To", "<sip:user@elsewhere.invalid>").add("Contact", format!("<{uri}>"));
    request.uri = "sip:elsewhere.invalid".into();
    let answer = s.ua.call(&request).await?;
    check!(answer.status().is_some_and(|code| code >= 400), "registered: {}", answer.start);
    Ok(())
}

async fn require(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let request = s.ua.register_req().add("Require", "x-chappe-unknown");
    let answer = s.ua.call(&request).await?;
    check!(answer.status() == Some(420), "expected 420, got {}", answer.start);
    let unsupported = answer.values("unsupported");
    check!(unsupported.iter().any(|v| v == "x-chappe-unknown"), "Unsupported is {unsupported:?}");
    Ok(())
}

async fn date(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let answer = s.ua.register().await?;
    let date = answer.header("date");
    check!(date.is_some_and(|d| d.ends_with("GMT")), "Date is {date:?}");
    Ok(())
}

async fn no_record_route(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let request = s.ua.register_req().add("Record-Route", "<sip:proxy.invalid;lr>");
    let answer = s.ua.register_with(&request).await?;
    check!(answer.header("record-route").is_none(), "the 200 carries Record-Route");
    Ok(())
}

async fn response_headers(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let request = s.ua.register_req().add("Via", "SIP/2.0/UDP below.invalid;branch=z9hG4bKbelow");
    let answer = s.ua.exchange(&request).await?;
    for name in ["From", "Call-ID", "CSeq"] {
        let (sent, got) = (request.get(name), answer.header(name).unwrap_or(""));
        check!(sent == got, "{name} was {sent:?}, came back as {got:?}");
    }
    let vias = answer.values("via");
    check!(vias.len() == 2 && vias[1].contains("below.invalid"), "Via came back as {vias:?}");
    check!(answer.tag("to").is_some_and(|tag| !tag.is_empty()), "no To tag");
    Ok(())
}

async fn remove_missing(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let uri = s.uri("dev");
    s.ua.register_as(&[&format!("<{uri}>;expires=0")]).await?;
    Ok(())
}
