//! A replica behind a bad line: requests and answers are lost, come twice or come late, where it is told to.
//!
//! Nothing is drawn here: a fault is asked for, and meets the next request of its kind. Whoever wants random
//! faults draws them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use sync_runtime::change::{Change, State};
use sync_runtime::record::{Id, Record};
use sync_runtime::replica::{
    Caller, Description, Diff, Exchange, Exchanged, Outcome, Pull, Pulled, PushPage, RemoteWrite, Replica,
    Tell, Update, Wanted, Watching,
};
use sync_runtime::schema::{ModelSchema, Models};
use sync_runtime::version::{Checkpoint, ReplicaId};
use sync_runtime::{AsReplica, BoxFuture, Engine, Error, ErrorKind, Result};

/// A kind of request, named after its method of [`Replica`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Request {
    /// [`Replica::describe`].
    Describe,
    /// [`Replica::exchange`].
    Exchange,
    /// [`Replica::changes`].
    Changes,
    /// [`Replica::diff`].
    Diff,
    /// [`Replica::create_updates`].
    CreateUpdates,
    /// [`Replica::bulk_update`].
    BulkUpdate,
    /// [`Replica::checkpoint`].
    Checkpoint,
    /// [`Replica::read`].
    Read,
    /// [`Replica::write`].
    Write,
    /// [`Replica::watch`].
    Watch,
}

/// What happens to a request on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LineFault {
    /// It never arrives. The caller is told [`ErrorKind::Unreachable`].
    LoseRequest,
    /// It arrives and is done, but the caller is told [`ErrorKind::Unreachable`].
    LoseAnswer,
    /// It arrives twice; the caller gets the second answer.
    Repeat,
    /// The caller is told [`ErrorKind::Unreachable`]; it arrives when [`FlakyReplica::deliver_late`] is called.
    /// Only an exchange can be late; any other request is lost.
    Late,
}

type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// What is told of a line, and what it has seen.
#[derive(Default)]
struct Line {
    down: bool,
    faults: Vec<(Request, VecDeque<LineFault>)>,
    before: Vec<(Request, Hook)>,
    after: Vec<(Request, Hook)>,
    requests: Vec<Request>,
    pages: Vec<PushPage>,
    late: Vec<(Caller, Exchange)>,
    /// Who calls from now on.
    caller: Option<Caller>,
}

/// A replica that wraps another as a bad line would. Clones are the same line.
///
/// It hides the engine behind it, as a network does; so a workspace talks to it as to a remote replica.
///
/// ```
/// use sync_runtime::{Workspace, prelude::*};
/// use sync_testkit::flaky::{FlakyReplica, LineFault, Request};
///
/// # #[derive(Debug, Clone, PartialEq, Syncable)]
/// # struct Todo { #[sync(id)] id: String, title: String }
/// # async fn example(phone: Workspace, server: Workspace) -> sync_runtime::Result<()> {
/// let line = FlakyReplica::new(&server);
/// line.next(Request::Exchange, LineFault::LoseAnswer);
/// assert!(phone.sync(&line).await.is_err());
/// assert!(phone.sync(&line).await.is_ok());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FlakyReplica {
    inner: Arc<dyn Replica>,
    caller: Option<Caller>,
    most: usize,
    line: Arc<Mutex<Line>>,
}

impl fmt::Debug for FlakyReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FlakyReplica").field(&self.inner).finish()
    }
}

impl FlakyReplica {
    /// A line to this replica, good until it is told otherwise.
    pub fn new(replica: &dyn AsReplica) -> Self {
        FlakyReplica { inner: replica.to_replica(), caller: None, most: usize::MAX, line: Arc::default() }
    }

    /// The same line, but whoever calls over it is this caller to the replica, as a server's policy would have it.
    pub fn calling_as(self, caller: Caller) -> Self {
        FlakyReplica { caller: Some(caller), ..self }
    }

    /// The same line, but a page whose records have more bytes than this ([`sync_runtime::Record::size`]) is refused unread,
    /// as something between a device and its server may do.
    pub fn taking_at_most(self, bytes: usize) -> Self {
        FlakyReplica { most: bytes, ..self }
    }

    /// The next request of this kind that has no fault yet has this one.
    pub fn next(&self, request: Request, fault: LineFault) {
        let mut line = self.line();
        match line.faults.iter_mut().find(|(of, _)| *of == request) {
            Some((_, faults)) => faults.push_back(fault),
            None => line.faults.push((request, VecDeque::from([fault]))),
        }
    }

    /// From now on whoever calls over this line, and its clones, is this caller: what somebody may do has changed.
    pub fn calls_as(&self, caller: Caller) {
        self.line().caller = Some(caller);
    }

    /// Whether every request is lost from now on.
    pub fn down(&self, down: bool) {
        self.line().down = down;
    }

    /// Whether every request is lost.
    pub fn is_down(&self) -> bool {
        self.line().down
    }

    /// Runs this once, just before the next request of this kind arrives.
    pub fn before(&self, request: Request, hook: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static) {
        self.line().before.push((request, Box::new(hook)));
    }

    /// Runs this once, just after the next request of this kind was done and before its answer is given.
    pub fn after(&self, request: Request, hook: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static) {
        self.line().after.push((request, Box::new(hook)));
    }

    /// The requests that were made so far, in order, lost ones included.
    pub fn requests(&self) -> Vec<Request> {
        self.line().requests.clone()
    }

    /// The pages that were pushed so far, in order, lost ones included.
    pub fn pages(&self) -> Vec<PushPage> {
        self.line().pages.clone()
    }

    /// Lets the late exchanges arrive now, in the order in which they were sent; gives their answers, which
    /// nobody waits for any more.
    pub async fn deliver_late(&self) -> Vec<Result<Exchanged>> {
        let late = std::mem::take(&mut self.line().late);
        let mut answers = Vec::with_capacity(late.len());
        for (caller, exchange) in late {
            answers.push(self.inner.exchange(&self.caller(&caller), exchange).await);
        }
        answers
    }

    fn caller(&self, caller: &Caller) -> Caller {
        let now = self.line().caller.clone();
        now.or_else(|| self.caller.clone()).unwrap_or_else(|| caller.clone())
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, request: Request) -> Option<LineFault> {
        let mut line = self.line();
        line.requests.push(request);
        if line.down {
            return Some(LineFault::LoseRequest);
        }
        line.faults.iter_mut().find(|(of, _)| *of == request)?.1.pop_front()
    }

    async fn hook(&self, request: Request, of: fn(&mut Line) -> &mut Vec<(Request, Hook)>) {
        let hook = {
            let mut line = self.line();
            let hooks = of(&mut line);
            hooks.iter().position(|(kind, _)| *kind == request).map(|place| hooks.remove(place).1)
        };
        if let Some(hook) = hook {
            hook().await;
        }
    }

    /// Makes a call as the line is just now.
    async fn pass<'a, T>(
        &self,
        request: Request,
        call: impl Fn() -> BoxFuture<'a, Result<T>> + Send,
    ) -> Result<T> {
        let fault = self.fault(request);
        let lost = |what: &str| {
            Error::new(ErrorKind::Unreachable, format!("the {what} of {request:?} was lost on the line"))
        };
        if matches!(fault, Some(LineFault::LoseRequest | LineFault::Late)) {
            return Err(lost("request"));
        }
        self.hook(request, |line| &mut line.before).await;
        let first = call();
        let mut answer = first.await;
        if fault == Some(LineFault::Repeat) {
            let second = call();
            answer = second.await;
        }
        self.hook(request, |line| &mut line.after).await;
        if fault == Some(LineFault::LoseAnswer) {
            return Err(lost("answer"));
        }
        answer
    }
}

#[sync_runtime::async_trait]
impl Replica for FlakyReplica {
    async fn describe(&self, caller: &Caller) -> Result<Description> {
        let caller = &self.caller(caller);
        self.pass(Request::Describe, || self.inner.describe(caller)).await
    }

    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        let caller = &self.caller(caller);
        let updates = exchange.push.iter().flat_map(|push| &push.page.updates);
        let bytes: usize = updates.filter_map(|update| update.state.record.as_ref()).map(Record::size).sum();
        if bytes > self.most {
            return Err(Error::new(ErrorKind::TooLarge, format!("{bytes} bytes; {} pass here", self.most)));
        }
        {
            let mut line = self.line();
            line.pages.extend(exchange.push.clone());
            let faults = line.faults.iter().find(|(of, _)| *of == Request::Exchange);
            if faults.is_some_and(|(_, faults)| faults.front() == Some(&LineFault::Late)) && !line.down {
                line.late.push((caller.clone(), exchange.clone()));
            }
        }
        self.pass(Request::Exchange, || self.inner.exchange(caller, exchange.clone())).await
    }

    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        let caller = &self.caller(caller);
        self.pass(Request::Changes, || self.inner.changes(caller, pull.clone())).await
    }

    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        let caller = &self.caller(caller);
        self.pass(Request::Diff, || self.inner.diff(caller, changes.clone())).await
    }

    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        let caller = &self.caller(caller);
        self.pass(Request::CreateUpdates, || self.inner.create_updates(caller, deltas.clone())).await
    }

    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        let caller = &self.caller(caller);
        self.pass(Request::BulkUpdate, || self.inner.bulk_update(caller, from, updates.clone())).await
    }

    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        let caller = &self.caller(caller);
        self.pass(Request::Checkpoint, || self.inner.checkpoint(caller)).await
    }

    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        let caller = &self.caller(caller);
        self.pass(Request::Read, || self.inner.read(caller, schema, wanted.clone())).await
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        let caller = &self.caller(caller);
        self.pass(Request::Write, || self.inner.write(caller, writes.clone())).await
    }

    async fn watch(&self, caller: &Caller, watch: Watching, tell: Tell<'_>) -> Result<()> {
        let caller = &self.caller(caller);
        self.pass(Request::Watch, || self.inner.watch(caller, watch, tell)).await
    }

    fn models(&self) -> Option<&Models> {
        None
    }

    fn engine(&self) -> Option<&Engine> {
        None
    }
}

/// The record ids of a pushed page, in order: what a test mostly wants to know of it.
pub fn ids_of(page: &PushPage) -> Vec<Id> {
    page.page.updates.iter().map(|update| update.state.change.id.clone()).collect()
}
