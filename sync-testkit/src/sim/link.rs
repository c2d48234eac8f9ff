//! The way from one replica to another: loses requests and answers, repeats requests, and brings them late.

use super::settings::Settings;
use super::world::{NETWORK, World};
use futures_channel::oneshot;
use std::fmt;
use std::sync::Arc;
use sync_runtime::change::{Change, State};
use sync_runtime::replica::{
    Caller, Description, Diff, Exchange, Exchanged, Outcome, Pull, Pulled, Pushed, RemoteWrite, Replica,
    Tell, Update, Wanted, Watching,
};
use sync_runtime::schema::{ModelSchema, Models};
use sync_runtime::version::{Checkpoint, ReplicaId};
use sync_runtime::{BoxFuture, Engine, Error, ErrorKind, Result};

/// The replica at the other end of a link, as the one at this end sees it.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) world: World,
    pub(crate) settings: Arc<Settings>,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({} to {})", self.from, self.to)
    }
}

/// What happens to one request.
struct Fate {
    /// Nobody gets it.
    lost: bool,
    /// The answer does not come back.
    unanswered: bool,
    /// How long it travels, and its answer.
    there: i64,
    back: i64,
    /// How long until it comes a second time.
    again: Option<i64>,
    /// How long the one who asked waits for an answer that does not come.
    patience: i64,
}

type Serve<T> = Arc<dyn Fn(Engine) -> BoxFuture<'static, Result<T>> + Send + Sync>;

fn unreachable(what: &str) -> Error {
    Error::new(ErrorKind::Unreachable, format!("the link: {what}"))
}

impl Link {
    fn fate(&self) -> Fate {
        let mut inner = self.world.lock();
        let settings = &self.settings;
        if inner.healed {
            return Fate { lost: false, unanswered: false, there: 0, back: 0, again: None, patience: 0 };
        }
        let longest = settings.delay * 1000;
        let random = &mut inner.random;
        // After everything that is on its way now, and a good deal of what is not.
        let late = |random: &mut super::random::Random| {
            random.between(longest, longest * 20 + settings.gap * 20_000)
        };
        let is_late = random.chance(settings.late);
        let again = random.chance(settings.repeated).then(|| match random.chance(500) {
            true => late(random),
            false => random.between(0, longest),
        });
        Fate {
            lost: random.chance(settings.lost_requests),
            unanswered: is_late || random.chance(settings.lost_answers),
            there: if is_late { late(random) } else { random.between(0, longest) },
            back: random.between(0, longest),
            again,
            patience: random.between(longest, longest * 4 + 1_000_000),
        }
    }

    /// Brings a request there and its answer back.
    async fn call<T: Send + 'static>(&self, what: &'static str, serve: Serve<T>) -> Result<T> {
        let fate = self.fate();
        self.world.sleep(0).await;
        let (answer, answered) = oneshot::channel();
        {
            let mut inner = self.world.lock();
            if inner.is_offline(self.from) || inner.is_offline(self.to) {
                return Err(unreachable("offline"));
            }
            inner.log(|| {
                let (from, to) = (self.from, self.to);
                let again = fate.again.map_or(String::new(), |after| format!(", again after {after} us"));
                let fates = match (fate.lost, fate.unanswered) {
                    (true, _) => "lost",
                    (_, true) => "answer lost",
                    _ => "good",
                };
                format!("{from} -> {to}: {what}, {fates}, {} us{again}", fate.there)
            });
            if let Some(after) = fate.again {
                let late = self.clone().deliver(after, serve.clone(), None);
                inner.spawn(NETWORK, late);
            }
            match (fate.lost, fate.unanswered) {
                (true, _) => drop(answer),
                (_, true) => {
                    let unanswered = self.clone().deliver(fate.there, serve, None);
                    inner.spawn(NETWORK, unanswered);
                    drop(answer);
                }
                _ => {
                    let asked = self.clone().deliver(fate.there, serve, Some(answer));
                    inner.spawn(NETWORK, asked);
                }
            }
        }
        match answered.await {
            Ok(answer) => {
                self.world.sleep(fate.back).await;
                answer
            }
            Err(_) => {
                self.world.sleep(fate.patience).await;
                Err(unreachable("no answer"))
            }
        }
    }

    /// Hands a request to the process that runs at the other end when it comes.
    async fn deliver<T: Send + 'static>(
        self,
        after: i64,
        serve: Serve<T>,
        answer: Option<oneshot::Sender<Result<T>>>,
    ) {
        if after > 0 {
            self.world.sleep(after).await;
        }
        let mut inner = self.world.lock();
        let offline = inner.is_offline(self.to);
        let Some(engine) = inner.processes[self.to].engine.clone().filter(|_| !offline) else {
            return;
        };
        let world = self.world.clone();
        inner.spawn(self.to, async move {
            let done = serve(engine).await;
            if let Some(answer) = answer {
                // Whoever asked may have crashed.
                let _ = answer.send(done);
            } else if let Err(error) = done {
                world.lock().log(|| format!("an answer that nobody gets: {error}"));
            }
        });
    }

    /// Tells the oracle what came to a replica.
    fn came<'a>(&self, to: usize, updates: impl IntoIterator<Item = &'a Update>) {
        let mut inner = self.world.lock();
        for update in updates {
            let verdict = inner.oracle.deliver(to, update);
            inner.check(verdict);
        }
    }

    fn came_back(&self, states: Vec<State>) {
        let updates: Vec<Update> = states.into_iter().map(|state| Update { state, based_on: None }).collect();
        self.came(self.from, &updates);
    }
}

fn states_of(outcomes: &[Outcome]) -> Vec<State> {
    let states = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Amended(state) | Outcome::Conflict(state) => Some((**state).clone()),
        _ => None,
    });
    states.collect()
}

/// One call as a future that owns what it needs, so that it can be served twice.
macro_rules! serve {
    ($engine:ident, ($($owned:ident),*), $call:expr) => {
        Arc::new(move |$engine: Engine| -> BoxFuture<'static, _> {
            $(let $owned = $owned.clone();)*
            Box::pin(async move { $call.await })
        })
    };
}

#[sync_runtime::async_trait]
impl Replica for Link {
    async fn describe(&self, caller: &Caller) -> Result<Description> {
        let caller = caller.clone();
        self.call("describe", serve!(engine, (caller), engine.describe(&caller))).await
    }

    async fn exchange(&self, caller: &Caller, exchange: Exchange) -> Result<Exchanged> {
        let (caller, this) = (caller.clone(), self.clone());
        let served: Serve<Exchanged> = Arc::new(move |engine: Engine| {
            let (caller, this, exchange) = (caller.clone(), this.clone(), exchange.clone());
            Box::pin(async move {
                if let Some(push) = &exchange.push {
                    this.came(this.to, &push.page.updates);
                }
                engine.exchange(&caller, exchange).await
            })
        });
        let exchanged = self.call("exchange", served).await?;
        self.world.lock().log(|| {
            let pulled = exchanged.pulled.as_ref().map(|pulled| match pulled {
                Pulled::Page(feed) => format!("{} through {}", feed.page.updates.len(), feed.checkpoint),
                Pulled::UnknownCheckpoint => "unknown checkpoint".to_owned(),
                Pulled::Purged => "purged".to_owned(),
            });
            format!("{} <- {}: {:?}, pulled {pulled:?}", self.from, self.to, exchanged.pushed)
        });
        if let Some(Pushed::Applied(outcomes)) = &exchanged.pushed {
            self.came_back(states_of(outcomes));
        }
        if let Some(Pulled::Page(feed)) = &exchanged.pulled {
            self.came(self.from, &feed.page.updates);
        }
        Ok(exchanged)
    }

    async fn changes(&self, caller: &Caller, pull: Pull) -> Result<Pulled> {
        let caller = caller.clone();
        self.call("changes", serve!(engine, (caller, pull), engine.changes(&caller, pull))).await
    }

    async fn diff(&self, caller: &Caller, changes: Vec<Change>) -> Result<Diff> {
        let caller = caller.clone();
        self.call("diff", serve!(engine, (caller, changes), engine.diff(&caller, changes))).await
    }

    async fn create_updates(&self, caller: &Caller, deltas: Vec<Change>) -> Result<Vec<Update>> {
        let caller = caller.clone();
        let served = serve!(engine, (caller, deltas), engine.create_updates(&caller, deltas));
        let updates: Vec<Update> = self.call("create updates", served).await?;
        self.came(self.from, &updates);
        Ok(updates)
    }

    async fn bulk_update(
        &self,
        caller: &Caller,
        from: Option<ReplicaId>,
        updates: Vec<Update>,
    ) -> Result<Vec<Outcome>> {
        let (caller, this) = (caller.clone(), self.clone());
        let served: Serve<Vec<Outcome>> = Arc::new(move |engine: Engine| {
            let (caller, this, updates) = (caller.clone(), this.clone(), updates.clone());
            Box::pin(async move {
                this.came(this.to, &updates);
                engine.bulk_update(&caller, from, updates).await
            })
        });
        let outcomes = self.call("bulk update", served).await?;
        self.came_back(states_of(&outcomes));
        Ok(outcomes)
    }

    async fn checkpoint(&self, caller: &Caller) -> Result<Checkpoint> {
        let caller = caller.clone();
        self.call("checkpoint", serve!(engine, (caller), engine.checkpoint(&caller))).await
    }

    async fn read(
        &self,
        caller: &Caller,
        schema: &'static ModelSchema,
        wanted: Wanted,
    ) -> Result<Vec<State>> {
        let caller = caller.clone();
        self.call("read", serve!(engine, (caller, wanted), engine.read(&caller, schema, wanted))).await
    }

    async fn write(&self, caller: &Caller, writes: Vec<RemoteWrite>) -> Result<Vec<State>> {
        let caller = caller.clone();
        self.call("write", serve!(engine, (caller, writes), engine.write(&caller, writes))).await
    }

    async fn watch(&self, _caller: &Caller, _watch: Watching, _tell: Tell<'_>) -> Result<()> {
        Err(Error::new(
            ErrorKind::Usage,
            "nobody keeps in sync in a simulation: a link carries calls, not events",
        ))
    }

    fn models(&self) -> Option<&Models> {
        None
    }

    fn engine(&self) -> Option<&Engine> {
        None
    }
}
