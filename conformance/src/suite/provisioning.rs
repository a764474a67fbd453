//! Auto-configuration of handsets (GSMA RCC.14, as deployed clients use it), at the host of `--http` under `/config`. What needs a
//! number that the target serves is asked as a gateway of the access network would, which the target has to believe (`--msisdn`).

use crate::case::{Case, Ctx, Verdict, cases, check, skip};
use crate::http::{Ask, Client, Reply};
use crate::target::Account;

pub(crate) const NAME: &str = "provisioning";

/// Wrong passwords that may be tried before there is an end to it.
const ATTEMPTS: usize = 12;

pub(crate) fn cases() -> Vec<Case> {
    cases! { "provisioning";
        "6.1" "nothing" Practice "Who says nothing of himself is told to begin anew (511)" => nothing;
        "6.2" "twice" Practice "An identity that stands there twice is refused (400)" => twice;
        "6.2" "malformed" Practice "Parameters that cannot be are refused (400)" => malformed;
        "6.2" "unknown-parameters" Practice "Parameters that nobody knows are passed over" => unknown_parameters;
        "6.1" "strangers" Practice "A number that is not served is answered like one that is, with a cookie and no content" => strangers;
        "6.1" "cookie" Practice "The cookie of a session is not for scripts, and is another one each time" => cookie;
        "6.1" "guesses" Practice "One-time passwords cannot be tried without end" => guesses;
        "6.1" "no-session" Practice "A password without its session is told to begin anew (511)" => no_session;
        "6.1" "wrong-token" Practice "A token that is none is told to begin anew (511)" => wrong_token;
        "6.1" "not-stored" Practice "Nothing of it is stored on the way" => not_stored;
        "6.1" "foreign-number" Practice "A number from the gateway that is not served is refused (403)" => foreign_number;
        "6.3" "version-first" Practice "A document begins with VERS, above 0, with a validity" => version_first;
        "6.3" "unchanged" Practice "Who holds the version is told VERS, and nothing to change" => unchanged;
        "6.5" "profiles" Practice "joyn and Universal Profile each get the document of their form" => profiles;
        "6.5" "identity" Practice "The document tells domain, identities and a log-in" => identity;
        "6.5" "registers" Practice "A device registers with what it was told" => registers;
    }
}

fn client(ctx: &Ctx) -> Verdict<Client> {
    let Some((addr, host, _)) = &ctx.shared.ws else { return skip("no --http given") };
    Ok(Client::new(*addr, host, None, Some(ctx.log.clone())))
}

async fn ask(ctx: &Ctx, query: &str, headers: &[(&str, &str)]) -> Verdict<Reply> {
    let target = format!("/config?{query}");
    let reply = client(ctx)?.ask(Ask { method: "GET", target: &target, headers, body: b"" }).await?;
    if reply.status == 404 {
        return skip("nobody is configured here");
    }
    Ok(reply)
}

/// A number that nobody has, and another one each time.
fn stranger(ctx: &Ctx) -> String {
    let digits = ctx.id().bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    format!("999{:010}", digits % 10_000_000_000)
}

async fn nothing(ctx: Ctx) -> Verdict {
    for query in ["", "vers=0", "vers=0&rcs_profile=UP_2.4&client_vendor=EXMP"] {
        let reply = ask(&ctx, query, &[]).await?;
        check!(reply.status == 511, "{query:?} is answered {}", reply.status);
    }
    Ok(())
}

async fn twice(ctx: Ctx) -> Verdict {
    for query in ["IMSI=001010000000001&IMSI=001010000000002", "msisdn=%2B15550&msisdn=%2B15551", "token=a&Token=b"] {
        let reply = ask(&ctx, query, &[]).await?;
        check!(reply.status == 400, "{query} is answered {}", reply.status);
    }
    Ok(())
}

async fn malformed(ctx: Ctx) -> Verdict {
    let long = format!("client_vendor={}", "x".repeat(10_000));
    for query in ["vers=x", "IMSI=12a", "msisdn=tel:1", "a=%zz", "a=%ff", &long] {
        let reply = ask(&ctx, query, &[]).await?;
        check!(matches!(reply.status, 400 | 414), "{:.40} is answered {}", query, reply.status);
    }
    Ok(())
}

async fn unknown_parameters(ctx: Ctx) -> Verdict {
    let query = format!("msisdn=%2B{}&x=1&x=2&new_thing=%3C", stranger(&ctx));
    let reply = ask(&ctx, &query, &[]).await?;
    check!(matches!(reply.status, 200 | 403), "answered {}", reply.status);
    Ok(())
}

/// Asks for a one-time password; the cookie of the session.
async fn session(ctx: &Ctx) -> Verdict<String> {
    let reply = ask(ctx, &format!("vers=0&msisdn=%2B{}", stranger(ctx)), &[]).await?;
    if reply.status == 403 {
        return skip("no one-time passwords are sent");
    }
    check!(reply.status == 200, "answered {}", reply.status);
    check!(reply.body.is_empty(), "with content: {}", reply.text());
    match reply.header("set-cookie") {
        Some(cookie) => Ok(cookie.to_owned()),
        None => crate::case::fail("without a cookie"),
    }
}

async fn strangers(ctx: Ctx) -> Verdict {
    session(&ctx).await.map(drop)
}

async fn cookie(ctx: Ctx) -> Verdict {
    let (one, two) = (session(&ctx).await?, session(&ctx).await?);
    check!(one.to_ascii_lowercase().contains("httponly"), "{one}");
    check!(one.split(';').next() != two.split(';').next(), "twice the same: {one}");
    Ok(())
}

async fn guesses(ctx: Ctx) -> Verdict {
    let cookie = session(&ctx).await?;
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    for guess in 0..ATTEMPTS {
        let reply = ask(&ctx, &format!("OTP={guess:06}"), &[("Cookie", &cookie)]).await?;
        match reply.status {
            511 => {}
            403 | 429 => return Ok(()),
            status => return crate::case::fail(format!("a guess is answered {status}")),
        }
    }
    crate::case::fail(format!("{ATTEMPTS} were tried"))
}

async fn no_session(ctx: Ctx) -> Verdict {
    for cookie in ["", "rcs=0", "rcs=../../x; other=1"] {
        let headers = [("Cookie", cookie)];
        let reply = ask(&ctx, "OTP=123456", if cookie.is_empty() { &[] } else { &headers }).await?;
        check!(reply.status == 511, "{cookie:?} is answered {}", reply.status);
    }
    Ok(())
}

async fn wrong_token(ctx: Ctx) -> Verdict {
    for token in ["x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "a.b.c"] {
        let reply = ask(&ctx, &format!("vers=0&token={token}"), &[]).await?;
        check!(reply.status == 511, "{token} is answered {}", reply.status);
    }
    Ok(())
}

async fn not_stored(ctx: Ctx) -> Verdict {
    let reply = ask(&ctx, "vers=0", &[]).await?;
    let said = reply.header("cache-control").unwrap_or_default().to_owned();
    check!(said.contains("no-store"), "Cache-Control: {said}");
    Ok(())
}

/// A document, as the gateway of the access network asks for it.
struct Document(String);

impl Document {
    async fn of(ctx: &Ctx, query: &str) -> Verdict<Document> {
        let Some(number) = ctx.options().msisdn.clone() else { return skip("no --msisdn given") };
        let reply = ask(ctx, query, &[("X-MSISDN", &number)]).await?;
        if reply.status == 511 {
            return skip("the target does not take this run for a gateway");
        }
        check!(reply.status == 200, "answered {}", reply.status);
        check!(reply.content_type().contains("xml"), "Content-Type is {}", reply.content_type());
        let text = reply.text();
        let parsed = roxmltree::Document::parse(&text);
        let root = parsed.as_ref().map(|document| document.root_element().tag_name().name().to_owned());
        check!(root.as_deref() == Ok("wap-provisioningdoc"), "the document: {root:?}");
        Ok(Document(text))
    }

    /// The first value of a parameter, whose name counts without case.
    fn parm(&self, name: &str) -> Option<String> {
        let document = roxmltree::Document::parse(&self.0).ok()?;
        let found = document.descendants().find(|node| {
            node.has_tag_name("parm") && node.attribute("name").is_some_and(|found| found.eq_ignore_ascii_case(name))
        })?;
        found.attribute("value").map(str::to_owned)
    }

    /// The types of the characteristics at the top.
    fn top(&self) -> Vec<String> {
        let Ok(document) = roxmltree::Document::parse(&self.0) else { return Vec::new() };
        let nodes = document.root_element().children().filter(|node| node.has_tag_name("characteristic"));
        nodes.filter_map(|node| node.attribute("type").map(str::to_owned)).collect()
    }
}

async fn foreign_number(ctx: Ctx) -> Verdict {
    Document::of(&ctx, "vers=0").await?;
    let number = stranger(&ctx);
    let reply = ask(&ctx, "vers=0", &[("X-MSISDN", &number)]).await?;
    check!(reply.status == 403, "answered {}", reply.status);
    Ok(())
}

async fn version_first(ctx: Ctx) -> Verdict {
    let document = Document::of(&ctx, "vers=0&rcs_profile=UP_2.4").await?;
    check!(document.top().first().map(String::as_str) == Some("VERS"), "{:?}", document.top());
    for name in ["version", "validity"] {
        let value = document.parm(name).and_then(|value| value.parse::<i64>().ok());
        check!(value.is_some_and(|value| value > 0), "{name} is {value:?}");
    }
    Ok(())
}

async fn unchanged(ctx: Ctx) -> Verdict {
    let held = Document::of(&ctx, "vers=0&rcs_profile=UP_2.4").await?.parm("version").unwrap_or_default();
    let again = Document::of(&ctx, &format!("vers={held}&rcs_profile=UP_2.4")).await?;
    check!(again.parm("version").as_deref() == Some(&*held), "another version: {:?}", again.parm("version"));
    check!(again.parm("validity").and_then(|value| value.parse::<i64>().ok()) > Some(0), "no validity");
    Ok(())
}

async fn profiles(ctx: Ctx) -> Verdict {
    for (profile, form) in [("UP_1.0", "universal"), ("UP_2.4", "universal"), ("joyn_blackbird", "joyn")] {
        let document = Document::of(&ctx, &format!("vers=0&rcs_profile={profile}")).await?;
        let reference = document.parm("AppRef").unwrap_or_default();
        let is_classic = reference == "IMS-Settings";
        check!(is_classic == (form == "joyn"), "{profile} gets AppRef {reference}");
        check!(document.top().iter().any(|kind| kind == "APPLICATION"), "{profile} gets {:?}", document.top());
    }
    Ok(())
}

async fn identity(ctx: Ctx) -> Verdict {
    let document = Document::of(&ctx, "vers=0&rcs_profile=UP_2.4&IMEI=356938035643809").await?;
    let value = |name: &str| document.parm(name).unwrap_or_default();
    check!(value("Home_network_domain_name") == ctx.domain(), "domain {:?}", value("Home_network_domain_name"));
    check!(value("Public_User_Identity").starts_with("sip:"), "identity {:?}", value("Public_User_Identity"));
    check!(!value("UserName").is_empty() && value("UserPwd").len() >= 12, "no log-in that is hard to guess");
    let other = Document::of(&ctx, "vers=0&rcs_profile=UP_2.4&IMEI=356938035643817").await?;
    check!(other.parm("UserPwd") != document.parm("UserPwd"), "two devices have one password");
    Ok(())
}

async fn registers(ctx: Ctx) -> Verdict {
    let document = Document::of(&ctx, "vers=0&rcs_profile=UP_2.4&IMEI=356938035643825").await?;
    let value = |name: &str| document.parm(name).unwrap_or_default();
    let identity = value("Public_User_Identity");
    let user = identity.trim_start_matches("sip:").split('@').next().unwrap_or_default().to_owned();
    let mut ua = ctx.ua(&Account { user: user.clone(), password: String::new() }).await?;
    let request = ua.register_req().add("Contact", format!("<{}>;expires=300", ua.contact_uri()));
    let challenge = ua.exchange(&request).await?;
    check!(challenge.status() == Some(401), "REGISTER without a log-in is answered {}", challenge.start);
    ua.account = Account { user: value("UserName"), password: value("UserPwd") };
    let Some((header, challenge)) = crate::ua::challenge_of(&challenge) else { return skip("no digest") };
    let again = ua.again(&request);
    let credentials = ua.credentials(&challenge, &again, "auth", 1);
    let answer = ua.exchange(&again.set(header, credentials)).await?;
    check!(answer.status() == Some(200), "REGISTER is answered {}", answer.start);
    Ok(())
}
