//! A user of the chat load: registered as a CPM device, calling and being called.

use std::ops::Range;
use std::sync::Arc;

use super::Shared;
use super::session::{self, Port, Session};
use crate::load::LoadError;
use crate::load::agent::{Agent, Taker};

/// The ICSI of sessions, as it stands in a feature tag.
const SESSION: &str = "urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session";
/// Where groups are made.
const FACTORY: &str = "conference-factory";
/// A device that takes chat in sessions only.
const TAGS: &str = ";+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"";
const LINES: &str = "Accept-Contact: *;+g.3gpp.icsi-ref=\"urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.session\"\r\n\
                     P-Preferred-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.session\r\n";

pub(super) struct User {
    shared: Arc<Shared>,
    number: usize,
    agent: Agent,
}

impl User {
    pub(super) async fn open(shared: &Arc<Shared>, number: usize) -> Result<User, LoadError> {
        let load = Arc::new(shared.options.load.clone());
        let mut agent = Agent::open(&load, load.first + number).await?;
        // Instances of one run are as those of another, as phones that come back.
        agent.tags =
            format!(";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-{:012x}>\"{TAGS}", load.first + number);
        agent.taker = Some(taker(shared, number, false));
        Ok(User { shared: shared.clone(), number, agent })
    }

    pub(super) async fn register(&mut self) -> Result<(), LoadError> {
        let user = self.agent.user.clone();
        self.agent.register().await.map_err(|why| LoadError::Register { user, why })
    }

    /// Opens the session of a conversation with another user.
    pub(super) async fn call(&mut self, conversation: usize, reader: usize) -> Result<Session, LoadError> {
        let user = self.agent.user.clone();
        let failed = |why: String| LoadError::Session { user: user.clone(), why };
        let port = Port::open(&self.shared, self.number).await.map_err(failed)?;
        let load = &self.shared.options.load;
        let to = load.user.replace("{}", &(load.first + reader).to_string());
        let lines = format!("{LINES}Conversation-ID: load{conversation:x}\r\nContribution-ID: {}\r\n", port.id());
        let (outcome, dialog) = self.agent.invite(&to, &lines, &port.description()).await;
        let Some(dialog) = dialog else { return Err(failed(format!("the INVITE is answered {}", outcome.status))) };
        port.connect(&self.shared, &dialog.answer, Some(conversation)).await.map_err(failed)
    }

    /// A member of a group, or one that will make it.
    pub(super) async fn in_group(shared: &Arc<Shared>, number: usize, stalls: bool) -> Result<User, LoadError> {
        let mut user = User::open(shared, number).await?;
        user.agent.tags = user.agent.tags.replace(SESSION, &format!("{SESSION},{SESSION}.group"));
        user.agent.taker = Some(taker(shared, number, stalls));
        Ok(user)
    }

    /// Makes a group with other users; its session there.
    pub(super) async fn make_group(&mut self, group: usize, others: Range<usize>) -> Result<Session, LoadError> {
        let user = self.agent.user.clone();
        let failed = |why: String| LoadError::Session { user: user.clone(), why };
        let port = Port::open(&self.shared, self.number).await.map_err(failed)?;
        let load = &self.shared.options.load;
        let entries: String = others
            .map(|other| load.user.replace("{}", &(load.first + other).to_string()))
            .map(|name| format!("<entry uri=\"sip:{name}@{}\" cp:copyControl=\"to\"/>", load.domain()))
            .collect();
        let body = format!(
            "--load\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--load\r\n\
             Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list\r\n\r\n\
             <resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\">\
             <list>{entries}</list></resource-lists>\r\n--load--\r\n",
            port.description()
        );
        let id = port.id();
        let lines = LINES.replace("cpm.session", "cpm.session.group")
            + &format!(
                "Subject: load {group}\r\nRequire: recipient-list-invite\r\nConversation-ID: {id}\r\nContribution-ID: {id}\r\n\
                 Content-Type: multipart/mixed;boundary=load\r\n"
            );
        let (outcome, dialog) = self.agent.invite_with(FACTORY, &lines, &body).await;
        let Some(dialog) = dialog else { return Err(failed(format!("the factory answers {}", outcome.status))) };
        port.connect(&self.shared, &dialog.answer, Some(group)).await.map_err(failed)
    }

    /// Takes calls, and answers whatever else comes.
    pub(super) async fn serve(&mut self) {
        self.agent.serve().await;
    }
}

/// `stalls`: its sessions are opened, and nothing is read in them.
fn taker(shared: &Arc<Shared>, number: usize, stalls: bool) -> Taker {
    let shared = shared.clone();
    Arc::new(move |invite: String| {
        let shared = shared.clone();
        Box::pin(async move {
            let port = Port::open(&shared, number).await.ok()?;
            let description = port.description();
            session::path(&invite)?;
            session::first(&shared, &invite, number);
            // The connection is made while the answer is on its way, and lives by itself.
            tokio::spawn(async move {
                if stalls {
                    port.stall(&shared, &invite).await
                } else {
                    port.connect(&shared, &invite, None).await.map(drop)
                }
            });
            Some(description)
        })
    })
}
