//! Scripted handsets: whole clients of a chat service, each of a kind, that live by themselves until a case tells them
//! otherwise, and remember all they see.
//!
//! A handset registers with its feature tags and an instance of its own, sends and takes messages the way its kind does
//! (SIP MESSAGE, the first one in an INVITE, MSRP), answers calls, and sends notifications and composing. It can be cut
//! off at a named step, and come back. What it does is that of deployed clients, which is not always what documents say.

mod call;
mod called;
mod content;
mod cpim;
mod engine;
mod group;
mod media;
mod model;
mod roster;
mod sdp;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) use group::{FACTORY, Room};
pub(crate) use model::{Accept, First, Model, Reach};
pub(crate) use roster::Roster;
pub(crate) use seen::{Extra, Fate, Got, How, Phase, Receipt, Seen, Session};

use crate::case::{ANSWER, Ctx, Verdict, check, fail};
use crate::target::Account;
use engine::{Engine, Order};
use seen::{Sent, State};

/// How long a handset waits for what has to come: several transactions, one after the other.
pub(crate) const COMES: Duration = Duration::from_secs(8);

/// Where a handset can be cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its INVITE is out.
    Calling,
    /// The 2xx came and was acknowledged.
    Answered,
    /// An INVITE came and is not answered.
    Called,
    /// The 2xx to it is out.
    Accepted,
    /// MSRP is there.
    Connected,
    /// Half of a SEND is out.
    Sending,
    /// A SEND is out and not answered.
    Sent,
    /// A chunk came and is not answered.
    Chunk,
    /// A message came whole and is not answered, by MSRP or MESSAGE.
    Received,
    /// A message was confirmed, and no notification was made.
    Confirmed,
}

/// What a cut does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// All connections close, and sessions are forgotten.
    Off,
    /// The MSRP connection closes.
    Media,
    /// Connections stay and nothing is answered.
    Silent,
}

/// A handset; dropped, it closes.
pub(crate) struct Handset {
    pub(crate) user: String,
    pub(crate) model: Model,
    orders: mpsc::UnboundedSender<Order>,
    state: Arc<State>,
    ctx: Ctx,
    task: JoinHandle<()>,
}

impl Drop for Handset {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Handset {
    /// A handset that has registered.
    pub(crate) async fn on(ctx: &Ctx, account: &Account, model: Model) -> Verdict<Handset> {
        let handset = Handset::off(ctx, account, model).await?;
        handset.register().await?;
        Ok(handset)
    }

    /// A handset that is connected and not registered.
    pub(crate) async fn off(ctx: &Ctx, account: &Account, model: Model) -> Verdict<Handset> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let state = Arc::new(State::new());
        let engine = Engine::new(ctx, account, model.clone(), &state).await?;
        let task = tokio::spawn(engine.run(inbox));
        Ok(Handset { user: account.user.clone(), model, orders, state, ctx: ctx.clone(), task })
    }

    fn order(&self, order: Order) {
        // It ends with this value only.
        let _ = self.orders.send(order);
    }

    /// Registers, or refreshes.
    pub(crate) async fn register(&self) -> Verdict {
        self.asked(Order::Register).await
    }

    /// Takes its binding back; connections stay.
    pub(crate) async fn unregister(&self) -> Verdict {
        self.asked(Order::Unregister).await
    }

    /// Starts again after a cut, with new connections and the same instance.
    pub(crate) async fn back(&self) -> Verdict {
        self.asked(Order::Back).await
    }

    /// Takes another way of answering calls.
    pub(crate) async fn accept(&self, accept: Accept) -> Verdict {
        self.asked(|done| Order::Accept(accept, done)).await
    }

    async fn asked(&self, order: impl FnOnce(oneshot::Sender<Verdict>) -> Order) -> Verdict {
        let (done, answer) = oneshot::channel();
        self.order(order(done));
        match answer.await {
            Ok(verdict) => verdict,
            Err(_) => fail(format!("the handset of {} has ended", self.user)),
        }
    }

    /// Sends a text the way its kind does; gives its Message-ID.
    pub(crate) fn send(&self, to: &Handset, text: &str) -> String {
        let id = self.ctx.id();
        self.send_as(to, &id, text);
        id
    }

    /// The same under a chosen id, as after a failure.
    pub(crate) fn send_as(&self, to: &Handset, id: &str, text: &str) {
        self.send_to(&to.user, id, text);
    }

    /// The same with lines in its envelope that this kind of handset does not write by itself.
    pub(crate) fn send_with(&self, to: &Handset, extra: Extra, text: &str) -> String {
        let id = self.with(extra);
        self.send_to(&to.user, &id, text);
        id
    }

    /// The id of a message to be sent whose envelope has these lines.
    pub(crate) fn with(&self, extra: Extra) -> String {
        let id = self.ctx.id();
        self.state.change(|seen| seen.extras.insert(id.clone(), extra));
        id
    }

    /// The same to any user.
    pub(crate) fn send_to(&self, user: &str, id: &str, text: &str) {
        self.order_send(user, id, text, false);
    }

    /// Sends by MESSAGE whatever its kind.
    pub(crate) fn page(&self, to: &Handset, text: &str) -> String {
        let id = self.ctx.id();
        self.order_send(&to.user, &id, text, true);
        id
    }

    fn order_send(&self, to: &str, id: &str, text: &str, page: bool) {
        let number = self.state.change(|seen| {
            seen.sent.push(Sent { id: id.to_owned(), how: How::Page, fate: Fate::Pending });
            seen.sent.len() - 1
        });
        self.order(Order::Send { to: to.to_owned(), id: id.to_owned(), text: text.to_owned(), number, page });
    }

    /// In the session there is.
    pub(crate) fn compose(&self, to: &Handset, active: bool) {
        self.order(Order::Compose { to: to.user.clone(), active });
    }

    /// Shows a message to its user and says so.
    pub(crate) fn display(&self, id: &str) {
        self.order(Order::Display(id.to_owned()));
    }

    /// Answers the call that rings.
    pub(crate) fn answer(&self) {
        self.order(Order::Answer);
    }

    /// Ends all its sessions.
    pub(crate) fn hang_up(&self) {
        self.order(Order::HangUp);
    }

    /// Gives up the call that is not answered yet.
    pub(crate) fn cancel(&self) {
        self.order(Order::Cancel);
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.order(Order::Cut(cut));
    }

    /// Cuts it the next time it gets there.
    pub(crate) fn cut_at(&self, step: Step, cut: Cut) {
        self.state.set_trap(step, cut);
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        self.state.look(look)
    }

    pub(crate) async fn wait<T>(&self, wait: Duration, find: impl FnMut(&Seen) -> Option<T>) -> Option<T> {
        self.state.wait(wait, find).await
    }

    /// What `find` finds before long; `what` names it.
    pub(crate) async fn find<T>(&self, what: &str, find: impl FnMut(&Seen) -> Option<T>) -> Verdict<T> {
        self.find_within(COMES, what, find).await
    }

    pub(crate) async fn find_within<T>(
        &self,
        wait: Duration,
        what: &str,
        find: impl FnMut(&Seen) -> Option<T>,
    ) -> Verdict<T> {
        match self.state.wait(wait, find).await {
            Some(found) => Ok(found),
            None => {
                let faults = self.look(|seen| seen.faults.join("; "));
                let faults = if faults.is_empty() { String::new() } else { format!(" ({faults})") };
                fail(format!("{}, a {}: {what} did not come{faults}", self.user, self.model.name()))
            }
        }
    }

    /// The first copy of a message with that id.
    pub(crate) async fn message(&self, id: &str) -> Verdict<Got> {
        self.find(&format!("message {id}"), |seen| seen.messages.iter().find(|got| got.is(id)).cloned()).await
    }

    /// The first copy of a message with that text, whatever its id.
    pub(crate) async fn text(&self, text: &str) -> Verdict<Got> {
        let what = format!("the text {:?}", text.chars().take(40).collect::<String>());
        self.find(&what, |seen| seen.messages.iter().find(|got| got.text == text).cloned()).await
    }

    pub(crate) async fn receipt(&self, id: &str, kind: &str) -> Verdict<Receipt> {
        let is = |receipt: &&Receipt| receipt.id == id && receipt.kind == kind;
        self.find(&format!("{kind} for {id}"), |seen| seen.receipts.iter().find(is).cloned()).await
    }

    /// What became of a message that it sent.
    pub(crate) async fn fate(&self, id: &str) -> Verdict<Fate> {
        let find = |seen: &Seen| match seen.sent.iter().rev().find(|sent| sent.id == id)?.fate {
            Fate::Pending => None,
            fate => Some(fate),
        };
        self.find_within(ANSWER * 2, &format!("the fate of {id}"), find).await
    }

    /// The message was taken by the other side, whatever carries it.
    pub(crate) async fn taken(&self, id: &str) -> Verdict {
        let fate = self.fate(id).await?;
        check!(matches!(fate, Fate::Answered(200 | 202)), "message {id} of {} was not taken: {fate:?}", self.user);
        Ok(())
    }

    /// Copies of a message so far.
    pub(crate) fn copies(&self, id: &str) -> usize {
        self.look(|seen| seen.messages.iter().filter(|got| got.is(id)).count())
    }

    pub(crate) fn receipts(&self, id: &str, kind: &str) -> usize {
        self.look(|seen| seen.receipts.iter().filter(|receipt| receipt.id == id && receipt.kind == kind).count())
    }
}

impl Got {
    pub(crate) fn is(&self, id: &str) -> bool {
        self.id.as_deref() == Some(id)
    }
}
