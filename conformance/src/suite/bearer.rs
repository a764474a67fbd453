//! Tokens in SIP (RFC 8898), so far as a client without one can see.

use crate::case::{Case, Ctx, Verdict, cases, check, skip};

pub(crate) fn cases() -> Vec<Case> {
    cases! { "rfc8898";
        "2.2" "nonsense" Must "A token that is none is not taken, and asked for again with 401" => nonsense;
        "2.2" "authz-server" Must "A Bearer challenge names its authorization server by an https URI" => authz_server;
        "4" "no-error" Should "Where no token was sent, none is called wrong" => no_error;
        "2.1.1" "with-digest" Must "A client that knows no tokens still comes in by digest" => with_digest;
    }
}

async fn challenges(ctx: &Ctx) -> Verdict<Vec<String>> {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&lease[0]).await?;
    let request = ua.register_req();
    let answer = ua.exchange(&request).await?;
    if answer.status() != Some(401) {
        return skip(format!("REGISTER is not challenged: {}", answer.start));
    }
    let lines = answer.lines("www-authenticate").into_iter().map(str::to_owned);
    let bearer: Vec<String> = lines.filter(|line| line.to_ascii_lowercase().starts_with("bearer")).collect();
    if bearer.is_empty() {
        return skip("Bearer is not offered".to_owned());
    }
    Ok(bearer)
}

async fn nonsense(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&lease[0]).await?;
    for token in ["x", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "a.b.c"] {
        let request = ua.register_req().add("Authorization", format!("Bearer {token}"));
        let answer = ua.exchange(&request).await?;
        check!(answer.status() == Some(401), "answered {} to {token}", answer.start);
    }
    Ok(())
}

async fn authz_server(ctx: Ctx) -> Verdict {
    for line in challenges(&ctx).await? {
        check!(line.contains("authz_server=\"https://"), "{line}");
    }
    Ok(())
}

async fn no_error(ctx: Ctx) -> Verdict {
    for line in challenges(&ctx).await? {
        check!(!line.contains("error="), "{line}");
    }
    Ok(())
}

async fn with_digest(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(1).await?;
    let mut ua = ctx.ua(&lease[0]).await?;
    let answer = ua.register().await?;
    check!(answer.status() == Some(200), "answered {}", answer.start);
    Ok(())
}
