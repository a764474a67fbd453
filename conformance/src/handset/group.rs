//! Group chats of a handset: it makes them at a factory, is called by their focus, comes back, watches who is there, brings
//! and removes others (GSMA RCC.07 §3.4; RFC 4579, 5366, 5368).

use tokio::sync::oneshot;

use super::call::{Call, Side, own};
use super::content::user_of;
use super::cpim::{ANONYMOUS, composing, mixed_of};
use super::engine::{Engine, Go, Halt, Order, What};
use super::media::{Out, Port};
use super::model::{Content, Kind};
use super::roster::Roster;
use super::seen::{Fate, How, Phase, Seen, Sent};
use super::{COMES, Handset};
use crate::case::{ANSWER, Verdict, check, fail};
use crate::message::{Message, uri_of};
use crate::ua::Req;

/// User part of the URI that groups are made at.
pub(crate) const FACTORY: &str = "conference-factory";
/// Parameters of a Contact that is a focus.
const IS_FOCUS: &str = "isfocus";
/// What a client that leaves for good says.
const LEAVES: &str = "SIP;cause=200;text=\"Call completed\"";
const LIST: &str = "application/resource-lists+xml";

/// A group as the handset knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room {
    /// URI of the focus.
    pub(crate) focus: String,
    pub(crate) contribution: String,
    pub(crate) subject: Option<String>,
    /// Referred-By of the invitation.
    pub(crate) by: Option<String>,
    /// Users that the list in the invitation names.
    pub(crate) history: Vec<String>,
    /// Invitations of the focus so far.
    pub(crate) invitations: usize,
    pub(crate) roster: Roster,
    /// Subscription-State of the last NOTIFY.
    pub(crate) subscription: String,
    /// Reason of the BYE from the focus.
    pub(crate) bye: Option<String>,
}

pub(super) type Answer = oneshot::Sender<Message>;

/// What a case wants of a group.
pub(super) enum Ask {
    Create {
        list: String,
        subject: String,
        contribution: String,
        done: Answer,
    },
    Join {
        focus: String,
        contribution: String,
        subject: Option<String>,
        done: Answer,
    },
    /// `number` is its place among what was sent.
    Say {
        focus: String,
        id: String,
        text: String,
        number: usize,
    },
    Put {
        focus: String,
        id: String,
        content_type: &'static str,
        body: String,
    },
    Watch {
        focus: String,
        done: Answer,
    },
    Refer {
        focus: String,
        refer_to: String,
        list: Option<String>,
        done: Answer,
    },
    Again {
        focus: String,
        list: Option<String>,
        subject: Option<String>,
        done: Answer,
    },
    Leave {
        focus: String,
    },
}

impl Engine {
    pub(super) async fn ask(&mut self, ask: Ask) -> Go {
        match ask {
            Ask::Create { list, subject, contribution, done } => {
                let uri = self.aor_of(FACTORY);
                self.call_focus(&uri, Some(&list), Some(&subject), &contribution, done).await
            }
            Ask::Join { focus, contribution, subject, done } => {
                self.call_focus(&focus, None, subject.as_deref(), &contribution, done).await
            }
            Ask::Say { focus, id, text, number } => self.say_in(&focus, &id, &text, number).await,
            Ask::Put { focus, id, content_type, body } => {
                let body = self.group_envelope(&focus, None, &id, Content::Other(content_type, &body));
                match self.call_with(&focus) {
                    Some(at) => {
                        self.calls[at].put_later(Out { key: None, content_type: "message/cpim", body });
                        Ok(())
                    }
                    None => self.page_focus(&focus, body, What::Other).await,
                }
            }
            Ask::Watch { focus, done } => self.watch(&focus, Some(done)).await,
            Ask::Refer { focus, refer_to, list, done } => {
                let req = self.in_session(&focus, "REFER");
                let req = req.add("Refer-To", refer_to.clone()).add("Refer-Sub", "false");
                let contact = self.contact();
                let req = req.set("Contact", contact);
                let req = match list {
                    Some(list) => req
                        .add("Require", "multiple-refer, norefersub")
                        .add("Content-Disposition", "recipient-list")
                        .add("Content-ID", uri_of(&refer_to).replacen("cid:", "<", 1) + ">")
                        .body(LIST, list),
                    None => req.add("Supported", "norefersub"),
                };
                self.start(req, What::Told(done)).await
            }
            Ask::Again { focus, list, subject, done } => {
                let Some(at) = self.call_with(&focus) else { return Err(Halt::Fault("no session to renew".into())) };
                let sdp = self.calls[at].sdp.clone();
                let contact = self.contact();
                let req = self.in_session(&focus, "INVITE").set("Contact", contact);
                let req = match subject {
                    Some(subject) => req.set("Subject", subject),
                    None => req,
                };
                let req = self.with_list(req, &sdp, list.as_deref());
                self.start(req, What::Told(done)).await
            }
            Ask::Leave { focus } => match self.call_with(&focus) {
                Some(at) => {
                    let number = self.calls[at].number;
                    self.end_as(number, Some(LEAVES)).await
                }
                None => Err(Halt::Fault("told to leave a group without a session".into())),
            },
        }
    }

    pub(super) fn call_with(&self, focus: &str) -> Option<usize> {
        self.calls.iter().position(|call| call.focus.as_deref() == Some(focus))
    }

    /// Calls a factory or a focus.
    async fn call_focus(
        &mut self,
        uri: &str,
        list: Option<&str>,
        subject: Option<&str>,
        contribution: &str,
        done: Answer,
    ) -> Go {
        let port = Port::open(&self.ctx, self.model.reach, &self.account).await?;
        let sdp = own(&port, port.offer(), "sendrecv");
        let contact = self.contact();
        let req = self.ua.req("INVITE", uri).set("Contact", contact);
        let req =
            self.model.service(req, "session.group", &self.ctx, contribution).set("Contribution-ID", contribution);
        let req = req.add("Allow", "INVITE, UPDATE, ACK, CANCEL, BYE, NOTIFY, OPTIONS, MESSAGE, REFER");
        let req = match subject {
            Some(subject) => req.add("Subject", subject),
            None => req,
        };
        let req = match list {
            Some(_) => req.add("Require", "recipient-list-invite"),
            None => req,
        };
        let req = self.with_list(req, &sdp, list);
        let number = self.new_session(&user_of(uri), false);
        self.answers.insert(number, done);
        self.calls.push(Call {
            number,
            peer: user_of(uri),
            deferred: false,
            side: Side::Calling,
            sdp,
            remote: None,
            port: Some(port),
            media: None,
            queue: Vec::new(),
            sent: Vec::new(),
            focus: Some(String::new()),
        });
        self.start(req, What::Invite(number)).await
    }

    fn with_list(&self, req: Req, sdp: &str, list: Option<&str>) -> Req {
        let Some(list) = list else { return req.body("application/sdp", sdp) };
        let boundary = self.ctx.id();
        let parts = [("application/sdp", "", sdp.as_bytes()), (LIST, "recipient-list", list.as_bytes())];
        req.body(&format!("multipart/mixed;boundary=\"{boundary}\""), mixed_of(&boundary, &parts))
    }

    /// The focus has answered one's own call.
    pub(super) async fn focus_answered(&mut self, at: usize, invite: &Req, answer: &Message) -> Go {
        let contact = answer.header("contact").unwrap_or("").to_owned();
        let focus = uri_of(&contact).to_owned();
        if !contact.contains(IS_FOCUS) {
            return Err(Halt::Fault("a 2xx of a focus without isfocus".into()));
        }
        let (number, peer) = (self.calls[at].number, user_of(&focus));
        self.calls[at].peer.clone_from(&peer);
        self.calls[at].focus = Some(focus.clone());
        let contribution = invite.get("Contribution-ID").to_owned();
        let subject = Some(invite.get("Subject").to_owned()).filter(|subject| !subject.is_empty());
        self.state.change(|seen| {
            if let Some(session) = seen.sessions.get_mut(number) {
                session.peer = peer;
            }
            let room = seen.room_mut(&focus);
            room.contribution = contribution;
            room.subject = subject.or(room.subject.take());
            room.bye = None;
        });
        if self.model.follows { self.watch(&focus, None).await } else { Ok(()) }
    }

    /// The focus of a group that an INVITE is from.
    pub(super) fn focus_of(invite: &Message) -> Option<String> {
        let contact = invite.header("contact").filter(|contact| contact.contains(IS_FOCUS))?;
        Some(uri_of(contact).to_owned())
    }

    /// Notes what an invitation says of its group.
    pub(super) fn note_invitation(&self, focus: &str, invite: &Message, list: Option<Vec<u8>>) {
        let text = |name: &str| invite.header(name).map(str::to_owned);
        let list = list.map(|list| String::from_utf8_lossy(&list).into_owned()).unwrap_or_default();
        let uris = list.split(" uri=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let history: Vec<String> = uris.map(user_of).collect();
        self.state.change(|seen| {
            let room = seen.room_mut(focus);
            room.contribution = text("contribution-id").unwrap_or_default();
            room.subject = text("subject");
            room.by = text("referred-by").map(|by| user_of(uri_of(&by)));
            room.history = history;
            room.invitations += 1;
            room.bye = None;
        });
    }

    pub(super) fn group_envelope(&self, focus: &str, to: Option<&str>, id: &str, content: Content<'_>) -> Vec<u8> {
        let all = if self.model.simple { uri_of(ANONYMOUS) } else { focus };
        let extra = self.state.look(|seen| seen.extras.get(id).cloned()).unwrap_or_default();
        self.model.envelope((&self.ua.aor(), to.unwrap_or(all)), false, id, content, &extra)
    }

    async fn say_in(&mut self, focus: &str, id: &str, text: &str, number: usize) -> Go {
        if let Some(at) = self.call_with(focus) {
            let body = self.group_envelope(focus, None, id, Content::Text(text));
            self.state.change(|seen| seen.how(number, How::Session));
            self.calls[at].sent.push(number);
            self.calls[at].put_later(Out { key: Some(number), content_type: "message/cpim", body });
            return Ok(());
        }
        if self.model.calls() {
            return Err(Halt::Fault("told to talk in a group without a session".into()));
        }
        if self.model.kind == Kind::Pager && !self.model.cpim {
            let req = self.ua.req("MESSAGE", focus).body("text/plain;charset=UTF-8", text);
            return self.start(req, What::Page(number)).await;
        }
        let body = self.group_envelope(focus, None, id, Content::Text(text));
        self.page_focus(focus, body, What::Page(number)).await
    }

    pub(super) async fn page_focus(&mut self, focus: &str, body: Vec<u8>, what: What) -> Go {
        let conversation = self.conversation(focus);
        let req = self.ua.req("MESSAGE", focus).body("message/cpim", body);
        let req = self.model.service(req, "msg.group", &self.ctx, &conversation);
        self.start(req, what).await
    }

    /// Subscribes to the roster, in a dialog of its own.
    pub(super) async fn watch(&mut self, focus: &str, done: Option<Answer>) -> Go {
        let contact = self.contact();
        let req = self
            .ua
            .req("SUBSCRIBE", focus)
            .set("Contact", contact)
            .add("Event", "conference")
            .add("Accept", "application/conference-info+xml")
            .add("Expires", "3600");
        self.watches.insert(req.get("Call-ID").to_owned(), focus.to_owned());
        self.state.change(|seen| seen.room_mut(focus).roster = Roster::default());
        self.start(req, done.map_or(What::Other, What::Told)).await
    }

    /// A NOTIFY of a roster.
    pub(super) async fn notified(&mut self, notify: &Message) -> Go {
        let focus = notify.header("call-id").and_then(|id| self.watches.get(id)).cloned();
        let is_roster = notify.header("event").is_some_and(|event| event.starts_with("conference"));
        let Some(focus) = focus.filter(|_| is_roster) else {
            return self.respond(notify, "200 OK", &[], "").await;
        };
        self.respond(notify, "200 OK", &[], "").await?;
        let (xml, state) = (notify.body_text(), notify.header("subscription-state").unwrap_or("").to_owned());
        let taken = self.state.change(|seen| {
            let room = seen.room_mut(&focus);
            room.subscription = state;
            if xml.is_empty() { Ok(()) } else { room.roster.take(&xml) }
        });
        taken.map_err(|why| Halt::Fault(format!("a roster document: {why}")))
    }

    /// A request in the dialog with the focus, or outside of any where there is no session.
    fn in_session(&mut self, focus: &str, method: &str) -> Req {
        match self.call_with(focus) {
            Some(at) => self.in_call(at, method),
            None => self.ua.req(method, focus),
        }
    }

    fn in_call(&mut self, at: usize, method: &str) -> Req {
        match &self.calls[at].side {
            Side::Caller(invite, answer) => {
                let (invite, answer) = (invite.clone(), answer.clone());
                self.ua.in_dialog(&invite, &answer, method)
            }
            Side::Called(invite, _) => {
                let invite = invite.clone();
                self.as_called(&invite, method)
            }
            Side::Calling => {
                let peer = self.calls[at].peer.clone();
                let uri = self.aor_of(&peer);
                self.ua.req(method, &uri)
            }
        }
    }

    /// Notes why the focus ended a session.
    pub(super) fn focus_said_bye(&self, call: &Call, bye: &Message) {
        if let Some(focus) = &call.focus {
            let reason = bye.header("reason").unwrap_or("").to_owned();
            self.state.change(|seen| seen.room_mut(focus).bye = Some(reason));
        }
    }
}

impl Seen {
    pub(super) fn room_mut(&mut self, focus: &str) -> &mut Room {
        let at = self.rooms.iter().position(|room| room.focus == focus).unwrap_or_else(|| {
            self.rooms.push(Room { focus: focus.to_owned(), ..Room::default() });
            self.rooms.len() - 1
        });
        &mut self.rooms[at]
    }

    pub(crate) fn room(&self, focus: &str) -> Option<&Room> {
        self.rooms.iter().find(|room| room.focus == focus)
    }

    /// Whether there is a session with the focus, and MSRP is up.
    pub(crate) fn is_open(&self, focus: &str) -> bool {
        let peer = user_of(focus);
        self.sessions.iter().any(|session| session.peer == peer && session.phase == Phase::Open)
    }
}

impl Handset {
    /// Makes a group with these users.
    pub(crate) async fn create(&self, others: &[&str], subject: &str) -> Verdict<Room> {
        let contribution = self.ctx.id().replace('.', "a");
        let answer = self.create_as(others, subject, &contribution).await?;
        check!(answer.status() == Some(200), "the factory answered {} of {}", answer.start, self.user);
        let focus = uri_of(answer.header("contact").unwrap_or("")).to_owned();
        self.is_in(&focus).await
    }

    /// The same under a chosen Contribution-ID; gives the final answer.
    pub(crate) async fn create_as(&self, others: &[&str], subject: &str, contribution: &str) -> Verdict<Message> {
        self.create_of(&self.list(others, ""), subject, contribution).await
    }

    /// The same with any list.
    pub(crate) async fn create_of(&self, list: &str, subject: &str, contribution: &str) -> Verdict<Message> {
        let (list, subject, contribution) = (list.to_owned(), subject.to_owned(), contribution.to_owned());
        self.told(|done| Ask::Create { list, subject, contribution, done }).await
    }

    /// Calls the focus; gives the final answer.
    pub(crate) async fn join(&self, room: &Room) -> Verdict<Message> {
        let (focus, contribution, subject) = (room.focus.clone(), room.contribution.clone(), room.subject.clone());
        self.told(|done| Ask::Join { focus, contribution, subject, done }).await
    }

    /// The same, and it is in.
    pub(crate) async fn rejoin(&self, room: &Room) -> Verdict<Room> {
        let answer = self.join(room).await?;
        check!(answer.status() == Some(200), "the focus answered {} of {}", answer.start, self.user);
        self.is_in(uri_of(answer.header("contact").unwrap_or(""))).await
    }

    /// It has a session with the focus.
    pub(crate) async fn is_in(&self, focus: &str) -> Verdict<Room> {
        let find = |seen: &Seen| seen.room(focus).filter(|_| seen.is_open(focus)).cloned();
        self.find("a session of the group", find).await
    }

    /// The focus of a group with this Contribution-ID has called it, and it is in.
    pub(crate) async fn is_invited(&self, room: &Room) -> Verdict<Room> {
        let find = |seen: &Seen| {
            let known = seen.rooms.iter().find(|known| known.contribution == room.contribution)?;
            seen.is_open(&known.focus).then(|| known.clone())
        };
        self.find("an invitation to the group", find).await
    }

    /// Says something in the group; gives its Message-ID.
    pub(crate) fn tell(&self, room: &Room, text: &str) -> String {
        let id = self.ctx.id();
        self.tell_as(room, &id, text);
        id
    }

    /// The same under that id.
    pub(crate) fn tell_as(&self, room: &Room, id: &str, text: &str) {
        let number = self.state.change(|seen| {
            seen.sent.push(Sent { id: id.to_owned(), how: How::Page, fate: Fate::Pending });
            seen.sent.len() - 1
        });
        let (focus, text) = (room.focus.clone(), text.to_owned());
        self.order(Order::Group(Ask::Say { focus, id: id.to_owned(), text, number }));
    }

    pub(crate) fn compose_in(&self, room: &Room, active: bool) {
        let (focus, body) = (room.focus.clone(), composing(active));
        let (id, content_type) = (self.ctx.id(), "application/im-iscomposing+xml");
        self.order(Order::Group(Ask::Put { focus, id, content_type, body }));
    }

    /// Shares what is no text with the group, and asks for no notifications; gives its Message-ID.
    pub(crate) fn share(&self, room: &Room, content_type: &'static str, body: &str) -> String {
        let (focus, id) = (room.focus.clone(), self.ctx.id());
        self.order(Order::Group(Ask::Put { focus, id: id.clone(), content_type, body: body.to_owned() }));
        id
    }

    /// Asks for another subject or icon.
    pub(crate) fn describe(&self, room: &Room, target: &str, value: &str) {
        let id = self.ctx.id();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<cpm-group-management xmlns=\"urn:oma:xml:cpm:groupdata:1.0\" \
             id=\"{id}\"><group-data><request target=\"{target}\"><action>set</action><data><{target}>{value}</{target}></data>\
             </request></group-data></cpm-group-management>"
        );
        let content_type = "application/vnd.oma.cpm-groupdata+xml";
        let focus = room.focus.clone();
        self.order(Order::Group(Ask::Put { focus, id: self.ctx.id(), content_type, body }));
    }

    /// Subscribes to the roster; gives the final answer.
    pub(crate) async fn watch(&self, room: &Room) -> Verdict<Message> {
        let focus = room.focus.clone();
        self.told(|done| Ask::Watch { focus, done }).await
    }

    /// Sends a REFER for one user; `method` is empty, or as `;method=BYE` and `?method=BYE`.
    pub(crate) async fn refer(&self, room: &Room, user: &str, method: &str) -> Verdict<Message> {
        let (focus, refer_to) = (room.focus.clone(), format!("<sip:{user}@{}{method}>", self.ctx.domain()));
        self.told(|done| Ask::Refer { focus, refer_to, list: None, done }).await
    }

    /// Sends a REFER for several (RFC 5368).
    pub(crate) async fn refer_all(&self, room: &Room, users: &[&str], method: &str) -> Verdict<Message> {
        let (focus, list) = (room.focus.clone(), Some(self.list(users, method)));
        let refer_to = format!("<cid:{}@{}>", self.ctx.id(), self.ctx.domain());
        self.told(|done| Ask::Refer { focus, refer_to, list, done }).await
    }

    /// Sends a re-INVITE in the session.
    pub(crate) async fn invite_again(&self, room: &Room, with_list: bool) -> Verdict<Message> {
        let (focus, list) = (room.focus.clone(), with_list.then(|| self.list(&[&self.user], "")));
        self.told(|done| Ask::Again { focus, list, subject: None, done }).await
    }

    /// Sends a re-INVITE in the session that changes nothing but the subject.
    pub(crate) async fn rename(&self, room: &Room, subject: &str) -> Verdict<Message> {
        let (focus, subject) = (room.focus.clone(), Some(subject.to_owned()));
        self.told(|done| Ask::Again { focus, list: None, subject, done }).await
    }

    /// Leaves for good.
    pub(crate) fn leave(&self, room: &Room) {
        self.order(Order::Group(Ask::Leave { focus: room.focus.clone() }));
    }

    /// The roster, once it is as wanted.
    pub(crate) async fn roster(&self, room: &Room, what: &str, wanted: impl Fn(&Roster) -> bool) -> Verdict<Roster> {
        let find =
            |seen: &Seen| seen.room(&room.focus).map(|room| &room.roster).filter(|roster| wanted(roster)).cloned();
        match self.wait(COMES * 2, find).await {
            Some(roster) => Ok(roster),
            None => {
                let now = self.look(|seen| seen.room(&room.focus).map(|room| room.roster.clone()));
                fail(format!("{}: no roster with {what}: {now:?}", self.user))
            }
        }
    }

    fn list(&self, users: &[&str], method: &str) -> String {
        let domain = self.ctx.domain();
        let entry = |user: &&str| format!("<entry uri=\"sip:{user}@{domain}{method}\" cp:copyControl=\"to\"/>");
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{}</list></resource-lists>",
            users.iter().map(entry).collect::<String>()
        )
    }

    async fn told(&self, ask: impl FnOnce(Answer) -> Ask) -> Verdict<Message> {
        let (done, answer) = oneshot::channel();
        self.order(Order::Group(ask(done)));
        match tokio::time::timeout(ANSWER * 3, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => fail(format!("{} got no final answer", self.user)),
        }
    }
}
