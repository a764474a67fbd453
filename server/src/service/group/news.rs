//! What a room hears, and how those who ask it are answered.

use std::sync::Arc;

use chappe_chat::invitation::Invitation;
use chappe_sip::layer::ServerKey;
use chappe_sip::{Aor, Message};

use super::account::Passed;
use super::entry::Logged;
use super::side::{Side, What};
use crate::core::Core;
use crate::service::Request;
use crate::service::agent::{self, CallEvent, CallRef};

/// A device of a user.
pub(super) type Key = (Box<str>, Box<str>);

/// Where the answer to a request goes.
pub(super) enum Answering {
    Transaction { key: ServerKey, request: Arc<Message> },
    Call { call: CallRef, key: ServerKey, request: Arc<Message> },
}

impl Answering {
    pub(super) fn give(self, core: &Arc<Core>, status: u16, headers: &[(&'static str, String)]) {
        match self {
            Answering::Transaction { key, request } => super::answer(core, key, &request, status, headers),
            Answering::Call { call, key, request } => {
                let lines: String = headers.iter().map(|(name, value)| format!("{}: {value}\r\n", name)).collect();
                agent::on_shard(core, &call, move |turn, call| {
                    agent::respond(turn, call, key, &request, status, &lines)
                });
            }
        }
    }
}

/// What a room hears.
pub(super) enum News {
    Called {
        user: Aor,
        device: Box<str>,
        side: Arc<Side>,
        call: CallRef,
        invitation: Box<Invitation>,
    },
    Request {
        user: Aor,
        device: Box<str>,
        request: Arc<Message>,
        answering: Answering,
    },
    Side {
        key: Key,
        call: u32,
        what: What,
    },
    Paged {
        key: Key,
        seq: u64,
        status: u16,
    },
    /// A part of the log was read.
    Read {
        key: Key,
        after: u64,
        entries: Option<Vec<Arc<Logged>>>,
    },
    Registered {
        user: Box<str>,
    },
    Subscribe {
        user: Aor,
        request: Box<Request>,
    },
    /// What waits for whom, as it was when the group came into use.
    Counted {
        waiting: Vec<(Aor, u64)>,
    },
    /// What is older may go,
    Expire {
        before_ms: u64,
    },
    /// and this is it.
    Old {
        upto: u64,
        messages: Vec<Passed>,
    },
    /// Whoever has one of these names was never there.
    Erase {
        names: Arc<[Box<str>]>,
        answer: super::erase::Answer,
    },
    /// Another has the lease.
    Fenced,
}

impl News {
    pub(super) fn request(user: Aor, device: Box<str>, request: Arc<Message>, answering: Answering) -> News {
        News::Request { user, device, request, answering }
    }

    /// There is no such group, or none that can be used.
    pub(super) fn refuse(self, core: &Arc<Core>, status: u16) {
        match self {
            News::Called { call, .. } => reject(core, &call, status, String::new()),
            News::Request { answering, .. } => answering.give(core, status, &[]),
            News::Subscribe { request, .. } => super::answer(core, request.key, &request.message, status, &[]),
            News::Side { what: What::Message(_, answer), .. } => answer.refuse(481),
            News::Side { what: What::Renames(_, call), .. } => {
                agent::on_shard(core, &call, |turn, call| agent::answer_offer(turn, call, Err(481)));
            }
            News::Side { what: What::Call(CallEvent::Request { key, request }, call), .. } => {
                Answering::Call { call, key, request }.give(core, 481, &[]);
            }
            _ => {}
        }
    }
}

pub(super) fn reject(core: &Arc<Core>, call: &CallRef, status: u16, headers: String) {
    agent::on_shard(core, call, move |turn, call| agent::reject(turn, call, status, &headers));
}
