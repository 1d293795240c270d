//! One writer: a lease in ClickHouse, and the fence that makes it hold.
//!
//! A lease is claimed by an insert whose deduplication token is the number of its epoch: of many claims of one epoch
//! exactly one leaves its row. It is renewed while its holder lives; a claimant waits until it has seen no renewal
//! for the lease's length by its own monotonic clock, so that no two clocks are compared.
//!
//! Nobody trusts a holder to know that its lease has ended: it may have been stopped in the middle of an insert, or a
//! proxy may hold that insert. Every block carries its lease in a column, the tables have a constraint that refuses a
//! retired one, and a claimant first retires all leases before its own and then waits until no insert is under way
//! ([`super::verify::wait_for_inserts`]). Whatever arrives later of an earlier lease is refused as a whole.
//!
//! What is remembered of the store ([`StoredSeqs`]) lives in a [`Session`] and ends with it: when another one has claimed,
//! when ClickHouse was restarted, when it is another server.

use super::intent::Intents;
use super::stored_seqs::StoredSeqs;
use super::term::Term;
use super::verify;
use super::{SettleError, now_us};
use crate::block::BlockId;
use crate::schema::Layout;
use crate::store::{ServerRun, Store, StoreError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A time of being the writer, of one store.
pub struct Session {
    pub known: Arc<StoredSeqs>,
    term: Mutex<Term>,
    /// Held while the session claims its next term, and while the tables' newest term is held against its own: a claim
    /// of one's own between two reads would look like another one's.
    claiming: tokio::sync::Mutex<()>,
    /// None where servers take turns.
    run: Option<ServerRun>,
}

impl Session {
    /// The lease under which an insert is made now.
    pub fn term(&self) -> Term {
        *lock(&self.term)
    }
}

/// Who holds the newest epoch, as the tables say.
struct Current {
    epoch: u64,
    id: String,
    holder: String,
    renewed_ms: i64,
    released: bool,
}

/// What a claimant has seen of a holder, and since when it is unchanged.
#[derive(Default)]
pub struct Watching {
    seen: Option<(String, i64, Instant)>,
}

impl Watching {
    /// How long `current` has given no sign.
    fn silent(&mut self, current: &Current) -> Duration {
        match &self.seen {
            Some((id, renewed, since)) if *id == current.id && *renewed == current.renewed_ms => since.elapsed(),
            _ => {
                self.seen = Some((current.id.clone(), current.renewed_ms, Instant::now()));
                Duration::ZERO
            }
        }
    }
}

/// The lease as one process sees it. Clones share it.
#[derive(Clone)]
pub struct Lease {
    store: Store,
    /// Of the state folder: its lock proves that an earlier process of this name is gone.
    holder: Arc<str>,
    length: Duration,
    session: watch::Sender<Option<Arc<Session>>>,
    /// Who writes while this process does not, and the last lease that it held itself.
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    writer: String,
    own: Option<Term>,
    /// A claim of this process of which no answer says who has the epoch: its insert may have arrived, or arrive yet.
    claiming: Option<Term>,
}

impl Seen {
    /// The claim without an outcome, where `current` is it.
    fn claimed(&self, current: &Current) -> Option<Term> {
        self.claiming.filter(|claim| claim.epoch == current.epoch && claim.id.to_string() == current.id)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lease {
    pub fn new(store: Store, holder: &str, length: Duration) -> Self {
        let (session, seen) = (watch::Sender::new(None), Arc::default());
        Self { store, holder: holder.into(), length, session, seen }
    }

    /// The session, while this process is the writer.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    /// The session, once this process is the writer.
    pub async fn next_session(&self) -> Arc<Session> {
        let mut sessions = self.session.subscribe();
        loop {
            if let Some(session) = sessions.borrow_and_update().clone() {
                return session;
            }
            // Never an error: `self` has the sender.
            let _changed = sessions.changed().await;
        }
    }

    /// Whether `session` is the one of now.
    pub fn is_current(&self, session: &Arc<Session>) -> bool {
        self.session.borrow().as_ref().is_some_and(|current| Arc::ptr_eq(current, session))
    }

    /// One line on who writes.
    pub fn role(&self) -> String {
        match self.session() {
            Some(session) => format!("writer, epoch {}", session.term().epoch),
            None => format!("standby; {} writes", lock(&self.seen).writer),
        }
    }

    /// Becomes the writer if nobody else is: claims, fences, settles what is open. False while another one holds.
    pub async fn campaign(&self, watching: &mut Watching, intents: &Intents) -> Result<bool, SettleError> {
        let current = self.current().await?;
        let epoch = current.as_ref().map_or(0, |current| current.epoch);
        let mine = current.as_ref().is_some_and(|current| self.is_mine(current));
        if let Some(current) = current.as_ref().filter(|current| !current.released && !mine) {
            lock(&self.seen).writer.clone_from(&current.holder);
            if watching.silent(current) < self.length {
                return Ok(false);
            }
            tracing::warn!(holder = current.holder, "the weir-analytics that wrote gives no sign; taking over");
        }
        let Some(term) = self.claim(epoch + 1).await? else { return Ok(false) };
        let run = self.run().await?;
        self.fence(term).await?;
        let settled = verify::settle_all(&self.store, intents, term).await?;
        // What another one left half done has no intent here.
        if !(mine && settled.all_read) {
            verify::audit_recent(&self.store, term).await?;
        }
        let claiming = tokio::sync::Mutex::default();
        let session = Session { known: Arc::default(), term: Mutex::new(term), claiming, run };
        self.session.send_replace(Some(Arc::new(session)));
        tracing::info!(epoch = term.epoch, "this weir-analytics writes");
        Ok(true)
    }

    /// Whether the newest lease is of this state folder, so that its process is surely gone. After a lease of this
    /// process, a foreign one under its own name is that of a copy of the folder.
    fn is_mine(&self, current: &Current) -> bool {
        let seen = lock(&self.seen);
        let is_own = seen.own.is_none_or(|own| own.id.to_string() == current.id) || seen.claimed(current).is_some();
        *current.holder == *self.holder && is_own
    }

    /// Takes the lease from whoever has it, for a command; the writer goes on when it is released.
    pub async fn seize(&self) -> Result<Term, StoreError> {
        loop {
            let epoch = self.current().await?.map_or(0, |current| current.epoch);
            if let Some(term) = self.claim(epoch + 1).await? {
                self.fence(term).await?;
                return Ok(term);
            }
        }
    }

    /// A new term right after that of `session`, fenced: what the one before has under way is stored or refused.
    /// None when another one has claimed.
    pub async fn again(&self, session: &Arc<Session>) -> Result<Option<Term>, StoreError> {
        let Some(next) = self.claim_next(session).await? else {
            self.lost(session);
            return Ok(None);
        };
        self.fence(next).await?;
        Ok(Some(next))
    }

    /// None when another one has claimed.
    async fn claim_next(&self, session: &Session) -> Result<Option<Term>, StoreError> {
        let _claiming = session.claiming.lock().await;
        let term = session.term();
        let Some(current) = self.current().await? else { return Ok(None) };
        let next = match self.taken_up(&current) {
            Some(claimed) => Some(claimed),
            None if current.id == term.id.to_string() => self.claim(term.epoch + 1).await?,
            None => None,
        };
        if let Some(next) = next {
            *lock(&session.term) = next;
        }
        Ok(next)
    }

    /// The claim of this process whose outcome was not known, where `current` is it: it is known now.
    fn taken_up(&self, current: &Current) -> Option<Term> {
        let mut seen = lock(&self.seen);
        let claimed = seen.claimed(current)?;
        (seen.own, seen.claiming) = (Some(claimed), None);
        Some(claimed)
    }

    /// Whether the newest lease is that of `session`. Where that is a claim of its own whose outcome was not known, it
    /// becomes the term of the session.
    async fn is_newest(&self, session: &Session) -> Result<bool, StoreError> {
        let _claiming = session.claiming.lock().await;
        let Some(current) = self.current().await? else { return Ok(false) };
        let claimed = lock(&self.seen).claimed(&current);
        if let Some(term) = claimed {
            // First: a term that is in use has ended those before it.
            self.fence(term).await?;
            self.taken_up(&current);
            *lock(&session.term) = term;
        }
        Ok(current.id == session.term().id.to_string())
    }

    /// `session` is over.
    pub fn lost(&self, session: &Arc<Session>) {
        let ended = self.session.send_if_modified(|current| {
            let is = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, session));
            if is {
                *current = None;
            }
            is
        });
        if ended {
            "another weir-analytics, or nobody yet,".clone_into(&mut lock(&self.seen).writer);
            tracing::warn!(
                epoch = session.term().epoch,
                "the lease is lost: another one writes, or ClickHouse was restarted; standing by"
            );
        }
    }

    /// Whether what `session` remembers is still what the store has: nobody claimed since, and it is the same run of
    /// the same server. Ends the session if not.
    pub async fn confirm(&self, session: &Arc<Session>) -> Result<bool, StoreError> {
        let is_newest = self.is_newest(session).await?;
        let run = self.run().await?;
        let same_run = match (&session.run, &run) {
            (Some(one), Some(other)) => one.is(other),
            _ => true,
        };
        let holds = same_run && is_newest;
        if !holds {
            self.lost(session);
        }
        Ok(holds && self.is_current(session))
    }

    /// Renews, or campaigns, until it is dropped.
    pub async fn keep(self, intents: Arc<Intents>) {
        let mut watching = Watching::default();
        loop {
            tokio::time::sleep((self.length / 5).max(Duration::from_millis(100))).await;
            let done = match self.session() {
                Some(session) => self.renew_session(&session).await.map_err(SettleError::Store),
                None => self.campaign(&mut watching, &intents).await.map(drop),
            };
            if let Err(error) = done {
                // Nothing was seen: the holder's silence is not known to go on.
                watching = Watching::default();
                tracing::debug!(%error, "the lease could not be looked after; trying again");
            }
        }
    }

    async fn renew_session(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        if self.confirm(session).await? {
            self.renew(session.term(), false).await?;
        }
        Ok(())
    }

    /// Renews `term` until it is dropped: for a command, whose term nobody else changes. Often, for the lease that counts
    /// is that of who waits for it, and a command does not know how long that one is.
    pub async fn renew_always(self, term: Term) {
        loop {
            if let Err(error) = self.renew(term, false).await {
                tracing::debug!(%error, "the lease could not be renewed; trying again");
            }
            tokio::time::sleep((self.length / 5).min(Duration::from_millis(250))).await;
        }
    }

    /// Whether `term` is still the newest.
    pub async fn holds(&self, term: Term) -> Result<bool, StoreError> {
        Ok(self.current().await?.is_some_and(|current| current.id == term.id.to_string()))
    }

    /// A sign of life of the holder of `term`, or its last.
    pub async fn renew(&self, term: Term, released: bool) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO {} (lease, renewed, released) SELECT toUUID('{}'), now64(3, 'UTC'), {}",
            self.store.schema().all("lease_renewals"),
            term.id,
            u8::from(released)
        );
        self.store.execute(&sql).await
    }

    /// Hands the lease on at the end of this process.
    pub async fn release(&self) {
        let Some(session) = self.session() else { return };
        if let Err(error) = self.renew(session.term(), true).await {
            tracing::debug!(%error, "the lease could not be released; it runs out by itself");
        }
        self.session.send_replace(None);
    }

    async fn current(&self) -> Result<Option<Current>, StoreError> {
        let (leases, renewals) = (self.store.schema().all("leases"), self.store.schema().all("lease_renewals"));
        let sql = format!("SELECT epoch, toString(lease), holder FROM {leases} ORDER BY epoch DESC LIMIT 1");
        let Some((epoch, id, holder)) = self.store.rows::<(u64, String, String)>(&sql, &[]).await?.pop() else {
            return Ok(None);
        };
        let sql = format!(
            "SELECT toUnixTimestamp64Milli(max(renewed)), max(released) FROM {renewals} WHERE lease = {{lease:UUID}}"
        );
        let signs = self.store.rows::<(i64, u8)>(&sql, &[("lease", id.clone())]).await?.pop();
        let (renewed_ms, released) = signs.unwrap_or_default();
        Ok(Some(Current { epoch, id, holder, renewed_ms, released: released != 0 }))
    }

    /// Claims `epoch`; none when somebody else has it. After an error it may be this process's or not: the next claim of
    /// it is the same one.
    async fn claim(&self, epoch: u64) -> Result<Option<Term>, StoreError> {
        let term = {
            let mut seen = lock(&self.seen);
            let again = seen.claiming.filter(|claim| claim.epoch == epoch);
            *seen.claiming.insert(again.unwrap_or_else(|| Term { epoch, id: BlockId::new(now_us()) }))
        };
        let (id, leases) = (term.id, self.store.schema().all("leases"));
        let sql = format!(
            "INSERT INTO {leases} (epoch, lease, holder, claimed) \
             SETTINGS insert_deduplication_token = 'epoch-{epoch}', async_insert = 0 \
             SELECT toUInt64({epoch}), toUUID('{id}'), {{holder:String}}, now64(3, 'UTC')"
        );
        self.store.execute_with(&sql, &[("holder", self.holder.to_string())]).await?;
        // Every claim is answered with success; who has the epoch is read back.
        let sql = format!("SELECT toString(lease) FROM {leases} WHERE epoch = {epoch}");
        let found = self.store.rows::<String>(&sql, &[]).await?;
        let mut seen = lock(&self.seen);
        if found.is_empty() {
            return Ok(None);
        }
        seen.claiming = None;
        if found != [id.to_string()] {
            return Ok(None);
        }
        seen.own = Some(term);
        Ok(Some(term))
    }

    /// Ends what leases before `term` have under way: their inserts are refused from here on, those that had begun are
    /// waited for, and what they would have swapped in is dropped.
    async fn fence(&self, term: Term) -> Result<(), StoreError> {
        let schema = self.store.schema();
        let (leases, retired) = (schema.all("leases"), schema.all("retired_leases"));
        // Two statements: the table cannot be read by the insert that fills it.
        let sql = format!(
            "SELECT toString(lease) FROM (\
               SELECT lease FROM {leases} WHERE epoch < {} \
               UNION ALL SELECT toUUID('00000000-0000-0000-0000-000000000000') AS lease) \
             WHERE joinGet({}, 'retired', lease) = 0",
            term.epoch,
            schema.joined("retired_leases"),
        );
        let ended: Vec<_> =
            self.store.rows::<String>(&sql, &[]).await?.iter().map(|lease| format!("toUUID('{lease}')")).collect();
        if !ended.is_empty() {
            let sql =
                format!("INSERT INTO {retired} (lease, retired) SELECT arrayJoin([{}]), toUInt8(1)", ended.join(", "));
            self.store.execute(&sql).await?;
        }
        verify::wait_for_inserts(&self.store).await?;
        super::repair::drop_staging(&self.store).await
    }

    /// Which run of which server answers. On a cluster any replica may.
    async fn run(&self) -> Result<Option<ServerRun>, StoreError> {
        if !matches!(self.store.schema().layout, Layout::Single) {
            return Ok(None);
        }
        self.store.server_run().await
    }
}
