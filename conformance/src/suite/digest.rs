//! Digest authentication at the registrar: RFC 8760 with RFC 7616 and RFC 3261 §22.

use crate::case::{Case, Ctx, Lease, Verdict, cases, check, fail, skip};
use crate::digest::{Algorithm, Challenge};
use crate::message::Message;
use crate::ua::Ua;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc8760";
        "2.6" "qop" Must "Every challenge carries realm, nonce and qop" => qop;
        "2.3" "most-preferred-first" Must "Of several challenges the strongest algorithm comes first, each on its line" => preferred;
        "2.3" "sha-256" Should "SHA-256 is offered" => offers_sha256;
        "2.3" "answer-sha-256" Must "An answer by SHA-256 is accepted where it is offered" => answer_sha256;
        "2.3" "answer-md5" Must "An answer by MD5 is accepted where it is offered" => answer_md5;
        "2.3" "answer-sha-512-256" Must "An answer by SHA-512-256 is accepted where it is offered" => answer_sha512;
        "2.6" "auth-int" Must "An answer with auth-int is accepted where it is offered" => auth_int;
        "2.6" "auth-int-body" Must "With auth-int a changed body is refused" => auth_int_body;
        "2.6" "nc-replay" Should "The same nonce with the same count is not accepted twice" => nc_replay;
        "2.6" "nc-next" Must "The same nonce with the next count is accepted, or challenged as stale" => nc_next;
        "2.6" "wrong-response" Must "A wrong response is challenged anew and not called stale" => wrong_response;
        "2.6" "forged-nonce" Must "A nonce the server never made is not accepted" => forged_nonce;
        "2.6" "other-method" Must "A response computed for another method is refused" => other_method;
        "22.4" "other-realm" Must "Credentials for another realm count as none" => other_realm;
        "22.3" "several-credentials" Must "Credentials for the right realm are found among others" => several;
        "22" "basic" Must "Basic credentials are never accepted" => basic;
        "2.6" "unknown-user" Should "An unknown user is challenged like a known one" => unknown_user;
        "22.1" "cancel-ack" Must "CANCEL is not challenged" => cancel;
    }
}

/// A user with the challenges its REGISTER got, strongest first as they came.
struct Setup {
    ua: Ua,
    challenges: Vec<Challenge>,
    lines: Vec<String>,
    _lease: Lease,
}

async fn setup(ctx: &Ctx) -> Verdict<Setup> {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&lease[0]).await?;
    let request = ua.register_req();
    let answer = ua.exchange(&request).await?;
    if answer.status() != Some(401) {
        return skip(format!("REGISTER is not challenged: {}", answer.start));
    }
    let lines: Vec<String> = answer.lines("www-authenticate").into_iter().map(str::to_owned).collect();
    let challenges = lines.iter().filter_map(|line| Challenge::parse(line)).collect();
    Ok(Setup { ua, challenges, lines, _lease: lease })
}

impl Setup {
    fn offered(&self, algorithm: Algorithm) -> Verdict<Challenge> {
        match self.challenges.iter().find(|c| c.algorithm == Some(algorithm)) {
            Some(challenge) => Ok(challenge.clone()),
            None => skip(format!("{} is not offered", algorithm.token())),
        }
    }

    fn any(&self) -> Verdict<Challenge> {
        match self.challenges.iter().find(|c| c.algorithm.is_some()) {
            Some(challenge) => Ok(challenge.clone()),
            None => fail("no Digest challenge that can be answered"),
        }
    }

    /// A query with that answer to the challenge.
    async fn ask(&mut self, challenge: &Challenge, qop: &str, nc: u32) -> Verdict<Message> {
        let request = self.ua.register_req();
        let value = self.ua.credentials(challenge, &request, qop, nc);
        self.ua.exchange(&request.add("Authorization", value)).await
    }
}

fn accepted(answer: &Message) -> Verdict {
    check!(answer.status() == Some(200), "expected 200, got {}", answer.start);
    Ok(())
}

fn refused(answer: &Message) -> Verdict {
    check!(matches!(answer.status(), Some(400..=499)), "expected a refusal, got {}", answer.start);
    Ok(())
}

async fn qop(ctx: Ctx) -> Verdict {
    let s = setup(&ctx).await?;
    check!(!s.lines.is_empty(), "no WWW-Authenticate");
    for line in &s.lines {
        let Some(challenge) = Challenge::parse(line) else { continue };
        check!(!challenge.nonce.is_empty(), "no nonce in {line}");
        check!(challenge.qop.iter().any(|q| q == "auth"), "no qop with auth in {line}");
    }
    Ok(())
}

async fn preferred(ctx: Ctx) -> Verdict {
    let s = setup(&ctx).await?;
    let got: Vec<Algorithm> = s.challenges.iter().filter_map(|c| c.algorithm).collect();
    if got.len() < 2 {
        return skip("one algorithm only");
    }
    let strength = |algorithm: &Algorithm| match algorithm {
        Algorithm::Md5 => 0,
        Algorithm::Sha256 | Algorithm::Sha512Trunc256 => 1,
    };
    check!(got.windows(2).all(|pair| strength(&pair[0]) >= strength(&pair[1])), "the order is {got:?}");
    Ok(())
}

async fn offers_sha256(ctx: Ctx) -> Verdict {
    let s = setup(&ctx).await?;
    check!(s.challenges.iter().any(|c| c.algorithm == Some(Algorithm::Sha256)), "offered: {:?}", s.lines);
    Ok(())
}

async fn answer_with(ctx: &Ctx, algorithm: Algorithm) -> Verdict {
    let mut s = setup(ctx).await?;
    let challenge = s.offered(algorithm)?;
    accepted(&s.ask(&challenge, "auth", 1).await?)
}

async fn answer_sha256(ctx: Ctx) -> Verdict {
    answer_with(&ctx, Algorithm::Sha256).await
}

async fn answer_md5(ctx: Ctx) -> Verdict {
    answer_with(&ctx, Algorithm::Md5).await
}

async fn answer_sha512(ctx: Ctx) -> Verdict {
    answer_with(&ctx, Algorithm::Sha512Trunc256).await
}

fn with_auth_int(s: &Setup) -> Verdict<Challenge> {
    let challenge = s.any()?;
    if !challenge.qop.iter().any(|q| q == "auth-int") {
        return skip("auth-int is not offered");
    }
    Ok(challenge)
}

async fn auth_int(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = with_auth_int(&s)?;
    let request = s.ua.register_req().body("text/plain", "a body");
    let value = s.ua.credentials(&challenge, &request, "auth-int", 1);
    accepted(&s.ua.exchange(&request.add("Authorization", value)).await?)
}

async fn auth_int_body(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = with_auth_int(&s)?;
    let mut request = s.ua.register_req().body("text/plain", "a body");
    let value = s.ua.credentials(&challenge, &request, "auth-int", 1);
    request.body = b"a bodY".to_vec();
    refused(&s.ua.exchange(&request.add("Authorization", value)).await?)
}

async fn nc_replay(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = s.any()?;
    accepted(&s.ask(&challenge, "auth", 1).await?)?;
    refused(&s.ask(&challenge, "auth", 1).await?)
}

async fn nc_next(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = s.any()?;
    accepted(&s.ask(&challenge, "auth", 1).await?)?;
    let answer = s.ask(&challenge, "auth", 2).await?;
    match answer.status() {
        Some(200) => Ok(()),
        Some(401) => {
            let stale = answer.lines("www-authenticate").into_iter().filter_map(Challenge::parse).any(|c| c.stale);
            check!(stale, "challenged, and not as stale");
            Ok(())
        }
        _ => fail(format!("expected 200, got {}", answer.start)),
    }
}

async fn wrong_response(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = s.any()?;
    s.ua.account.password.push('x');
    let answer = s.ask(&challenge, "auth", 1).await?;
    refused(&answer)?;
    let stale = answer.lines("www-authenticate").into_iter().filter_map(Challenge::parse).any(|c| c.stale);
    check!(!stale, "a wrong response was called stale");
    Ok(())
}

async fn forged_nonce(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let mut challenge = s.any()?;
    let forged: String = challenge.nonce.chars().rev().collect();
    challenge.nonce = if forged == challenge.nonce { "forged".into() } else { forged };
    refused(&s.ask(&challenge, "auth", 1).await?)
}

async fn other_method(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = s.any()?;
    let request = s.ua.register_req();
    let mut other = request.clone();
    other.method = "INVITE".into();
    let value = s.ua.credentials(&challenge, &other, "auth", 1);
    refused(&s.ua.exchange(&request.add("Authorization", value)).await?)
}

async fn other_realm(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let mut challenge = s.any()?;
    challenge.realm = "elsewhere.invalid".into();
    refused(&s.ask(&challenge, "auth", 1).await?)
}

async fn several(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let right = s.any()?;
    let mut wrong = right.clone();
    wrong.realm = "elsewhere.invalid".into();
    let request = s.ua.register_req();
    let (one, two) = (s.ua.credentials(&wrong, &request, "auth", 1), s.ua.credentials(&right, &request, "auth", 1));
    accepted(&s.ua.exchange(&request.add("Authorization", one).add("Authorization", two)).await?)
}

async fn basic(ctx: Ctx) -> Verdict {
    use base64::Engine as _;
    let mut s = setup(&ctx).await?;
    let pair = format!("{}:{}", s.ua.account.user, s.ua.account.password);
    let value = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let request = s.ua.register_req().add("Authorization", value);
    s.ua.send(&request).await?;
    match s.ua.response(&request, crate::case::ANSWER / 3).await {
        Some(answer) => refused(&answer),
        None => {
            ctx.should(false, "silence instead of a challenge");
            Ok(())
        }
    }
}

async fn unknown_user(ctx: Ctx) -> Verdict {
    let mut s = setup(&ctx).await?;
    let challenge = s.any()?;
    let known = s.ua.account.clone();
    s.ua.account.password.push('x');
    let wrong = s.ask(&challenge, "auth", 1).await?;
    s.ua.account.user = format!("nobody-{}", ctx.token);
    let first = s.ua.register_req();
    let answer = s.ua.exchange(&first).await?;
    let Some((_, challenge)) = crate::ua::challenge_of(&answer) else {
        return fail(format!("{} is challenged, a user unknown gets {}", known.user, answer.start));
    };
    let unknown = s.ask(&challenge, "auth", 1).await?;
    check!(
        unknown.status() == wrong.status(),
        "{} for a wrong password, {} for an unknown user",
        wrong.start,
        unknown.start
    );
    Ok(())
}

async fn cancel(ctx: Ctx) -> Verdict {
    let mut ua = ctx.stranger().await?;
    let uri = format!("sip:{}", ctx.domain());
    let request = ua.req("CANCEL", &uri);
    ua.send(&request).await?;
    // Whatever else is right, a challenge is not.
    match ua.response(&request, crate::case::SILENCE).await.and_then(|m| m.status()) {
        Some(401 | 407) => fail("a CANCEL was challenged"),
        _ => Ok(()),
    }
}
