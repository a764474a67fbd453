//! AUTH: challenges, credentials, what is granted and for how long (§4.2, §5.1, §6.1, §6.3, §9.1).

use std::collections::HashSet;
use std::time::Duration;

use super::patient;
use crate::case::{ANSWER, Case, Ctx, Verdict, cases, check, fail, skip};
use crate::digest::{Algorithm, Challenge};
use crate::msrp::{Client, Conn, Frame, Pair, Session, Via, challenges, home, id_of};

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-relay";
        "5.1" "challenge" Must "An AUTH without credentials gets 401 with WWW-Authenticate" => challenge;
        "5.1" "auth-paths" Must "A response to AUTH goes to the whole From-Path and comes from the To-Path" => paths;
        "9.1" "challenge-qop" Must "A challenge has qop, quoted, with auth and without auth-int" => challenge_qop;
        "9.1" "challenge-algorithm" Must "No challenge is for MD5-sess, nor for Basic" => challenge_algorithm;
        "9.1" "challenge-domain" Should "A challenge has no domain" => challenge_domain;
        "5.1" "granted" Must "Right credentials get 200 with Use-Path and Expires" => granted;
        "4.2" "use-path" Must "Each URI of Use-Path has a host name and a port" => use_path;
        "6.3" "random" Must "A URI of Use-Path holds 64 bits that cannot be guessed" => random;
        "9.1" "authentication-info" Must "200 to AUTH has rspauth, cnonce, nc and qop" => info;
        "9.1" "rspauth" Must "rspauth shows that the relay knows the password" => rspauth;
        "9.1" "nextnonce" Must "Where the relay gives a nextnonce it takes it" => nextnonce;
        "9.1" "md5" Must "MD5 is offered, and taken" => md5;
        "9.1" "sha-256" Must "Where SHA-256 is offered it is taken" => sha256;
        "9.1" "no-uri" Must "Credentials without a uri parameter, which the grammar does not have, are taken" => no_uri;
        "9.1" "basic" Must "Basic credentials are not taken" => basic;
        "9.1" "no-qop" Must "Credentials without qop, cnonce and nc do not authenticate" => no_qop;
        "6.3" "wrong-password" Must "A wrong password gets 401 again, not for a stale nonce" => wrong_password;
        "6.3" "unknown-user" Should "An unknown user is told nothing else than one with a wrong password" => unknown_user;
        "9.1" "made-up-nonce" Must "A nonce that the relay never gave is not taken" => made_up;
        "9.1" "replay" Must "The same credentials do not authenticate twice" => replay;
        "6.3" "failures" Should "Several failed AUTHs end the connection" => failures;
        "4.1" "sessions" Must "Each AUTH on a connection gets a URI of its own, and all work" => sessions;
        "5.1" "expires" Must "A URI is valid for no longer than Expires asked for" => expires;
        "6.3" "too-brief" Must "Expires of a second is met, or refused with 423 and Min-Expires" => too_brief;
        "6.3" "too-long" Must "Expires of many years is refused with 423 and Max-Expires, or cut down" => too_long;
        "6.3" "min-expires" Must "An AUTH with the Min-Expires or Max-Expires of a 423 is taken" => bounds;
        "6.2" "other-relay" Must "An AUTH for another relay is not granted" => other_relay;
        "6.1" "not-asked" Must "The relay says nothing on a connection before it is asked" => not_asked;
        "9.2" "certificate" Must "The relay's certificate has a dNSName" => certificate;
    }
}

pub(super) fn slow() -> Vec<Case> {
    patient(cases! { "msrp-relay";
        "6.1" "probation" Should "A connection that asks for nothing is closed after 30 seconds" => probation;
        "6.1" "probation-failed" Should "A connection whose only request failed is closed after 30 seconds" => probation_failed;
        "6.3" "expired" Must "A URI is of no use after its time" => expired;
    })
}

async fn client(ctx: &Ctx) -> Verdict<Client> {
    Client::open(ctx, home(ctx)?, 0).await
}

async fn challenge(ctx: Ctx) -> Verdict {
    client(&ctx).await?.challenged().await.map(|_| ())
}

async fn paths(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let (answer, _) = client.challenged().await?;
    let (own, relay) = (client.session.uri.as_str(), client.relay.as_str());
    check!(answer.path_to() == [own], "To-Path is {:?}, not {own}", answer.path_to());
    check!(answer.path_from() == [relay], "From-Path is {:?}, not {relay}", answer.path_from());
    Ok(())
}

fn lines(answer: &Frame) -> impl Iterator<Item = &str> {
    let named = |name: &str| name.eq_ignore_ascii_case("www-authenticate");
    answer.headers.iter().filter(move |(name, _)| named(name)).map(|(_, value)| value.as_str())
}

async fn challenge_qop(ctx: Ctx) -> Verdict {
    let (answer, _) = client(&ctx).await?.challenged().await?;
    for line in lines(&answer) {
        check!(line.contains("qop=\""), "no qop, or it is not quoted: {line}");
        let qop = Challenge::parse(line).map(|challenge| challenge.qop).unwrap_or_default();
        check!(qop.iter().any(|value| value == "auth"), "qop is {qop:?}");
        check!(!qop.iter().any(|value| value.eq_ignore_ascii_case("auth-int")), "qop is {qop:?}");
    }
    Ok(())
}

async fn challenge_algorithm(ctx: Ctx) -> Verdict {
    let (answer, _) = client(&ctx).await?.challenged().await?;
    for line in lines(&answer) {
        let lower = line.to_ascii_lowercase();
        check!(lower.starts_with("digest ") && !lower.contains("md5-sess"), "the challenge is {line}");
    }
    Ok(())
}

async fn challenge_domain(ctx: Ctx) -> Verdict {
    let (answer, _) = client(&ctx).await?.challenged().await?;
    check!(!lines(&answer).any(|line| line.contains("domain=")), "a challenge has a domain");
    Ok(())
}

async fn granted(ctx: Ctx) -> Verdict {
    let session = client(&ctx).await?.authenticate(&[]).await?;
    check!(session.expires.is_some(), "200 to AUTH without Expires in whole seconds");
    Ok(())
}

async fn use_path(ctx: Ctx) -> Verdict {
    let client = Client::home(&ctx, 0).await?;
    for uri in &client.session.path {
        let authority = uri.split_once("://").and_then(|(_, rest)| rest.split(['/', ';']).next()).unwrap_or("");
        let Some((host, port)) = authority.rsplit_once(':') else { return fail(format!("{uri} has no port")) };
        check!(port.parse::<u16>().is_ok(), "{uri} has no port");
        let numeric = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
        check!(!numeric, "{uri} has an address for a host");
    }
    Ok(())
}

async fn random(ctx: Ctx) -> Verdict {
    const COUNT: usize = 16;
    let mut client = client(&ctx).await?;
    let mut ids = Vec::new();
    for _ in 0..COUNT {
        let session = client.authenticate(&[]).await?;
        let uri = session.path.last().cloned().unwrap_or_default();
        ids.push(uri.split_once("://").and_then(|(_, rest)| rest.split(['/', ';']).nth(1)).unwrap_or("").to_owned());
    }
    let unique: HashSet<&String> = ids.iter().collect();
    check!(unique.len() == COUNT, "the same session-id came twice");
    // A place where few different characters are seen is a prefix, a counter or a clock.
    let all: HashSet<u8> = ids.iter().flat_map(|id| id.bytes()).collect();
    let each = (all.len() as f64).log2();
    let longest = ids.iter().map(String::len).min().unwrap_or(0);
    let varied =
        (0..longest).filter(|at| ids.iter().map(|id| id.as_bytes()[*at]).collect::<HashSet<_>>().len() >= 5).count();
    let bits = (varied as f64 * each) as u64;
    check!(bits >= 64, "{COUNT} session-ids like {} show {bits} bits at most", ids[0]);
    Ok(())
}

fn info_of(answer: &Frame) -> Verdict<Vec<(String, String)>> {
    let Some(line) = answer.header("authentication-info") else { return fail("200 without Authentication-Info") };
    let pairs = crate::message::split_values(line);
    let pair = |pair: String| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    Ok(pairs.into_iter().filter_map(pair).collect())
}

fn value<'a>(info: &'a [(String, String)], name: &str) -> Option<&'a str> {
    info.iter().find(|(got, _)| got == name).map(|(_, value)| value.as_str())
}

fn is_granted(answer: &Frame) -> Verdict {
    check!(answer.status == Some(200), "expected 200 to AUTH, got {}", answer.start);
    Ok(())
}

async fn info(ctx: Ctx) -> Verdict {
    let asked = client(&ctx).await?.answered(&[]).await?;
    is_granted(&asked.answer)?;
    let info = info_of(&asked.answer)?;
    for name in ["rspauth", "cnonce", "nc", "qop"] {
        check!(value(&info, name).is_some(), "Authentication-Info has no {name}");
    }
    check!(value(&info, "qop") == Some("auth"), "qop is {:?}, and not to be quoted", value(&info, "qop"));
    check!(value(&info, "nc") == Some("00000001"), "nc is {:?}", value(&info, "nc"));
    Ok(())
}

async fn rspauth(ctx: Ctx) -> Verdict {
    let asked = client(&ctx).await?.answered(&[]).await?;
    is_granted(&asked.answer)?;
    let got = value(&info_of(&asked.answer)?, "rspauth").map(|value| value.trim_matches('"').to_owned());
    check!(got.as_deref() == Some(asked.rspauth.as_str()), "rspauth is {got:?}, not {}", asked.rspauth);
    Ok(())
}

async fn nextnonce(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let (_, mut challenge) = client.challenged().await?;
    let asked = client.ask(&challenge, &[]).await?;
    client.granted(&asked.answer)?;
    let info = asked.answer.header("authentication-info").map_or(Ok(Vec::new()), |_| info_of(&asked.answer))?;
    let Some(next) = value(&info, "nextnonce") else { return skip("the relay gives no nextnonce") };
    challenge.nonce = next.trim_matches('"').to_owned();
    let mut req = client.auth();
    let (line, _) = client.credentials_at(&challenge, &req, 1);
    req.lines.push(line);
    let answer = client.exchange(&req).await?;
    client.granted(&answer).map(|_| ())
}

async fn algorithm(ctx: &Ctx, wanted: Algorithm) -> Verdict<Option<Session>> {
    let mut client = client(ctx).await?;
    let (answer, _) = client.challenged().await?;
    let offered = challenges(&answer).into_iter().find(|challenge| challenge.algorithm == Some(wanted));
    let Some(challenge) = offered else { return Ok(None) };
    let asked = client.ask(&challenge, &[]).await?;
    client.granted(&asked.answer).map(Some)
}

async fn md5(ctx: Ctx) -> Verdict {
    match algorithm(&ctx, Algorithm::Md5).await? {
        Some(_) => Ok(()),
        None => skip("the relay does not offer MD5"),
    }
}

async fn sha256(ctx: Ctx) -> Verdict {
    match algorithm(&ctx, Algorithm::Sha256).await? {
        Some(_) => Ok(()),
        None => skip("the relay does not offer SHA-256"),
    }
}

/// An AUTH whose Authorization line was changed.
async fn changed(ctx: &Ctx, change: impl FnOnce(String) -> String) -> Verdict<Frame> {
    let mut client = client(ctx).await?;
    let (_, challenge) = client.challenged().await?;
    let mut req = client.auth();
    let (line, _) = client.credentials(&challenge, &req);
    req.lines.push(change(line));
    client.send(&req).await?;
    match client.conn.response(&req.tid, ANSWER).await {
        Some(answer) => Ok(answer),
        None => fail("no response to AUTH"),
    }
}

/// Takes the parameters of these names out of an Authorization line.
fn without(line: &str, names: &[&str]) -> String {
    let (scheme, rest) = line.split_once("Digest ").unwrap_or((line, ""));
    let named = |pair: &String| names.iter().any(|name| pair.trim().starts_with(&format!("{name}=")));
    let kept = crate::message::split_values(rest).into_iter().filter(|pair| !named(pair));
    format!("{scheme}Digest {}", kept.map(|pair| pair.trim().to_owned()).collect::<Vec<_>>().join(", "))
}

async fn no_uri(ctx: Ctx) -> Verdict {
    let answer = changed(&ctx, |line| without(&line, &["uri"])).await?;
    check!(answer.status == Some(200), "expected 200, got {}", answer.start);
    Ok(())
}

async fn basic(ctx: Ctx) -> Verdict {
    use base64::Engine as _;
    let mut client = client(&ctx).await?;
    client.challenged().await?;
    let pair = format!("{}:{}", client.account.user, client.account.password);
    let line = format!("Authorization: Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let req = client.auth().line(line);
    client.send(&req).await?;
    let answer = client.conn.response(&req.tid, ANSWER).await;
    check!(answer.as_ref().is_none_or(|answer| answer.status != Some(200)), "Basic credentials were taken");
    Ok(())
}

async fn no_qop(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let (_, mut challenge) = client.challenged().await?;
    challenge.qop.clear();
    let asked = client.ask(&challenge, &[]).await?;
    check!(asked.answer.status != Some(200), "credentials of RFC 2069 were taken");
    Ok(())
}

/// The answer to a wrong password for that user.
async fn wrong(ctx: &Ctx, user: Option<&str>) -> Verdict<Frame> {
    let mut client = client(ctx).await?;
    client.account.password.push_str("-wrong");
    if let Some(user) = user {
        client.relay = client.relay.replace(&client.account.user, user);
        client.account.user = user.to_owned();
    }
    Ok(client.answered(&[]).await?.answer)
}

async fn wrong_password(ctx: Ctx) -> Verdict {
    let answer = wrong(&ctx, None).await?;
    check!(answer.status == Some(401), "expected 401, got {}", answer.start);
    check!(!challenges(&answer).iter().any(|challenge| challenge.stale), "the nonce is called stale");
    Ok(())
}

async fn unknown_user(ctx: Ctx) -> Verdict {
    let (known, unknown) = (wrong(&ctx, None).await?, wrong(&ctx, Some(&format!("no{}", ctx.token))).await?);
    check!(known.status == unknown.status, "{} and {}", known.start, unknown.start);
    Ok(())
}

async fn made_up(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let (_, mut challenge) = client.challenged().await?;
    challenge.nonce = format!("made-up-{}", ctx.token);
    let asked = client.ask(&challenge, &[]).await?;
    check!(asked.answer.status == Some(401), "expected 401, got {}", asked.answer.start);
    Ok(())
}

async fn replay(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let (_, challenge) = client.challenged().await?;
    let (req, _) = client.auth_with(&challenge);
    is_granted(&client.exchange(&req).await?)?;
    let mut thief = Client::open(&ctx, home(&ctx)?, 0).await?;
    let again = req.tid(ctx.id());
    let answer = thief.exchange(&again).await?;
    check!(answer.status != Some(200), "credentials that were seen on the wire gave a session");
    Ok(())
}

async fn failures(ctx: Ctx) -> Verdict {
    const TRIES: usize = 20;
    let mut client = client(&ctx).await?;
    client.account.password.push_str("-wrong");
    let (_, challenge) = client.challenged().await?;
    for _ in 0..TRIES {
        let (req, _) = client.auth_with(&challenge);
        if client.send(&req).await.is_err() {
            return Ok(());
        }
        client.conn.response(&req.tid, ANSWER).await;
        if client.conn.closed {
            return Ok(());
        }
    }
    fail(format!("{TRIES} failed AUTHs, and the connection is open"))
}

async fn sessions(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let mut more = Vec::new();
    for _ in 0..3 {
        let session = p.b.one_more().await?;
        check!(session.path != p.b.session.path, "two AUTHs got the same URI");
        more.push(session);
    }
    for session in more {
        let req = p.a.send_to(&session).body("one of several");
        p.a.send(&req).await?;
        let chunk = p.b.chunk(id_of(&req)).await?;
        check!(chunk.path_to() == [session.uri.as_str()], "it arrived for {:?}", chunk.path_to());
        p.b.reply(&chunk, "200 OK").await?;
    }
    Ok(())
}

/// Asks for so many seconds; the answer, and those granted.
async fn asks(client: &mut Client, seconds: u64) -> Verdict<(Frame, Option<Session>)> {
    let answer = client.answered(&[&format!("Expires: {seconds}")]).await?.answer;
    let session = if answer.status == Some(200) { Some(client.granted(&answer)?) } else { None };
    Ok((answer, session))
}

async fn expires(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let first = client.authenticate(&[]).await?.expires.unwrap_or(0);
    let wanted = (first / 2).max(1);
    let (answer, session) = asks(&mut client, wanted).await?;
    match session.and_then(|session| session.expires) {
        Some(given) => check!(given <= wanted, "asked for {wanted} s, got {given}"),
        None => check!(answer.status == Some(423), "expected 200 with Expires or 423, got {}", answer.start),
    }
    Ok(())
}

async fn too_brief(ctx: Ctx) -> Verdict {
    let (answer, session) = asks(&mut client(&ctx).await?, 1).await?;
    match (answer.status, session.and_then(|session| session.expires)) {
        (Some(200), Some(given)) => check!(given <= 1, "asked for 1 s, got {given}"),
        (Some(423), _) => check!(number(&answer, "min-expires") > Some(1), "423 without a Min-Expires"),
        _ => return fail(format!("expected 200 with Expires or 423, got {}", answer.start)),
    }
    Ok(())
}

fn number(answer: &Frame, name: &str) -> Option<u64> {
    answer.header(name)?.parse().ok()
}

async fn too_long(ctx: Ctx) -> Verdict {
    const LONG: u64 = 4_000_000_000;
    let (answer, session) = asks(&mut client(&ctx).await?, LONG).await?;
    match (answer.status, session.and_then(|session| session.expires)) {
        (Some(200), Some(given)) => check!(given <= LONG, "asked for {LONG} s, got {given}"),
        (Some(423), _) => check!(number(&answer, "max-expires").is_some(), "423 without a Max-Expires"),
        _ => return fail(format!("expected 200 with Expires or 423, got {}", answer.start)),
    }
    Ok(())
}

async fn bounds(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let mut tested = false;
    for (seconds, name) in [(1, "min-expires"), (4_000_000_000, "max-expires")] {
        let (answer, _) = asks(&mut client, seconds).await?;
        if let Some(bound) = number(&answer, name) {
            let (again, _) = asks(&mut client, bound).await?;
            check!(again.status == Some(200), "{name} is {bound}, and {bound} gets {}", again.start);
            tested = true;
        }
    }
    if tested { Ok(()) } else { skip("the relay refuses no Expires") }
}

async fn other_relay(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    let (_, challenge) = client.challenged().await?;
    let mut req = client.auth();
    req.to = "msrps://relay.elsewhere.invalid:2855;tcp".into();
    let (line, _) = client.credentials(&challenge, &req);
    req.lines.push(line);
    client.send(&req).await?;
    let answer = client.conn.response(&req.tid, Duration::from_secs(2)).await;
    check!(answer.as_ref().is_none_or(|answer| answer.status != Some(200)), "it was granted");
    let dropped = client.conn.closed || client.conn.wait_closed(ANSWER).await;
    ctx.should(dropped, "the connection was not dropped (§6.2)");
    Ok(())
}

async fn not_asked(ctx: Ctx) -> Verdict {
    let mut conn = Conn::open(&ctx, home(&ctx)?).await?;
    check!(conn.take(crate::case::SILENCE, |_| true).await.is_none(), "the relay spoke first");
    check!(!conn.closed, "the relay closed the connection at once");
    Ok(())
}

async fn certificate(ctx: Ctx) -> Verdict {
    let Some(place) = ctx.shared.msrp.get(Via::Tls) else { return skip("no --msrp-tls given") };
    let der = match crate::tls::certificate(place.addr, place.host.trim_matches(['[', ']'])).await {
        Ok(der) => der,
        Err(error) => return fail(format!("no TLS: {error}")),
    };
    // The extension subjectAltName (2.5.29.17), and a dNSName ([2], primitive) in it.
    let Some(at) = der.windows(5).position(|octets| octets == [6, 3, 0x55, 0x1d, 0x11]) else {
        return fail("the certificate has no SubjectAltName");
    };
    let names = &der[at + 5..];
    let list = names.windows(2).position(|octets| octets[0] == 0x30).map_or(names, |at| &names[at + 2..]);
    let mut rest = list;
    while let [tag @ (0x81 | 0x82 | 0x86 | 0x87), len, after @ ..] = rest {
        if *tag == 0x82 {
            return Ok(());
        }
        rest = after.get(usize::from(*len)..).unwrap_or_default();
    }
    fail("no name in SubjectAltName is a dNSName")
}

/// What the relay may take beyond its 30 seconds.
const GRACE: Duration = Duration::from_secs(40);

async fn probation(ctx: Ctx) -> Verdict {
    let mut conn = Conn::open(&ctx, home(&ctx)?).await?;
    check!(conn.wait_closed(GRACE).await, "open after {} s", GRACE.as_secs());
    Ok(())
}

async fn probation_failed(ctx: Ctx) -> Verdict {
    let mut client = client(&ctx).await?;
    client.challenged().await?;
    check!(client.conn.wait_closed(GRACE).await, "open after {} s", GRACE.as_secs());
    Ok(())
}

async fn expired(ctx: Ctx) -> Verdict {
    const LONGEST: u64 = 35;
    let mut p = Pair::new(&ctx).await?;
    let (answer, mut session) = asks(&mut p.b, 1).await?;
    if let Some(least) = number(&answer, "min-expires") {
        if least > LONGEST {
            return skip(format!("the shortest time is {least} s"));
        }
        session = asks(&mut p.b, least).await?.1;
    }
    let Some(session) = session else { return fail("no session with the Min-Expires of the relay") };
    let seconds = session.expires.unwrap_or(0);
    if seconds > LONGEST {
        return skip(format!("the relay gives {seconds} s"));
    }
    let req = p.a.send_to(&session).body("in time");
    p.a.send(&req).await?;
    let chunk = p.b.chunk(id_of(&req)).await?;
    p.b.reply(&chunk, "200 OK").await?;
    tokio::time::sleep(Duration::from_secs(seconds + 2)).await;
    let req = p.a.send_to(&session).body("too late");
    p.a.send(&req).await?;
    p.b.nothing("the URI has expired").await
}
