//! Offering a message session, and reading the answer.

use crate::agreement::{Agreement, By, Transfer, check_types, connect, expected_fingerprints, matching};
use crate::authority::Names;
use crate::cema;
use crate::description::Description;
use crate::direction::Direction;
use crate::file::{FileDescription, FileError, pushes};
use crate::local::{Local, LocalError, Said, file_lines};
use crate::media::Media;
use crate::refusal::Refusal;
use crate::remote::Remote;
use crate::rules::Rules;
use crate::setup::{Role, Setup};

/// A message session that we offer.
#[derive(Debug, Clone)]
pub struct MsrpOffer {
    local: Local,
    setup: Setup,
    path: Vec<String>,
    media: Media<'static>,
}

/// What an answer says to a session that we offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Agreed(Box<Agreement>),
    /// By port 0.
    Refused,
    /// A middlebox is in the way of RFC 6714: a new offer is due, that of [`MsrpOffer::without_cema`].
    Reoffer,
}

/// Why an answer does not answer our offer; the caller ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// RFC 3264 §6.
    #[error("{answered} sections in the answer, {offered} in the offer")]
    Sections { offered: usize, answered: usize },
    #[error("{0}")]
    Session(#[from] Refusal),
    #[error("both sides want to connect")]
    Setup,
}

impl From<FileError> for AnswerError {
    fn from(error: FileError) -> Self {
        Self::Session(Refusal::File(error))
    }
}

impl MsrpOffer {
    /// Describes our end.
    ///
    /// # Errors
    /// What the caller has to mend.
    pub fn new(local: Local) -> Result<Self, LocalError> {
        local.check()?;
        let file = match &local.file {
            None => Vec::new(),
            Some(file) => {
                file.check_offer(pushes(local.direction, false)?, true)?;
                file_lines(file)
            }
        };
        let setup = Setup::to_offer(local.is_reachable());
        let path = local.path_for(setup);
        let said = Said {
            path: &path,
            secure: local.secure(),
            setup,
            cema: local.cema,
            direction: local.direction,
            file: &file,
        };
        let media = local.section(&said)?;
        Ok(Self { local, setup, path, media })
    }

    /// The section to put into a description.
    #[must_use]
    pub fn media(&self) -> &Media<'static> {
        &self.media
    }

    /// What the offer says about who connects.
    #[must_use]
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// The path that is offered.
    #[must_use]
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// The same without RFC 6714, for a new offer (RFC 6714 §4.2).
    ///
    /// # Errors
    /// None that [`new`](Self::new) had not found.
    pub fn without_cema(&self) -> Result<Self, LocalError> {
        Self::new(Local { cema: false, ..self.local.clone() })
    }

    /// Reads what `answer` says to the section at `index`. `sections` is how many the offer had.
    ///
    /// # Errors
    /// What is no answer to it.
    pub fn read_answer(
        &self,
        answer: &Description<'_>,
        index: usize,
        sections: usize,
        names: &Names,
        rules: &Rules,
    ) -> Result<Outcome, AnswerError> {
        let leniency = rules.leniency;
        let answered = answer.media().len();
        if answered != sections {
            return Err(AnswerError::Sections { offered: sections, answered });
        }
        let remote = match Remote::read(answer, index, rules) {
            Err(Refusal::Ended) => return Ok(Outcome::Refused),
            remote => remote?,
        };
        if remote.secure != self.local.secure() {
            return Err(Refusal::Security.into());
        }
        check_types(&self.local, &remote)?;
        let fingerprints = expected_fingerprints(&self.local, &remote, leniency)?;

        let role = match Role::of_offerer(Some(self.setup), remote.setup) {
            Some(role) => role,
            // Ours was `active`; so is theirs, but perhaps they listen all the same.
            None if leniency.setup_conflict => Role::Active,
            None => return Err(AnswerError::Setup),
        };
        let by = match self.go_on(&remote, role, names) {
            cema::GoOn::Reoffer => return Ok(Outcome::Reoffer),
            cema::GoOn::Path => By::Path,
            cema::GoOn::Address => By::Address,
        };
        let cema = self.local.cema && remote.cema && by == By::Address;
        let connect = connect(&self.local, &remote, role, by)?;
        let transfer = self.transfer(&remote)?;
        let mut direction = self.local.direction.with_peer(remote.direction);
        // A peer that answers the offer of a file with both directions means the one that was offered.
        if let Some(transfer) = &transfer {
            direction =
                Direction { send: direction.send && transfer.send, receive: direction.receive && !transfer.send };
        }
        let mut sendable = remote.sendable;
        sendable.max_size_binds = transfer.is_some();
        Ok(Outcome::Agreed(Box::new(Agreement {
            index,
            role,
            connect,
            after_ack: false,
            secure: remote.secure,
            fingerprints,
            own_path: self.path.clone(),
            peer_path: remote.path,
            cema,
            matching: matching(cema, leniency),
            direction,
            sendable,
            chatroom: remote.chatroom,
            transfer,
        })))
    }

    fn go_on(&self, remote: &Remote, role: Role, names: &Names) -> cema::GoOn {
        if !self.local.cema {
            return cema::GoOn::Path;
        }
        cema::go_on(cema::Answered {
            cema: remote.cema,
            address_matches: remote.address_matches(names),
            relay: remote.uses_relay(),
            own_relay: self.local.uses_relay(),
            role,
        })
    }

    /// The transfer of the file that was offered or asked for (RFC 5547 §8.1-8.3).
    fn transfer(&self, remote: &Remote) -> Result<Option<Transfer>, FileError> {
        let Some(offered) = &self.local.file else { return Ok(None) };
        let send = self.local.direction.send;
        let file = match &remote.file {
            // Someone who knows MSRP only takes a file as any message (§4), but not a part of one.
            None if send && offered.range.is_none() => offered.clone(),
            None if send => return Err(FileError::Range),
            None => return Err(FileError::NotAFile),
            Some(answered) => answered.clone(),
        };
        if file.transfer_id.is_some() && file.transfer_id != offered.transfer_id {
            return Err(FileError::Id);
        }
        if file.range != offered.range {
            return Err(FileError::Range);
        }
        let selector = if file.selector.is_empty() { offered.selector.clone() } else { file.selector };
        Ok(Some(Transfer { send, file: FileDescription { selector, ..file } }))
    }
}

/// Sections that say what we are capable of, for the answer to OPTIONS (RFC 3264 §9): port 0, and an empty selector
/// where files are known (RFC 5547 §8.5).
///
/// # Errors
/// What the caller has to mend.
pub fn capabilities(local: &Local, files: bool) -> Result<Media<'static>, LocalError> {
    let described = MsrpOffer::new(Local { file: None, ..local.clone() })?;
    let mut media = described.media;
    media.set_port(0);
    // Nothing that belongs to a session.
    for name in ["path", "setup", "msrp-cema", "fingerprint", "sendrecv", "sendonly", "recvonly", "inactive"] {
        media.remove_attribute(name);
    }
    if files {
        media.push_attribute("file-selector", None);
    }
    Ok(media)
}
