//! The life of a handset: orders of the case, what SIP brings, and news of its sessions, one at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::call::Call;
use super::content::Origin;
use super::group::{Answer, Ask};
use super::media::News;
use super::model::{Accept, Model};
use super::seen::{Fate, How, Phase, State};
use super::{Cut, Step};
use crate::case::{Ctx, Stop, Verdict, fail};
use crate::message::Message;
use crate::target::{Account, Proto};
use crate::ua::{Req, Ua};

const LONG: Duration = Duration::from_secs(3600);
/// Octets of text that go by MESSAGE, where there is another way (SwitchoverSize of RCS, with the envelope).
const PAGE: usize = 900;
/// Responses kept for requests that come again.
const REPEATS: usize = 32;

pub(super) type Done = oneshot::Sender<Verdict>;

/// What a case wants.
pub(super) enum Order {
    Register(Done),
    Unregister(Done),
    Back(Done),
    Accept(Accept, Done),
    /// `number` is its place among what was sent.
    Send {
        to: String,
        id: String,
        text: String,
        number: usize,
        page: bool,
    },
    Compose {
        to: String,
        active: bool,
    },
    Display(String),
    Answer,
    HangUp,
    Cancel,
    Cut(Cut),
    Group(Ask),
}

/// What stops a step half-way.
pub(super) enum Halt {
    Cut(Cut),
    Fault(String),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Halt {
        match stop {
            Stop::Fail(why) | Stop::Skip(why) => Halt::Fault(why),
        }
    }
}

pub(super) type Go<T = ()> = Result<T, Halt>;

/// A request without its final response.
pub(super) struct Pending {
    pub(super) req: Req,
    pub(super) what: What,
    authenticated: bool,
}

pub(super) enum What {
    /// The call of that number.
    Invite(usize),
    /// The message of that number.
    Page(usize),
    /// Somebody waits for its final response.
    Told(Answer),
    Other,
}

pub(super) struct Engine {
    pub(super) ctx: Ctx,
    pub(super) account: Account,
    pub(super) model: Model,
    pub(super) state: Arc<State>,
    pub(super) ua: Ua,
    pub(super) calls: Vec<Call>,
    pub(super) pending: Vec<Pending>,
    pub(super) news: mpsc::UnboundedSender<(usize, News)>,
    inbox: mpsc::UnboundedReceiver<(usize, News)>,
    instance: String,
    /// Cut off, and not back.
    off: bool,
    /// Messages that can be shown to the user: where they came from, and their dates.
    pub(super) shown: HashMap<String, (Origin, String)>,
    conversations: HashMap<String, String>,
    repeats: VecDeque<(String, Vec<u8>)>,
    /// Who waits for the final answer to the INVITE of a call.
    pub(super) answers: HashMap<usize, Answer>,
    /// Focuses by the Call-ID of the subscription to their rosters.
    pub(super) watches: HashMap<String, String>,
}

impl Engine {
    pub(super) async fn new(ctx: &Ctx, account: &Account, model: Model, state: &Arc<State>) -> Verdict<Engine> {
        let ua = ctx.ua_over(account, proto(ctx, &model)).await?;
        let (news, inbox) = mpsc::unbounded_channel();
        let digits: String = ctx.id().chars().filter(char::is_ascii_hexdigit).collect();
        let instance = format!("urn:uuid:00000000-0000-1000-8000-{:0>12}", &digits[digits.len().saturating_sub(12)..]);
        Ok(Engine {
            ctx: ctx.clone(),
            account: account.clone(),
            model,
            state: state.clone(),
            ua,
            calls: Vec::new(),
            pending: Vec::new(),
            news,
            inbox,
            instance,
            off: false,
            shown: HashMap::new(),
            conversations: HashMap::new(),
            repeats: VecDeque::new(),
            answers: HashMap::new(),
            watches: HashMap::new(),
        })
    }

    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        loop {
            let awake = !self.off && !*self.state.silent.borrow();
            let gone = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                message = self.ua.link.take(LONG, |_| true), if awake && !self.ua.link.closed => match message {
                    Some(message) if message.status().is_some() => self.response(message).await,
                    Some(message) => self.request(message).await,
                    None => Ok(()),
                },
                Some((number, news)) = self.inbox.recv(), if awake => self.hear(number, news).await,
            };
            match gone {
                Ok(()) => {}
                Err(Halt::Cut(cut)) => self.cut(cut).await,
                Err(Halt::Fault(why)) => self.fault(why),
            }
        }
    }

    pub(super) fn fault(&self, why: String) {
        self.ctx.log.note(&format!("{}: {why}", self.account.user));
        self.state.change(|seen| seen.faults.push(why));
    }

    pub(super) fn trap(&self, step: Step) -> Go {
        self.state.trap(step).map_or(Ok(()), |cut| Err(Halt::Cut(cut)))
    }

    async fn cut(&mut self, cut: Cut) {
        self.ctx.log.note(&format!("{} is cut: {cut:?}", self.account.user));
        match cut {
            Cut::Silent => {
                self.state.silent.send_replace(true);
            }
            Cut::Media => {
                let open = self.calls.iter().filter(|call| call.media.is_some()).map(|call| call.number);
                for number in open.collect::<Vec<_>>() {
                    let _ = self.down(number).await;
                }
            }
            Cut::Off => {
                self.off = true;
                if let Err(Halt::Fault(why)) = self.restart().await {
                    self.fault(why);
                }
            }
        }
        self.state.change(|seen| seen.cuts += 1);
    }

    /// Forgets calls and requests, and opens a new flow.
    async fn restart(&mut self) -> Go {
        for call in std::mem::take(&mut self.calls) {
            self.ended(call, false);
        }
        for pending in std::mem::take(&mut self.pending) {
            if let What::Page(number) = pending.what {
                self.state.change(|seen| seen.fate(number, Fate::Lost));
            }
        }
        self.repeats.clear();
        self.watches.clear();
        self.ua = self.ctx.ua_over(&self.account, proto(&self.ctx, &self.model)).await?;
        Ok(())
    }

    async fn obey(&mut self, order: Order) -> Go {
        match order {
            Order::Register(done) => {
                let _ = done.send(self.register(300).await);
            }
            Order::Unregister(done) => {
                let _ = done.send(self.register(0).await);
            }
            Order::Back(done) => {
                self.restart().await?;
                self.off = false;
                self.state.silent.send_replace(false);
                let _ = done.send(self.register(300).await);
            }
            Order::Accept(accept, done) => {
                self.model.accept = accept;
                let _ = done.send(Ok(()));
            }
            Order::Cut(cut) => return Err(Halt::Cut(cut)),
            _ if self.off => return Err(Halt::Fault("told to act while cut off".into())),
            Order::Send { to, id, text, number, page: false } if self.model.large && text.len() > PAGE => {
                self.invite(&to, &id, &text, number).await?;
            }
            Order::Send { to, id, text, number, page } if page || !self.model.calls() => {
                self.page(&to, &id, &text, number).await?;
            }
            Order::Send { to, id, text, number, .. } => self.say(&to, &id, &text, number).await?,
            Order::Compose { to, active } => self.compose(&to, active).await?,
            Order::Display(id) => match self.shown.remove(&id) {
                Some((origin, date)) => self.notify("displayed", &id, &date, &origin).await?,
                None => return Err(Halt::Fault(format!("{id} is not there to be displayed"))),
            },
            Order::Answer => self.answer_ringing().await?,
            Order::HangUp => self.hang_up().await?,
            Order::Cancel => self.cancel().await?,
            Order::Group(ask) => self.ask(ask).await?,
        }
        Ok(())
    }

    /// The parameters of its Contact: feature tags and instance.
    pub(super) fn contact(&self) -> String {
        format!("<{}>;+sip.instance=\"<{}>\"{}", self.ua.contact_uri(), self.instance, self.model.tags())
    }

    async fn register(&mut self, expires: u32) -> Verdict {
        let contact = format!("{};expires={expires}", self.contact());
        let request = self.ua.register_req().add("Contact", contact).add("Supported", "path, gruu");
        let answer = self.ua.call(&request).await?;
        match answer.status() {
            Some(200) => Ok(()),
            _ => fail(format!("expected 200 to REGISTER, got {}", answer.start)),
        }
    }

    pub(super) fn aor_of(&self, user: &str) -> String {
        format!("sip:{user}@{}", self.ctx.domain())
    }

    pub(super) fn conversation(&mut self, peer: &str) -> String {
        let ctx = &self.ctx;
        self.conversations.entry(peer.to_owned()).or_insert_with(|| ctx.id()).clone()
    }

    pub(super) async fn start(&mut self, req: Req, what: What) -> Go {
        self.ua.send(&req).await?;
        self.pending.push(Pending { req, what, authenticated: false });
        Ok(())
    }

    async fn response(&mut self, answer: Message) -> Go {
        let (branch, method) = (answer.branch(), answer.cseq().map(|(_, method)| method));
        let is = |p: &Pending| Some(p.req.branch()) == branch && Some(&p.req.method) == method.as_ref();
        let status = answer.status().unwrap_or(0);
        let Some(at) = self.pending.iter().position(is) else { return self.late_answer(&answer).await };
        match status {
            100..=199 => match self.pending[at].what {
                What::Invite(_) => self.trap(Step::Calling),
                _ => Ok(()),
            },
            401 | 407 if !self.pending[at].authenticated => {
                let req = self.pending[at].req.clone();
                let Some(next) = self.ua.after_challenge(&req, &answer).await? else {
                    return Err(Halt::Fault("a challenge that cannot be answered".into()));
                };
                self.ua.send(&next).await?;
                let pending = &mut self.pending[at];
                (pending.req, pending.authenticated) = (next, true);
                match pending.what {
                    What::Invite(_) => self.trap(Step::Calling),
                    _ => Ok(()),
                }
            }
            _ => {
                // A server that answers at once: this answer is not seen.
                if matches!(self.pending[at].what, What::Invite(_)) {
                    self.trap(Step::Calling)?;
                }
                let Pending { req, what, .. } = self.pending.remove(at);
                self.ua.ack_failure(&req, &answer).await?;
                match what {
                    What::Invite(number) => self.invite_answered(number, req, answer).await,
                    What::Page(number) => {
                        self.state.change(|seen| seen.fate(number, Fate::Answered(status)));
                        Ok(())
                    }
                    What::Told(done) => {
                        if req.method == "INVITE" && status < 300 {
                            let ack = self.ua.in_dialog(&req, &answer, "ACK");
                            self.ua.send(&ack).await?;
                        }
                        let _ = done.send(answer);
                        Ok(())
                    }
                    What::Other => Ok(()),
                }
            }
        }
    }

    async fn request(&mut self, message: Message) -> Go {
        let key = format!("{:?} {:?}", message.branch(), message.method());
        if let Some((_, bytes)) = self.repeats.iter().find(|(known, _)| *known == key) {
            return Ok(self.ua.send_raw(&bytes.clone()).await?);
        }
        match message.method().unwrap_or("") {
            "INVITE" if message.tag("to").is_some() => self.invited_again(&message).await,
            "INVITE" => self.invited(message).await,
            "ACK" => Ok(()),
            "CANCEL" => self.cancelled(&message).await,
            "BYE" => self.bye(&message).await,
            "MESSAGE" => self.paged(message).await,
            "NOTIFY" => self.notified(&message).await,
            "OPTIONS" | "UPDATE" | "INFO" => self.respond(&message, "200 OK", &[], "").await,
            _ => self.respond(&message, "405 Method Not Allowed", &[("Allow", "MESSAGE, OPTIONS")], "").await,
        }
    }

    /// Answers; the final answer is kept for copies of the request.
    pub(super) async fn respond(&mut self, to: &Message, status: &str, more: &[(&str, &str)], sdp: &str) -> Go {
        let bytes = self.ua.reply_bytes(to, status, more, sdp);
        let plain = format!("Contact: <{}>\r\n", self.ua.contact_uri());
        let text = String::from_utf8_lossy(&bytes).replace(&plain, &format!("Contact: {}\r\n", self.contact()));
        if !status.starts_with('1') {
            self.repeats.push_back((format!("{:?} {:?}", to.branch(), to.method()), text.clone().into_bytes()));
            if self.repeats.len() > REPEATS {
                self.repeats.pop_front();
            }
        }
        Ok(self.ua.send_raw(text.as_bytes()).await?)
    }

    /// Hears what its sessions have said so far, before they go.
    pub(super) async fn listen(&mut self) -> Go {
        while let Ok((number, news)) = self.inbox.try_recv() {
            self.hear(number, news).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, number: usize, news: News) -> Go {
        if let News::Cut(cut) = news {
            return Err(Halt::Cut(cut));
        }
        let Some(at) = self.calls.iter().position(|call| call.number == number) else { return Ok(()) };
        match news {
            News::Open => {
                self.phase(number, Phase::Open);
                Ok(())
            }
            News::Content { content_type, body, quiet } => {
                let call = &self.calls[at];
                let (from, deferred, focus) = (call.peer.clone(), call.deferred, call.focus.clone());
                let origin = Origin { from, how: How::Session, call: Some(number), deferred, quiet, focus };
                self.content(origin, &content_type, body).await
            }
            News::Fate(sent, fate) => {
                self.state.change(|seen| seen.fate(sent, fate));
                // A session for one message ends with it.
                if self.model.large { self.end(number).await } else { Ok(()) }
            }
            News::Fault(why) => Err(Halt::Fault(why)),
            News::Cut(_) => Ok(()),
            News::Down => self.down(number).await,
        }
    }
}

/// The SIP transport it takes: a stream to the target, or its WebSocket.
fn proto(ctx: &Ctx, model: &Model) -> Proto {
    match (model.sip, ctx.proto()) {
        (Some(proto), _) => proto,
        (None, Proto::Udp) => Proto::Tcp,
        (None, proto) => proto,
    }
}
