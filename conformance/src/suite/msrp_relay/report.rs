//! Responses and REPORTs that the relay makes itself (§6.4.1, §6.4.3).

use std::time::Duration;

use super::patient;
use crate::case::{ANSWER, Case, Ctx, SILENCE, Verdict, cases, check, fail};
use crate::msrp::{Client, Frame, Pair, Req, same};

pub(super) fn cases() -> Vec<Case> {
    cases! { "msrp-relay";
        "6.4.1" "at-once" Must "A SEND gets its 200 from the relay though the receiver has not answered" => at_once;
        "6.4.3" "error-yes" Must "An error response becomes a REPORT with that code to the origin" => error_yes;
        "6.4.3" "error-partial" Must "So it does with Failure-Report: partial" => error_partial;
        "6.4.3" "error-no" Must "With Failure-Report: no an error response is told to nobody" => error_no;
        "6.4.3" "error-codes" Must "The REPORT has the very code of the response" => error_codes;
        "6.4.3" "stopped" Should "What comes of a message after its 413 is refused, and goes no further" => stopped;
        "6.4.1" "report-paths" Must "The relay's REPORT goes back along the From-Path, from the relay" => report_paths;
        "6.4.1" "report-to-peer" Must "A peer without a relay gets the relay's REPORT" => report_to_peer;
        "6.4.1" "report-range" Must "The relay's REPORT has the range of the chunk that failed" => report_range;
        "6.4.1" "no-report" Must "A receiver's 200 ends it: no REPORT is made" => no_report;
        "6.4.1" "gone-yes" Must "A SEND for a client that has gone is refused, or reported as failed" => gone_yes;
        "6.4.1" "gone-partial" Must "So it is with Failure-Report: partial" => gone_partial;
        "6.4.1" "gone-no" Must "With Failure-Report: no nothing is told" => gone_no;
        "6.4.1" "success-untouched" Must "Success-Report is for the far end: the relay makes no success REPORT" => success;
    }
}

pub(super) fn slow() -> Vec<Case> {
    patient(cases! { "msrp-relay";
        "6.4.1" "timeout" Must "With no response for 30 seconds the relay sends a REPORT with 408" => timeout;
        "6.4.1" "timeout-partial" Must "With Failure-Report: partial there is no such timer" => timeout_partial;
        "6.4.1" "timeout-no" Must "With Failure-Report: no there is none either" => timeout_no;
        "6.4.1" "broken-link" Must "A receiver that goes before it has answered is reported as a failure" => broken_link;
    })
}

async fn at_once(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("Failure-Report: yes");
    let answer = p.a.exchange(&req).await?;
    check!(answer.status == Some(200), "expected 200, got {}", answer.start);
    Ok(())
}

/// Sends, answers with that status at b, and waits for what the relay tells a.
async fn refused(p: &mut Pair, failure: Option<&str>, status: &str) -> Verdict<(Req, Option<Frame>)> {
    let mut req = p.text();
    req.lines.extend(failure.map(|value| format!("Failure-Report: {value}")));
    let chunk = p.chunk(&req).await?;
    p.b.reply(&chunk, status).await?;
    let wait = if failure == Some("no") { SILENCE * 2 } else { ANSWER };
    let told = p.a.failure(&req, wait).await;
    Ok((req, told))
}

/// A REPORT with that code, and what every failure REPORT needs.
fn is_report(told: Option<Frame>, code: &str) -> Verdict<Frame> {
    let Some(report) = told else { return fail("no REPORT came") };
    check!(report.is("REPORT"), "expected a REPORT, got {}", report.start);
    let status = report.header("status").unwrap_or("");
    check!(status.starts_with(&format!("000 {code}")), "Status is {status:?}, not 000 {code}");
    Ok(report)
}

async fn error_yes(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let (_, told) = refused(&mut p, None, "413 Stop").await?;
    is_report(told, "413").map(|_| ())
}

async fn error_partial(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let (req, told) = refused(&mut p, Some("partial"), "415 What").await?;
    is_report(told, "415")?;
    check!(p.a.conn.response(&req.tid, SILENCE).await.is_none(), "a partial was answered too");
    Ok(())
}

async fn error_no(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    match refused(&mut p, Some("no"), "481 Gone").await? {
        (_, None) => Ok(()),
        (_, Some(frame)) => fail(format!("{} came", frame.start)),
    }
}

async fn error_codes(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for code in ["400", "403", "408", "415", "423", "481", "501", "506", "599"] {
        let (_, told) = refused(&mut p, None, &format!("{code} As it is")).await?;
        is_report(told, code)?;
    }
    Ok(())
}

async fn stopped(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let first = p.send().line("Byte-Range: 1-*/*").body(vec![b'x'; 5000]).flag('+');
    let chunk = p.chunk(&first).await?;
    p.b.reply(&chunk, "413 Stop").await?;
    is_report(p.a.failure(&first, ANSWER).await, "413")?;
    let mut next = p.a.send_to(&p.b.session).line("Byte-Range: 5001-*/*").body("the rest");
    next.lines[0] = format!("Message-ID: {}", crate::msrp::id_of(&first));
    p.a.send(&next).await?;
    let told = p.a.failure(&next, ANSWER).await;
    check!(told.is_some(), "the next chunk was neither refused nor reported");
    let came = p.b.conn.take(SILENCE, |frame| frame.is("SEND") && frame.id() == Some(crate::msrp::id_of(&first))).await;
    check!(came.is_none(), "a chunk of the message came after its 413");
    let other = p.text();
    p.deliver(&other).await.map(|_| ())
}

async fn report_paths(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let report = is_report(refused(&mut p, None, "413 Stop").await?.1, "413")?;
    check!(report.path_to() == [p.a.session.uri.as_str()], "To-Path arrived as {:?}", report.path_to());
    let from = report.path_from();
    check!(from.first().is_some_and(|uri| same(uri, p.a.session.relay())), "From-Path arrived as {from:?}");
    let relay = |uri: &&str| same(uri, p.a.session.relay()) || same(uri, p.b.session.relay());
    check!(from.iter().all(relay), "From-Path names more than the relay: {from:?}");
    Ok(())
}

async fn report_to_peer(ctx: Ctx) -> Verdict {
    let mut a = Client::home(&ctx, 0).await?;
    let mut peer = Client::peer(&ctx, &a.session).await?;
    let req = peer.send_to(&a.session).body("refused");
    peer.send(&req).await?;
    let chunk = a.chunk(crate::msrp::id_of(&req)).await?;
    a.reply(&chunk, "413 Stop").await?;
    let report = is_report(peer.failure(&req, ANSWER).await, "413")?;
    check!(report.path_to() == [peer.session.uri.as_str()], "To-Path arrived as {:?}", report.path_to());
    let from = report.path_from();
    check!(from.len() == 1 && same(from[0], a.session.relay()), "From-Path arrived as {from:?}");
    Ok(())
}

async fn report_range(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    for (range, body, expected) in [
        ("Byte-Range: 1-*/300", 100, (1, 100)),
        ("Byte-Range: 101-200/300", 100, (101, 200)),
        ("Byte-Range: 201-*/*", 50, (201, 250)),
    ] {
        let req = p.send().line(range).body(vec![b'x'; body]).flag('+');
        let chunk = p.chunk(&req).await?;
        p.b.reply(&chunk, "413 Stop").await?;
        let report = is_report(p.a.failure(&req, ANSWER).await, "413")?;
        let got = report.range().map(|(start, end, _)| (start, end));
        check!(
            got == Some((expected.0, Some(expected.1))),
            "{range} with {body} octets is reported as {:?}",
            report.header("byte-range")
        );
    }
    Ok(())
}

async fn no_report(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    p.deliver(&req).await?;
    p.a.silent(&req).await
}

async fn gone(ctx: &Ctx, value: &str) -> Verdict<Option<Frame>> {
    let Pair { mut a, b } = Pair::new(ctx).await?;
    let session = b.session.clone();
    drop(b);
    tokio::time::sleep(SILENCE).await;
    let req = a.send_to(&session).line(format!("Failure-Report: {value}")).body("too late");
    a.send(&req).await?;
    if value != "no" {
        return Ok(a.failure(&req, ANSWER).await);
    }
    let told = |frame: &Frame| frame.is("REPORT") || (frame.status.is_some() && frame.tid == req.tid);
    Ok(a.conn.take(SILENCE * 2, told).await)
}

async fn gone_yes(ctx: Ctx) -> Verdict {
    check!(gone(&ctx, "yes").await?.is_some(), "neither an error nor a REPORT came");
    Ok(())
}

async fn gone_partial(ctx: Ctx) -> Verdict {
    check!(gone(&ctx, "partial").await?.is_some(), "neither an error nor a REPORT came");
    Ok(())
}

async fn gone_no(ctx: Ctx) -> Verdict {
    match gone(&ctx, "no").await? {
        Some(frame) => fail(format!("{} came", frame.start)),
        None => Ok(()),
    }
}

async fn success(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text().line("Success-Report: yes");
    p.deliver(&req).await?;
    match p.a.request("REPORT", SILENCE).await {
        Some(frame) => fail(format!("a REPORT with {:?} came, and the receiver sent none", frame.header("status"))),
        None => Ok(()),
    }
}

/// Somewhat more than the 30 seconds of the timer.
const OVER: Duration = Duration::from_secs(36);

async fn timeout(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.send().line("Byte-Range: 1-5/5").body("hello");
    let started = tokio::time::Instant::now();
    p.chunk(&req).await?;
    let report = is_report(p.a.failure(&req, OVER).await, "408")?;
    let took = started.elapsed();
    check!(took >= Duration::from_secs(29), "the REPORT came after {} s", took.as_secs());
    check!(report.path_to() == [p.a.session.uri.as_str()], "To-Path arrived as {:?}", report.path_to());
    let range = report.range().map(|(start, end, _)| (start, end));
    check!(range == Some((1, Some(5))), "Byte-Range is {:?}", report.header("byte-range"));
    Ok(())
}

async fn no_timer(ctx: &Ctx, value: &str) -> Verdict {
    let mut p = Pair::new(ctx).await?;
    let req = p.text().line(format!("Failure-Report: {value}"));
    p.chunk(&req).await?;
    match p.a.failure(&req, OVER).await {
        Some(frame) => fail(format!("{} came, Status {:?}", frame.start, frame.header("status"))),
        None => Ok(()),
    }
}

async fn timeout_partial(ctx: Ctx) -> Verdict {
    no_timer(&ctx, "partial").await
}

async fn timeout_no(ctx: Ctx) -> Verdict {
    no_timer(&ctx, "no").await
}

async fn broken_link(ctx: Ctx) -> Verdict {
    let mut p = Pair::new(&ctx).await?;
    let req = p.text();
    p.chunk(&req).await?;
    let Pair { mut a, b } = p;
    drop(b);
    check!(a.failure(&req, OVER).await.is_some(), "nothing was told in {} s", OVER.as_secs());
    Ok(())
}
