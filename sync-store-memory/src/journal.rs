//! The journal: an append-only file of checksummed entries, one for each commit.
//!
//! Knows files and bytes; what an entry says is [`crate::file`]'s. The layout is a line that names the format and its
//! version, then entries: the payload's length, its CRC-32, the CRC-32 of those eight bytes, the payload. A writer
//! holds the lock file beside it, which stays when the journal is replaced by a compacted one.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sync_runtime::{Error, ErrorKind, Result};

/// The first line of every version.
const NAME: &[u8] = b"syncable memory journal ";
/// The first line of this one.
const FIRST_LINE: &[u8] = b"syncable memory journal 1\n";
/// The bytes before an entry's payload.
const HEAD: usize = 12;
/// A journal below this size is not worth compacting.
const SMALL: u64 = 1 << 20;
/// How many times its size after the last compaction a journal may grow.
const GROWTH: u64 = 4;

/// How long to wait for whoever has the file open: long enough for a process that is just ending, and for a child
/// process, which for a moment has every file of its parent.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long to wait between two tries.
const BREATH: Duration = Duration::from_millis(5);

/// What was cut off a journal at opening, because it was not whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// How many bytes.
    pub bytes: u64,
    /// `None` for the torn end of a write that nobody was told had succeeded; nothing was lost then.
    ///
    /// Else the file was damaged in the middle, commits may be lost, and the store takes a new replica id, so that its
    /// peers bring back what it had sent them. What was cut off is appended to this file.
    pub kept_in: Option<PathBuf>,
}

/// An open journal, which nobody else can open.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    len: u64,
    /// Up to where it is known to be on the disk.
    synced: u64,
    compact_at: u64,
    /// Set when what the file holds is not known any more.
    broken: bool,
    _lock: File,
}

impl Journal {
    /// Opens or makes a journal, and gives the payload of each entry to `entry` in order.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if it is open elsewhere, [`ErrorKind::Incompatible`] if it is of a newer version or `entry`
    /// says so, [`ErrorKind::Storage`] if the file is none of ours or cannot be read. The file is left as it is then.
    pub(crate) fn open(
        path: &Path,
        mut entry: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<(Self, Option<Cut>)> {
        // Looked at before a lock file is made beside something that is none of our business.
        match File::open(path) {
            Ok(file) => drop(check_first_line(path, file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(path, "opening", error)),
        }
        let lock = lock(path)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| failed(path, "opening", error))?;
        let begun =
            check_first_line(path, file.try_clone().map_err(|error| failed(path, "opening", error))?)?;
        let mut journal = Journal {
            file,
            path: path.to_owned(),
            len: FIRST_LINE.len() as u64,
            synced: 0,
            compact_at: SMALL,
            broken: false,
            _lock: lock,
        };
        // Left by a compaction that was cut.
        let _ = std::fs::remove_file(journal.beside("compacting"));
        let mut cut = None;
        if begun {
            cut = journal.read(&mut entry)?;
        } else {
            journal.begin().map_err(|error| failed(path, "beginning", error))?;
        }
        journal.compact_at = SMALL.max(journal.len.saturating_mul(2));
        Ok((journal, cut))
    }

    /// Where it ends.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether something in it may not be on the disk yet.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.synced < self.len
    }

    /// Whether it has grown so much that it should be compacted.
    pub(crate) fn is_overgrown(&self) -> bool {
        self.len >= self.compact_at
    }

    /// Appends one entry; it is in the file when this returns, and gone again if it fails.
    pub(crate) fn append(&mut self, payload: &[u8]) -> Result<()> {
        self.usable()?;
        let entry = framed(&self.path, payload)?;
        let wrote = self.file.seek(SeekFrom::Start(self.len)).and_then(|_| self.file.write_all(&entry));
        match wrote {
            Ok(()) => {
                self.len += entry.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.cut_back(self.len);
                Err(failed(&self.path, "writing", error))
            }
        }
    }

    /// Waits until everything is on the disk. If that fails, the journal is cut back to where it was good, and takes
    /// nothing more: what the system had not written yet, it may have dropped.
    pub(crate) fn sync(&mut self, good: u64) -> Result<()> {
        self.usable()?;
        match self.file.sync_data() {
            Ok(()) => {
                self.synced = self.len;
                Ok(())
            }
            Err(error) => {
                self.cut_back(good);
                self.broken = true;
                Err(failed(&self.path, "syncing", error))
            }
        }
    }

    /// Replaces the journal by one of these payloads, all at once. Where that fails, the old one stays.
    pub(crate) fn compact(&mut self, payloads: impl Iterator<Item = Result<Vec<u8>>>) -> Result<()> {
        self.usable()?;
        // Not tried again at once if it fails: a full disk stays full for a while.
        self.compact_at = self.len.saturating_mul(2);
        let path = self.beside("compacting");
        match self.write_compacted(&path, payloads) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn write_compacted(
        &mut self,
        path: &Path,
        payloads: impl Iterator<Item = Result<Vec<u8>>>,
    ) -> Result<()> {
        let compacting = |error| failed(path, "compacting into", error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        let mut writer = BufWriter::with_capacity(1 << 16, file.map_err(compacting)?);
        writer.write_all(FIRST_LINE).map_err(compacting)?;
        let mut len = FIRST_LINE.len() as u64;
        for payload in payloads {
            let entry = framed(&self.path, &payload?)?;
            writer.write_all(&entry).map_err(compacting)?;
            len += entry.len() as u64;
        }
        let file = writer.into_inner().map_err(|error| compacting(error.into_error()))?;
        file.sync_all().map_err(compacting)?;
        std::fs::rename(path, &self.path).map_err(compacting)?;
        // From here on the new file is the journal, whatever happens.
        (self.file, self.len) = (file, len);
        self.compact_at = SMALL.max(len.saturating_mul(GROWTH));
        match sync_folder(&self.path) {
            Ok(()) => self.synced = len,
            // Nobody may be told that it is durable until a later sync says so.
            Err(_) => self.synced = 0,
        }
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(FIRST_LINE)?;
        self.file.sync_all()?;
        sync_folder(&self.path)?;
        self.synced = self.len;
        Ok(())
    }

    /// Reads all entries and cuts off what is not whole.
    fn read(&mut self, entry: &mut impl FnMut(&[u8]) -> Result<()>) -> Result<Option<Cut>> {
        let path = self.path.clone();
        let reading = |error| failed(&path, "reading", error);
        let end = self.file.seek(SeekFrom::End(0)).map_err(reading)?;
        self.file.seek(SeekFrom::Start(self.len)).map_err(reading)?;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        let mut at = self.len;
        let mut payload = Vec::new();
        let torn = loop {
            let left = end - at;
            if left == 0 {
                self.len = at;
                return Ok(None);
            }
            let mut head = [0; HEAD];
            if left < HEAD as u64 {
                break true;
            }
            reader.read_exact(&mut head).map_err(reading)?;
            let Some((len, checksum)) = parsed(head) else {
                // A head that was never written, in a file that the system had made longer already.
                break head == [0; HEAD] && rest_is_zero(&mut reader).map_err(reading)?;
            };
            if left - (HEAD as u64) < u64::from(len) {
                break true;
            }
            payload.resize(len as usize, 0);
            reader.read_exact(&mut payload).map_err(reading)?;
            let next = at + HEAD as u64 + u64::from(len);
            if crc32fast::hash(&payload) != checksum {
                // The last entry may have reached the disk in part; one before others has been whole.
                break next == end;
            }
            entry(&payload)
                .map_err(|error| error.context(format!("reading `{}` at byte {at}", path.display())))?;
            at = next;
        };
        drop(reader);
        self.len = at;
        let kept_in = if torn { None } else { Some(self.keep_damaged(at).map_err(reading)?) };
        // What is damaged stays until the file is replaced: a start that is cut meanwhile has to notice it again.
        if torn {
            self.file.set_len(at).and_then(|()| self.file.sync_all()).map_err(reading)?;
        }
        Ok(Some(Cut { bytes: end - at, kept_in }))
    }

    /// Copies everything from here on to a file of its own.
    fn keep_damaged(&mut self, from: u64) -> io::Result<PathBuf> {
        let path = self.beside("damaged");
        let mut kept = OpenOptions::new().append(true).create(true).open(&path)?;
        self.file.seek(SeekFrom::Start(from))?;
        io::copy(&mut &self.file, &mut kept)?;
        kept.sync_all()?;
        Ok(path)
    }

    fn cut_back(&mut self, len: u64) {
        self.len = len;
        if self.file.set_len(len).is_err() {
            // Whatever stands behind the end now would be read as an entry one day.
            self.broken = true;
        }
    }

    fn usable(&self) -> Result<()> {
        if !self.broken {
            return Ok(());
        }
        let message = format!(
            "writing `{}` failed before, and what it holds is not known any more; open the store again",
            self.path.display()
        );
        Err(Error::new(ErrorKind::Storage, message))
    }

    fn beside(&self, extension: &str) -> PathBuf {
        beside(&self.path, extension)
    }
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

/// Takes the lock file beside the journal. It is never removed: whoever removed it could remove another's.
fn lock(path: &Path) -> Result<File> {
    let beside = beside(path, "lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&beside);
    let file = file.map_err(|error| failed(&beside, "opening", error))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(BREATH),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => return Err(failed(&beside, "locking", error)),
        }
    }
    let message = format!(
        "`{}` is open already, in this process or another one, which holds `{}`; one store at a time can use it",
        path.display(),
        beside.display()
    );
    Err(Error::new(ErrorKind::Busy, message))
}

/// Whether the file has its first line; if not, it is empty or was cut while that was written.
fn check_first_line(path: &Path, mut file: File) -> Result<bool> {
    let mut line = Vec::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| (&file).take(FIRST_LINE.len() as u64).read_to_end(&mut line));
    read.map_err(|error| failed(path, "reading", error))?;
    if line == FIRST_LINE || (FIRST_LINE.starts_with(&line) && line.len() < FIRST_LINE.len()) {
        return Ok(line == FIRST_LINE);
    }
    let path = path.display();
    let error = if line.starts_with(NAME) {
        let message = format!("`{path}` was written by a newer version of this store; update the program");
        Error::new(ErrorKind::Incompatible, message)
    } else {
        let message =
            format!("`{path}` is not a journal of the memory store and was left as it is; name another file");
        Error::new(ErrorKind::Storage, message)
    };
    Err(error)
}

fn framed(path: &Path, payload: &[u8]) -> Result<Vec<u8>> {
    let Ok(len) = u32::try_from(payload.len()) else {
        let message =
            format!("a transaction of {} bytes; `{}` takes up to 4 GiB", payload.len(), path.display());
        return Err(Error::new(ErrorKind::TooLarge, message));
    };
    let mut entry = Vec::with_capacity(HEAD + payload.len());
    entry.extend(len.to_le_bytes());
    entry.extend(crc32fast::hash(payload).to_le_bytes());
    entry.extend(crc32fast::hash(&entry).to_le_bytes());
    entry.extend(payload);
    Ok(entry)
}

/// The length and checksum of a payload, or `None` if the head is not whole.
fn parsed(head: [u8; HEAD]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (len, checksum, own) = (number(0)?, number(4)?, number(8)?);
    (crc32fast::hash(&head[..8]) == own).then_some((len, checksum))
}

fn rest_is_zero(reader: &mut impl Read) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}

/// Makes a new name in a folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Elsewhere a folder cannot be opened, and needs no sync of its own.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn failed(path: &Path, doing: &str, error: io::Error) -> Error {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "; make room and try again"
        }
        io::ErrorKind::PermissionDenied => "; check who may read and write it",
        io::ErrorKind::NotFound => "; check that the folder exists",
        _ => "",
    };
    let message = format!("{doing} `{}`: {error}{advice}", path.display());
    Error::new(ErrorKind::Storage, message).with_source(error)
}
