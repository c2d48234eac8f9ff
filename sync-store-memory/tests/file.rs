//! The store with a file: the conformance suite, and what happens to the file when processes, disks and bytes fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use sync_runtime::query::Selection;
use sync_runtime::schema::Model;
use sync_runtime::store::{Access, Expect, Feed, Room, Store, Write, transact};
use sync_runtime::version::ReplicaId;
use sync_runtime::{
    Error, ErrorKind, FieldSchema, FieldType, Id, ModelSchema, Models, Record, Result, Value,
};
use sync_store_memory::MemoryStore;
use sync_testkit::StoreFactory;
use uuid::Uuid;

/// A folder of its own, gone when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("syncable-memory-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Folder(folder)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Filed {
    folder: Folder,
    store: Option<MemoryStore>,
}

impl Filed {
    fn new() -> Self {
        Filed { folder: Folder::new(), store: None }
    }

    async fn opened(&mut self) -> Arc<dyn Store> {
        let store = MemoryStore::open_file(self.folder.journal()).await.expect("the file opens");
        assert_eq!(store.cut(), None);
        self.store = Some(store.clone());
        Arc::new(store)
    }
}

#[sync_runtime::async_trait]
impl StoreFactory for Filed {
    async fn open(&mut self) -> Arc<dyn Store> {
        self.opened().await
    }

    async fn reopen(&mut self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>> {
        self.store = None;
        drop(store);
        Some(self.opened().await)
    }

    fn reads_beside_a_writer(&self) -> bool {
        false
    }

    async fn write_untracked(
        &mut self,
        _: &Arc<dyn Store>,
        schema: &'static ModelSchema,
        id: &Id,
        record: Option<Record>,
    ) -> bool {
        let store = self.store.as_ref().expect("an open store");
        store.write_untracked(schema, id, record).await.expect("a prepared model");
        true
    }

    async fn make_unique(&mut self, _: &Arc<dyn Store>, _: &'static ModelSchema, _: usize) -> bool {
        false
    }
}

mod conformance {
    use super::Filed;
    sync_testkit::store_conformance!(Filed::new());
}

const TEXT: FieldSchema = FieldSchema::new("text", FieldType::Text);
static NOTE: ModelSchema = ModelSchema {
    name: "Note",
    table: "note",
    fields: &[FieldSchema { name: "id", ..TEXT }, TEXT],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};
static OTHER: ModelSchema = ModelSchema { name: "Other", table: "other", ..NOTE_FIELDS };
const NOTE_FIELDS: ModelSchema = ModelSchema {
    name: "",
    table: "",
    fields: &[FieldSchema { name: "id", ..TEXT }, TEXT],
    id: 0,
    on_delete: sync_runtime::OnDelete::Manual,
    adopt: false,
    removed: &[],
    scope: None,
};

fn models(schemas: &[&'static ModelSchema]) -> Models {
    let mut models = Models::default();
    schemas.iter().for_each(|&schema| models.add(Model { schema, check: |_| Ok(()) }));
    models
}

fn replica(n: u128) -> ReplicaId {
    ReplicaId(Uuid::from_u128(n))
}

fn block<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

fn open(path: &Path) -> Result<MemoryStore> {
    block(MemoryStore::open_file(path))
}

/// The store in this file, with [`NOTE`], under the name 1 if it has none.
fn prepared(path: &Path) -> MemoryStore {
    let store = open(path).expect("the file opens");
    block(store.prepare(&models(&[&NOTE]), replica(1))).expect("prepared");
    store
}

async fn save(
    store: &MemoryStore,
    access: Access,
    schema: &'static ModelSchema,
    id: &str,
    text: &str,
) -> Result<()> {
    let value = |text: &str| Some(Value::Text(text.to_owned()));
    let record = Some(Record::new(vec![value(id), value(text)]));
    let write = Write { schema, id: Id::Text(id.to_owned()), record, expect: Expect::Any };
    transact(store, access, move |t| Box::pin(async move { t.save(vec![write], 1_000).await }))
        .await
        .map(drop)
}

fn note(store: &MemoryStore, id: &str, text: &str) {
    block(save(store, Access::WRITE, &NOTE, id, text)).expect("a commit");
}

/// All there is, as text.
fn shown(store: &MemoryStore, schema: &'static ModelSchema) -> String {
    let shown = transact(store, Access::READ, move |t| {
        Box::pin(async move {
            let feed = t.feed(&Feed { data: true, schema: Some(schema), ..Feed::after(0) }).await?;
            let records = t.select(schema, &Selection::default()).await?;
            let positions: Vec<_> = feed.iter().map(|state| (state.change.position, &state.record)).collect();
            let notes = t.notes(Room::Peer, "").await?;
            Ok(format!("{} {positions:?} {records:?} {notes:?}", t.newest().await?))
        })
    });
    block(shown).expect("a read")
}

fn name(store: &MemoryStore) -> ReplicaId {
    block(transact(store, Access::READ, |t| Box::pin(async move { t.replica().await }))).expect("a name")
}

#[test]
fn a_torn_tail_is_cut_off_and_reported() {
    let folder = Folder::new();
    let path = folder.journal();
    let store = prepared(&path);
    note(&store, "a", "first");
    let before = shown(&store, &NOTE);
    let whole = fs::read(&path).expect("the journal").len();
    note(&store, "b", "second");
    drop(store);
    let bytes = fs::read(&path).expect("the journal");
    for len in whole..bytes.len() {
        fs::write(&path, &bytes[..len]).expect("a torn journal");
        let store = prepared(&path);
        let cut = store.cut();
        assert_eq!(cut.map_or(0, |cut| cut.bytes), (len - whole) as u64, "torn at {len}");
        assert!(cut.is_none_or(|cut| cut.kept_in.is_none()));
        assert_eq!(shown(&store, &NOTE), before, "torn at {len}");
        assert_eq!(name(&store), replica(1), "nothing was lost that anybody had seen");
        note(&store, "c", "after");
        let after = shown(&store, &NOTE);
        drop(store);
        let store = prepared(&path);
        assert_eq!((store.cut(), shown(&store, &NOTE)), (None, after));
    }
    assert_eq!(folder.names(), ["journal", "journal.lock"]);
}

#[test]
fn an_end_that_never_reached_the_disk_is_cut_off() {
    let folder = Folder::new();
    let path = folder.journal();
    let store = prepared(&path);
    note(&store, "a", "first");
    let before = shown(&store, &NOTE);
    let whole = fs::read(&path).expect("the journal");
    note(&store, "b", "second");
    drop(store);
    let full = fs::read(&path).expect("the journal");
    // The system had made the file longer, but had not written what stands there, or not all of it.
    let zeros = [whole.clone(), vec![0; 5_000]].concat();
    let half = [&full[..full.len() - 20], &[0; 20]].concat();
    for bytes in [zeros, half] {
        fs::write(&path, bytes).expect("a torn journal");
        let store = prepared(&path);
        assert!(store.cut().is_some_and(|cut| cut.kept_in.is_none()), "{:?}", store.cut());
        assert_eq!(shown(&store, &NOTE), before);
        assert_eq!(name(&store), replica(1));
    }
}

#[test]
fn damage_in_the_middle_is_kept_aside_and_makes_a_new_replica() {
    let folder = Folder::new();
    let path = folder.journal();
    let store = prepared(&path);
    note(&store, "a", "first");
    let before = shown(&store, &NOTE);
    let whole = fs::read(&path).expect("the journal").len();
    for n in 0..5 {
        note(&store, "b", &n.to_string());
    }
    drop(store);
    let good = fs::read(&path).expect("the journal");
    // In the length, in a checksum, in the head's own checksum, in the payload.
    for place in [0, 5, 9, 30] {
        let mut bytes = good.clone();
        bytes[whole + place] ^= 0x10;
        fs::write(&path, &bytes).expect("a damaged journal");
        let store = open(&path).expect("the rest opens");
        block(store.prepare(&models(&[&NOTE]), replica(2))).expect("prepared");
        let cut = store.cut().expect("something was cut off");
        assert_eq!(cut.bytes, (good.len() - whole) as u64);
        let kept = cut.kept_in.as_ref().expect("it is kept");
        assert_eq!(fs::read(kept).expect("the file beside"), bytes[whole..]);
        fs::remove_file(kept).expect("the file beside");
        assert_eq!(shown(&store, &NOTE), before);
        assert_eq!(name(&store), replica(2), "another history");
        drop(store);
        assert_eq!(name(&prepared(&path)), replica(2));
    }
}

#[test]
fn no_flipped_bit_is_taken_for_data() {
    let folder = Folder::new();
    let path = folder.journal();
    let store = prepared(&path);
    let mut states = vec![shown(&store, &NOTE)];
    for n in 0..3 {
        note(&store, "a", &n.to_string());
        states.push(shown(&store, &NOTE));
    }
    drop(store);
    let good = fs::read(&path).expect("the journal");
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        fs::write(&path, &bytes).expect("a damaged journal");
        match open(&path) {
            Ok(store) => {
                block(store.prepare(&models(&[&NOTE]), replica(1))).expect("prepared");
                assert!(states.contains(&shown(&store, &NOTE)), "bit {} of byte {place}", place % 8);
                assert!(store.cut().is_some(), "byte {place}");
            }
            // Only the first line makes it another program's file, which is left alone.
            Err(_) => {
                assert!(place < 26, "byte {place}");
                assert_eq!(fs::read(&path).expect("the file"), bytes);
            }
        }
    }
}

#[test]
fn a_foreign_file_is_refused_by_name_and_left_alone() {
    let folder = Folder::new();
    let contents: [&[u8]; 4] = [b"SQLite format 3\0", b"x", b"syncable memory jourmal 1\n", &[0; 100]];
    for content in contents {
        fs::write(folder.journal(), content).expect("a file");
        let error = open(&folder.journal()).expect_err("a foreign file");
        assert_eq!(error.kind(), ErrorKind::Storage);
        let message = error.to_string();
        assert!(message.contains(&folder.journal().display().to_string()), "{message}");
        assert!(message.contains("name another file"), "{message}");
        assert_eq!(fs::read(folder.journal()).expect("the file"), content);
        assert_eq!(folder.names(), ["journal"], "no lock file beside it");
    }
}

#[test]
fn a_newer_journal_is_refused_by_name_and_left_alone() {
    let folder = Folder::new();
    fs::write(folder.journal(), b"syncable memory journal 2\nsomething").expect("a file");
    let error = open(&folder.journal()).expect_err("a newer version");
    assert_eq!(error.kind(), ErrorKind::Incompatible);
    assert!(error.to_string().contains("update the program"), "{error}");
    assert_eq!(fs::read(folder.journal()).expect("the file"), b"syncable memory journal 2\nsomething");
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = Folder::new();
    for path in [folder.0.clone(), folder.0.join("missing").join("journal")] {
        let error = open(&path).expect_err("no file can be there");
        assert_eq!(error.kind(), ErrorKind::Storage);
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_journal_that_was_cut_while_it_was_begun_is_begun_again() {
    let folder = Folder::new();
    for content in [&b""[..], b"sync", b"syncable memory journal 1"] {
        fs::write(folder.journal(), content).expect("a file");
        let store = prepared(&folder.journal());
        assert_eq!(store.cut(), None);
        note(&store, "a", "x");
        let before = shown(&store, &NOTE);
        drop(store);
        assert_eq!(shown(&prepared(&folder.journal()), &NOTE), before);
    }
}

#[test]
fn one_store_at_a_time_uses_a_file() {
    let folder = Folder::new();
    let store = prepared(&folder.journal());
    let another_handle = store.clone();
    drop(store);
    let error = open(&folder.journal()).expect_err("open already");
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.is_retryable() && error.to_string().contains("journal.lock"), "{error}");
    let other = child("child_opens").env("JOURNAL", folder.journal()).output().expect("a child");
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(said.contains("opened: false"), "another process: {said}");
    drop(another_handle);
    let other = child("child_opens").env("JOURNAL", folder.journal()).output().expect("a child");
    let said = String::from_utf8_lossy(&other.stdout).into_owned();
    assert!(said.contains("opened: true"), "another process: {said}");
    open(&folder.journal()).expect("free again");
}

#[test]
fn a_copy_has_everything_but_the_file() {
    let folder = Folder::new();
    let store = prepared(&folder.journal());
    note(&store, "a", "x");
    drop(store);
    // Copied before its model was prepared, so from what the file holds.
    let store = open(&folder.journal()).expect("the file opens");
    let copy = block(store.copy()).expect("a copy");
    for store in [&store, &copy] {
        block(store.prepare(&models(&[&NOTE]), replica(2))).expect("prepared");
    }
    assert_eq!((name(&copy), shown(&copy, &NOTE)), (replica(1), shown(&store, &NOTE)));
    let before = fs::read(folder.journal()).expect("the journal");
    note(&copy, "b", "only here");
    assert_eq!(fs::read(folder.journal()).expect("the journal"), before);
    assert!(!shown(&store, &NOTE).contains("only here"));
}

#[test]
fn what_is_rolled_back_leaves_no_byte() {
    let folder = Folder::new();
    let store = prepared(&folder.journal());
    note(&store, "a", "x");
    let before = fs::read(folder.journal()).expect("the journal");
    let failed: Result<()> = block(transact(&store, Access::WRITE.durable(), |t| {
        Box::pin(async move {
            t.note(Room::Peer, "key", Some(vec![1])).await?;
            Err(Error::new(ErrorKind::Usage, "on purpose"))
        })
    }));
    assert!(failed.is_err());
    shown(&store, &NOTE);
    assert_eq!(fs::read(folder.journal()).expect("the journal"), before);
}

#[test]
fn a_commit_costs_what_it_changed() {
    let folder = Folder::new();
    let store = prepared(&folder.journal());
    let grown = |text: &str| {
        let before = fs::metadata(folder.journal()).expect("the journal").len();
        note(&store, "a", text);
        fs::metadata(folder.journal()).expect("the journal").len() - before
    };
    let alone = grown("x");
    for n in 0..500 {
        note(&store, &n.to_string(), "another");
    }
    assert!(grown("y") < alone + 100, "the size of the store does not matter");
}

#[test]
fn a_journal_is_compacted_when_it_has_grown() {
    let folder = Folder::new();
    let path = folder.journal();
    {
        let store = open(&path).expect("the file opens");
        block(store.prepare(&models(&[&NOTE, &OTHER]), replica(1))).expect("prepared");
        block(save(&store, Access::WRITE, &OTHER, "sleeps", "through it")).expect("a commit");
    }
    // From here on nobody knows the model of that record.
    let store = prepared(&path);
    block(transact(&store, Access::WRITE, |t| {
        Box::pin(async move { t.note(Room::Peer, "key", Some(vec![7; 100])).await })
    }))
    .expect("a commit");
    let text = "x".repeat(10_000);
    let mut largest = 0;
    for n in 0..1_000 {
        note(&store, &(n % 10).to_string(), &format!("{n}{text}"));
        largest = largest.max(fs::metadata(&path).expect("the journal").len());
    }
    assert!(largest > 1_000_000, "it did grow: {largest}");
    assert!(largest < 2_000_000, "ten million bytes were written, and {largest} stood in the file");
    let before = shown(&store, &NOTE);
    drop(store);
    assert_eq!(folder.names(), ["journal", "journal.lock"]);
    // What a compaction leaves behind that is killed.
    fs::write(folder.0.join("journal.compacting"), b"half").expect("a file");
    let store = prepared(&path);
    assert_eq!(shown(&store, &NOTE), before);
    assert_eq!(folder.names(), ["journal", "journal.lock"]);
    drop(store);
    let store = open(&path).expect("the file opens");
    block(store.prepare(&models(&[&OTHER, &NOTE]), replica(2))).expect("prepared");
    assert!(shown(&store, &OTHER).contains("through it"));
    assert_eq!(name(&store), replica(1));
}

#[test]
fn a_durable_commit_outlives_its_caller() {
    let folder = Folder::new();
    let store = prepared(&folder.journal());
    let mut cut = 0;
    for n in 0..50 {
        let id = format!("durable {n}");
        let mut caller = Box::pin(save(&store, Access::WRITE.durable(), &NOTE, &id, "x"));
        // Where the disk was quicker than this thread, nothing is cut.
        cut += u32::from(caller.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(caller);
        assert!(shown(&store, &NOTE).contains(&id));
    }
    assert!(cut > 0, "none waited for the disk, so this showed nothing");
    note(&store, "b", "after");
    let before = shown(&store, &NOTE);
    drop(store);
    assert_eq!(shown(&prepared(&folder.journal()), &NOTE), before);
}

/// This test program again, to run one of the children below.
fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([name, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command
}

fn childs_journal() -> PathBuf {
    std::env::var_os("JOURNAL").expect("set by the parent").into()
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_opens() {
    println!("opened: {}", open(&childs_journal()).is_ok());
}

#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_commits_until_it_is_killed() {
    let store = prepared(&childs_journal());
    let text = "x".repeat(5_000);
    for n in 0..1_000_000 {
        note(&store, &(n % 50).to_string(), &format!("{n} {text}"));
        println!("committed {}", n + 1);
    }
}

#[test]
fn every_commit_survives_kill_9() {
    for round in 0..3 {
        let folder = Folder::new();
        let mut killed = child("child_commits_until_it_is_killed")
            .env("JOURNAL", folder.journal())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut told = 0;
        // Past the first compaction.
        for line in BufReader::new(killed.stdout.take().expect("its output")).lines() {
            let line = line.expect("a line");
            if let Some((_, count)) = line.split_once("committed ") {
                told = count.trim().parse::<i64>().expect("a count");
            }
            if told >= 300 + round * 41 {
                break;
            }
        }
        killed.kill().expect("killed");
        killed.wait().expect("gone");
        let store = prepared(&folder.journal());
        let newest = block(transact(&store, Access::READ, |t| Box::pin(async move { t.newest().await })));
        assert!(newest.expect("a read") >= told, "told of {told} commits");
        assert!(store.cut().is_none_or(|cut| cut.kept_in.is_none()));
    }
}

#[cfg(unix)]
#[test]
#[ignore = "run by another test, in a process of its own"]
fn child_fills_the_disk() {
    let store = prepared(&childs_journal());
    let mut commits = 0;
    let error = loop {
        let before = shown(&store, &NOTE);
        match block(save(&store, Access::WRITE, &NOTE, &commits.to_string(), &"x".repeat(3_000))) {
            Ok(()) => commits += 1,
            Err(error) => {
                assert_eq!(shown(&store, &NOTE), before, "memory is as it was");
                break error;
            }
        }
        assert!(commits < 1_000, "the limit does not hold");
    };
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.to_string().contains("journal"), "{error}");
    note(&store, "small", "still fits");
    println!("filled after {commits}");
}

/// A limit on the size of files stands for the end of the disk: the system writes what fits, then refuses.
#[cfg(unix)]
#[test]
fn a_full_disk_fails_the_transaction_and_nothing_else() {
    let folder = Folder::new();
    let inner = child("child_fills_the_disk");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .env("JOURNAL", folder.journal())
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let commits = said.lines().find_map(|line| line.split_once("filled after ")).expect("it says so");
    let commits: u64 = commits.1.trim().parse().expect("a count");
    let store = prepared(&folder.journal());
    assert_eq!(store.cut(), None, "what was written of the failed commit is gone");
    let count = block(transact(&store, Access::READ, |t| {
        Box::pin(async move { t.count(&NOTE, &sync_runtime::query::Filter::All).await })
    }));
    assert_eq!(count.expect("a read"), commits + 1);
}

/// The start that finds damage may end before it has taken another name: the next one finds it again.
#[test]
fn damage_is_noticed_after_a_start_that_was_cut() {
    let folder = Folder::new();
    let path = folder.journal();
    let store = prepared(&path);
    note(&store, "a", "first");
    let whole = fs::read(&path).expect("the journal").len();
    for n in 0..5 {
        note(&store, "b", &n.to_string());
    }
    drop(store);
    let mut bytes = fs::read(&path).expect("the journal");
    bytes[whole + 30] ^= 0x10;
    fs::write(&path, &bytes).expect("a damaged journal");
    // The process ends, or a model does not fit, before the store is prepared.
    let store = open(&path).expect("the rest opens");
    assert!(store.cut().is_some_and(|cut| cut.kept_in.is_some()));
    drop(store);
    let store = open(&path).expect("it opens");
    block(store.prepare(&models(&[&NOTE]), replica(2))).expect("prepared");
    assert_eq!(name(&store), replica(2), "another history: {:?}", store.cut());
}
