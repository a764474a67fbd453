//! The content server of RCS: file transfer over HTTP as rcsjta, rust-rcs and linphone do it. Needs `--http`.

mod client;
mod msrp;

use crate::case::{Case, Ctx, Verdict, cases, check, fail};
use client::{Answer, Client, Form};

pub(crate) const NAME: &str = "ft";

pub(crate) fn cases() -> Vec<Case> {
    cases! { NAME;
        "3.2.5" "probe" Practice "An empty POST is answered 204, where need be after a challenge" => probe;
        "3.2.5" "stranger" Practice "Nobody uploads with a wrong password" => stranger;
        "3.2.5" "upload" Practice "A form of tid, Thumbnail and File is answered with a document whose links lead to both" => upload;
        "3.2.5" "file-only" Practice "A form with nothing but File, as linphone sends it, is taken" => file_only;
        "3.2.5" "chunked" Practice "A form in chunks, as rcsjta sends it, is taken" => chunked;
        "3.2.5" "binary" Practice "Content that looks like a boundary comes back byte for byte" => binary;
        "3.2.5" "resume" Practice "An upload that was cut is gone on with by get_upload_info and PUT" => resume;
        "3.2.5" "overlap" Practice "A PUT that sends the last byte again, without the unit bytes, is taken" => overlap;
        "3.2.5" "lost-answer" Practice "get_download_info gives the document again" => lost_answer;
        "3.2.5" "others-tid" Practice "A transfer id says nothing to other users" => others_tid;
        "3.2.5" "range" Practice "A download is gone on with by Range" => range;
        "3.2.5" "head" Practice "HEAD says what GET would send" => head;
        "3.2.5" "no-such-link" Practice "A link that was never given leads nowhere" => no_such_link;
        "3.2.5" "too-long" Practice "A form that nobody has room for is refused before it is sent" => too_long;
        "3.5" "msrp-away-http" Practice "A file that comes by MSRP for somebody who is away is told of by a link" => msrp::away_to_http;
        "3.5" "msrp-http" Practice "A file that comes by MSRP for somebody who knows HTTP only is told of by a link" => msrp::http_is_there;
        "3.5" "msrp-away-msrp" Practice "A file that comes by MSRP for somebody who is away is brought by MSRP" => msrp::away_to_msrp;
        "3.5" "http-msrp" Practice "A file that was uploaded is brought by MSRP to who knows nothing else, now or later" => msrp::http_to_msrp;
        "3.5" "msrp-declined" Practice "A file that is declined is not offered again" => msrp::declined;
        "3.5" "msrp-busy" Practice "A file is offered again to who was busy" => msrp::busy;
        "3.5" "msrp-resume" Practice "A file that was cut is gone on with by file-range" => msrp::msrp_resume;
        "3.5" "msrp-hash" Practice "Content with another hash than the offer's is not taken" => msrp::wrong_hash;
        "3.5" "msrp-too-large" Practice "A file that is too large is refused with 403 and a Warning that tells the limit" => msrp::too_large;
        "3.5" "msrp-type" Practice "A type that is not taken is refused with 415" => msrp::refused_type;
        "3.5" "msrp-hostile" Practice "More than was offered, and content with holes, is not taken" => msrp::msrp_hostile;
    }
}

async fn probe(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let answer = client.send("POST", "/ft", "Content-Length: 0\r\n", b"").await?;
    check!(answer.status == 204, "answered {}", answer.status);
    Ok(())
}

async fn stranger(ctx: Ctx) -> Verdict {
    let (mut client, _lease) = Client::of(&ctx).await?;
    client.password.push('x');
    let answer = client.upload(&Form { tid: Some(&ctx.id()), ..Form::of(b"content") }).await?;
    check!(answer.status == 401 || answer.status == 403, "answered {}", answer.status);
    Ok(())
}

/// The link to the file, from a document.
fn file_link(answer: &Answer) -> Verdict<String> {
    check!(answer.status == 200, "answered {}: {}", answer.status, answer.text());
    let info = answer.text().split("<file-info").find(|info| info.contains("type=\"file\"")).map(str::to_owned);
    match info.as_deref().and_then(client::url) {
        Some(url) => Ok(url),
        None => fail(format!("no link in {}", answer.text())),
    }
}

async fn fetched(client: &Client, answer: &Answer, content: &[u8]) -> Verdict {
    let found = client.get(&file_link(answer)?, "").await?;
    check!(found.status == 200, "the link is answered {}", found.status);
    check!(found.body == content, "{} bytes came back, {} were sent", found.body.len(), content.len());
    Ok(())
}

async fn upload(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let (picture, content) = (client::bytes(5_000), client::bytes(300_000));
    let form = Form { tid: Some(&ctx.id()), picture: Some(&picture), ..Form::of(&content) };
    let answer = client.upload(&form).await?;
    fetched(&client, &answer, &content).await?;
    let text = answer.text();
    let (thumbnail, file) = (text.find("type=\"thumbnail\""), text.find("type=\"file\""));
    check!(thumbnail.is_some() && thumbnail < file, "the thumbnail does not come first");
    check!(text.contains("<file-size>300000</file-size>") && text.contains("until="), "no size or no time in {text}");
    let Some(url) = client::url(text) else { return fail("no link to the thumbnail") };
    let found = client.get(&url, "").await?;
    check!(found.status == 200 && found.body == picture, "the thumbnail is answered {}", found.status);
    check!(found.header("content-type") == "image/jpeg", "the thumbnail is {}", found.header("content-type"));
    Ok(())
}

async fn file_only(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let answer = client.upload(&Form::of(b"voice")).await?;
    fetched(&client, &answer, b"voice").await
}

async fn chunked(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let content = client::bytes(100_000);
    let answer = client.upload(&Form { tid: Some(&ctx.id()), chunked: true, ..Form::of(&content) }).await?;
    fetched(&client, &answer, &content).await
}

async fn binary(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let content = b"\r\n--\r\n--conformanc\r\n\r\n--CONFORMANCE--\r\n-".repeat(999);
    let answer = client.upload(&Form::of(&content)).await?;
    fetched(&client, &answer, &content).await
}

/// An upload that is cut, and what is told of it: the last byte that is there, and where the rest goes.
async fn interrupted(client: &Client, tid: &str, content: &[u8]) -> Verdict<(usize, String)> {
    client.cut(&Form { tid: Some(tid), ..Form::of(content) }, content.len() / 2).await?;
    let mut last = None;
    // The server may not have seen yet that the connection is gone.
    for _ in 0..40 {
        let answer = client.get(&format!("/ft?tid={tid}&get_upload_info"), "").await?;
        let text = answer.text().to_owned();
        if answer.status == 200
            && let (Some(end), Some(url)) = (client::attribute(&text, "end"), client::url(&text))
            && let Ok(end) = end.parse::<usize>()
        {
            check!(text.contains("file-resume-info"), "no document: {text}");
            check!(end < content.len(), "{end} of {} bytes are there", content.len());
            return Ok((end, url));
        }
        last = Some(answer.status);
        tokio::time::sleep(crate::case::SILENCE).await;
    }
    fail(format!("get_upload_info is answered {last:?}"))
}

async fn resume(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let (tid, content) = (ctx.id(), client::bytes(800_000));
    let (last, url) = interrupted(&client, &tid, &content).await?;
    let range = format!("Content-Range: bytes {}-799999/800000\r\nContent-Type: video/mp4\r\n", last + 1);
    let answer = client.send("PUT", &url, &range, &content[last + 1..]).await?;
    check!(answer.status == 200, "the PUT is answered {}", answer.status);
    let answer = client.get(&format!("/ft?tid={tid}&get_download_info"), "").await?;
    fetched(&client, &answer, &content).await
}

async fn overlap(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let (tid, content) = (ctx.id(), client::bytes(800_000));
    let (last, url) = interrupted(&client, &tid, &content).await?;
    let range = format!("Content-Range: {last}-799999/800000\r\n");
    let answer = client.send("PUT", &url, &range, &content[last..]).await?;
    check!(answer.status == 200, "the PUT is answered {}", answer.status);
    let answer = client.get(&format!("/ft?tid={tid}&get_download_info"), "").await?;
    fetched(&client, &answer, &content).await
}

async fn lost_answer(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let tid = ctx.id();
    let first = client.upload(&Form { tid: Some(&tid), ..Form::of(b"content") }).await?;
    let again = client.get(&format!("/ft?tid={tid}&get_download_info"), "").await?;
    check!(file_link(&first)? == file_link(&again)?, "the document has other links");
    fetched(&client, &again, b"content").await
}

async fn others_tid(ctx: Ctx) -> Verdict {
    let lease = ctx.accounts(2).await?;
    let (first, second) = (Client::with(&ctx, &lease[0])?, Client::with(&ctx, &lease[1])?);
    let tid = ctx.id();
    let answer = first.upload(&Form { tid: Some(&tid), ..Form::of(b"content") }).await?;
    file_link(&answer)?;
    for query in ["get_upload_info", "get_download_info"] {
        let answer = second.get(&format!("/ft?tid={tid}&{query}"), "").await?;
        check!(answer.status >= 400, "{query} is answered {} to another user", answer.status);
    }
    Ok(())
}

async fn range(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let content = client::bytes(50_000);
    let url = file_link(&client.upload(&Form::of(&content)).await?)?;
    let part = client.get(&url, "Range: bytes=20000-\r\n").await?;
    check!(part.status == 206, "answered {}", part.status);
    check!(part.header("content-range") == "bytes 20000-49999/50000", "the range is {}", part.header("content-range"));
    check!(part.body == content[20_000..], "other bytes");
    let beyond = client.get(&url, "Range: bytes=50000-\r\n").await?;
    check!(beyond.status == 416, "a range beyond the end is answered {}", beyond.status);
    Ok(())
}

async fn head(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let url = file_link(&client.upload(&Form::of(b"content")).await?)?;
    let answer = client.send("HEAD", &url, "", b"").await?;
    check!(answer.status == 200, "answered {}", answer.status);
    check!(answer.header("content-length") == "7", "the length is {}", answer.header("content-length"));
    check!(answer.header("accept-ranges") == "bytes", "ranges are not offered");
    Ok(())
}

async fn no_such_link(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let url = file_link(&client.upload(&Form::of(b"content")).await?)?;
    let mut guessed = url.clone();
    let last = guessed.pop().unwrap_or_default();
    guessed.push(if last == '0' { '1' } else { '0' });
    let answer = client.get(&guessed, "").await?;
    check!(matches!(answer.status, 404 | 410), "answered {}", answer.status);
    Ok(())
}

async fn too_long(ctx: Ctx) -> Verdict {
    let (client, _lease) = Client::of(&ctx).await?;
    let headers = "Content-Type: multipart/form-data; boundary=conformance\r\nContent-Length: 999999999999999\r\n";
    let answer = client.send("POST", "/ft", headers, b"").await?;
    check!(matches!(answer.status, 413 | 403 | 507), "answered {}", answer.status);
    Ok(())
}
