//! Answering an offer (RFC 3264 §6).

use crate::agreement::{Agreement, By, Transfer, check_types, connect, expected_fingerprints, matching};
use crate::authority::Names;
use crate::cema;
use crate::description::Description;
use crate::direction::Direction;
use crate::file::{FileDescription, pushes};
use crate::line::Line;
use crate::local::{Local, Said, file_lines};
use crate::media::Media;
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::remote::Remote;
use crate::rules::{Leniency, Rules};
use crate::setup::{Role, Setup};

/// An answer in the making: sections are refused until somebody takes them.
#[derive(Debug)]
pub struct MsrpAnswer<'o> {
    offer: &'o Description<'o>,
    rules: Rules,
    session: Description<'static>,
    sections: Vec<Result<Media<'static>, Refusal>>,
}

impl<'o> MsrpAnswer<'o> {
    /// Refuses everything so far. `origin` is ours and has nothing to do with the offer's.
    #[must_use]
    pub fn new(offer: &'o Description<'o>, origin: &Origin, rules: &Rules) -> Self {
        let mut session = Description::new(origin);
        // §6: the time of the offer.
        let times = |line: &&Line<'_>| matches!(line.kind(), Some('t' | 'r' | 'z'));
        let times: Vec<_> = offer.lines().iter().filter(times).collect();
        if !times.is_empty() {
            session.retain(|line| line.kind() != Some('t'));
            for line in times {
                session.push_line(Line::new(line.kind().unwrap_or('t'), line.value()));
            }
        }
        let refusal = |media: &Media<'_>| if media.is_refused() { Refusal::Ended } else { Refusal::MediaType };
        let sections = offer.media().iter().map(|media| Err(refusal(media))).collect();
        Self { offer, rules: *rules, session, sections }
    }

    /// Accepts a message session.
    ///
    /// # Errors
    /// Why it stays refused.
    pub fn accept(&mut self, index: usize, local: &Local, names: &Names) -> Result<Agreement, Refusal> {
        let agreed = accept(self.offer, index, local, names, &self.rules);
        let (agreement, media) = match agreed {
            Ok((agreement, media)) => (Ok(agreement), Ok(media)),
            Err(refusal) => (Err(refusal), Err(refusal)),
        };
        if let Some(section) = self.sections.get_mut(index) {
            *section = media;
        }
        agreement
    }

    /// Answers a section of any other kind with `media`.
    pub fn put(&mut self, index: usize, media: Media<'static>) {
        if let Some(section) = self.sections.get_mut(index) {
            *section = Ok(media);
        }
    }

    /// Refuses a section.
    pub fn refuse(&mut self, index: usize, refusal: Refusal) {
        if let Some(section) = self.sections.get_mut(index) {
            *section = Err(refusal);
        }
    }

    /// The answer, or why the whole offer is refused: the first reason among the message sessions, else among all.
    ///
    /// # Errors
    /// No section is accepted, and the offer had one that was to be.
    pub fn finish(self) -> Result<Description<'static>, Refusal> {
        let accepted = self.sections.iter().any(Result::is_ok);
        let refusals = self.sections.iter().filter_map(|section| section.as_ref().err()).copied();
        let refusals: Vec<Refusal> = refusals.filter(|&refusal| refusal != Refusal::Ended).collect();
        let first = refusals.iter().find(|&&refusal| refusal != Refusal::MediaType).or(refusals.first()).copied();
        match first {
            Some(refusal) if !accepted => Err(refusal),
            _ => Ok(self.into_description()),
        }
    }

    /// The answer, even where it refuses everything.
    #[must_use]
    pub fn into_description(self) -> Description<'static> {
        let Self { offer, mut session, sections, .. } = self;
        for (offered, section) in offer.media().iter().zip(sections) {
            session.push(section.unwrap_or_else(|_| refused(offered)));
        }
        session
    }
}

/// A section with port 0. That of a file keeps selector and identifier (RFC 5547 §8.3).
fn refused(offered: &Media<'_>) -> Media<'static> {
    let formats: Vec<&str> = offered.formats().collect();
    let formats = if formats.is_empty() { "*".to_owned() } else { formats.join(" ") };
    let line = Line::new('m', format!("{} 0 {} {formats}", offered.kind(), offered.protocol()));
    let mut media = Media::from_line(line, Leniency::DEPLOYED).unwrap_or_else(|| offered.clone().into_owned());
    mirror(offered, &["file-selector", "file-transfer-id"]).into_iter().for_each(|line| media.push(line));
    media
}

/// The attributes of these names as they were offered, in that order.
fn mirror(offered: &Media<'_>, names: &[&str]) -> Vec<Line<'static>> {
    let found = names.iter().filter_map(|&name| {
        let attributes = offered.lines().iter().filter_map(Line::as_attribute);
        let (name, value) = attributes.into_iter().find(|&(found, _)| found == name)?;
        Some(Line::attribute(name, value))
    });
    found.collect()
}

fn accept(
    offer: &Description<'_>,
    index: usize,
    local: &Local,
    names: &Names,
    rules: &Rules,
) -> Result<(Agreement, Media<'static>), Refusal> {
    let leniency = rules.leniency;
    local.check().map_err(Refusal::Local)?;
    let remote = Remote::read(offer, index, rules)?;
    if remote.secure != local.secure() {
        return Err(Refusal::Security);
    }
    check_types(local, &remote)?;
    let fingerprints = expected_fingerprints(local, &remote, leniency)?;

    let (setup, with_cema) = setup(local, &remote, names, leniency)?;
    let role = Role::of_offerer(remote.setup, Some(setup)).ok_or(Refusal::Setup)?.other();
    let by = if with_cema { By::Address } else { By::Path };
    let connect = connect(local, &remote, role, by)?;

    let offered = &offer.media()[index];
    let (direction, transfer, lines) = file(local, &remote, offered, leniency)?;
    let path = local.path_for(setup);
    let said = Said { path: &path, secure: remote.secure_protocol, setup, cema: with_cema, direction, file: &lines };
    let media = local.section(&said).map_err(Refusal::Local)?;
    let mut sendable = remote.sendable;
    sendable.max_size_binds = transfer.is_some();
    let agreement = Agreement {
        index,
        role,
        connect,
        after_ack: role == Role::Active,
        secure: remote.secure,
        fingerprints,
        own_path: path,
        peer_path: remote.path,
        cema: with_cema,
        matching: matching(with_cema, leniency),
        direction,
        sendable,
        chatroom: remote.chatroom,
        transfer,
    };
    Ok((agreement, media))
}

/// What we say in `a=setup`, and whether with RFC 6714.
fn setup(local: &Local, remote: &Remote, names: &Names, leniency: Leniency) -> Result<(Setup, bool), Refusal> {
    let plain = Setup::to_answer(remote.setup, local.is_reachable());
    if !local.cema {
        return Ok((plain, false));
    }
    let connects = leniency.active_address && remote.setup == Some(Setup::Active);
    let offered = cema::Offered {
        cema: remote.cema,
        address_matches: (connects && !remote.cema) || remote.address_matches(names),
        relay: remote.uses_relay(),
        setup: remote.setup,
        own_relay: local.uses_relay(),
    };
    match cema::answer(offered) {
        cema::AnswerWith::Refusal => Err(Refusal::AddressMismatch),
        cema::AnswerWith::Path => Ok((plain, false)),
        cema::AnswerWith::Cema => Ok((cema::answer_setup(offered, local.is_reachable()), true)),
    }
}

/// Our direction, and what becomes of a file in the offer.
fn file(
    local: &Local,
    remote: &Remote,
    offered: &Media<'_>,
    leniency: Leniency,
) -> Result<(Direction, Option<Transfer>, Vec<Line<'static>>), Refusal> {
    let direction = local.direction.with_peer(remote.direction);
    let Some(file) = &remote.file else { return Ok((direction, None, Vec::new())) };
    let pushes = pushes(remote.direction, leniency.file_direction)?;
    file.check_offer(pushes, !leniency.file_id)?;
    let transfer = Transfer { send: !pushes, file: file.clone() };
    if pushes {
        // §8.3.1: name, type and size as they were, and neither icon nor disposition nor dates.
        let lines = mirror(offered, &["file-selector", "file-transfer-id", "file-range"]);
        return Ok((Direction { send: false, ..direction }, Some(transfer), lines));
    }
    // §8.3.2: the answerer may say more of the file than it was asked for.
    let lines = match &local.file {
        None => mirror(offered, &["file-selector", "file-transfer-id", "file-range"]),
        Some(own) => {
            let selector = if own.selector.is_empty() { file.selector.clone() } else { own.selector.clone() };
            let (transfer_id, range) = (file.transfer_id.clone(), file.range);
            file_lines(&FileDescription { selector, transfer_id, range, ..own.clone() })
        }
    };
    Ok((Direction { receive: false, ..direction }, Some(transfer), lines))
}
