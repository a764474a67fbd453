//! The calls whose media goes through the running server.

use chappe_api::{MediaCall, MediaDialect, MediaSide};

use super::inspect::{pages, show};
use super::output::{self, Table};
use super::{MediaCommand, OfUser};

pub(super) async fn run(command: MediaCommand) -> anyhow::Result<u8> {
    let MediaCommand::List { limit, inspect } = command;
    let admin = inspect.place.running()?;
    let calls: Vec<MediaCall> = pages(&admin, "/api/media", limit).await?;
    let options = OfUser { aor: None, limit, inspect };
    show(&options, &calls, "No media of calls goes through the server.", |calls| {
        let mut table =
            Table::new(["id", "age", "side", "user", "speaks", "packets from", "lost", "packets to", "bad", "dropped"]);
        for call in calls {
            table.row(row([call.id.to_string(), output::span(call.age_s), "caller".into()], &call.caller));
            table.row(row([String::new(), String::new(), "callee".into()], &call.callee));
        }
        table
    })
}

fn row([id, age, side]: [String; 3], of: &MediaSide) -> [String; 10] {
    let dialect = match of.dialect {
        MediaDialect::Browser => "browser",
        MediaDialect::Rtp => "RTP",
        MediaDialect::Sdes => "SDES",
    };
    let speaks =
        if of.ready { format!("{dialect}, {}", of.codecs.join(" ")) } else { format!("{dialect}, no key yet") };
    let count = |count: u64| count.to_string();
    [
        id,
        age,
        side,
        of.user.clone(),
        speaks,
        count(of.received_packets),
        count(of.lost_packets),
        count(of.sent_packets),
        count(of.bad_packets),
        count(of.dropped_packets),
    ]
}
