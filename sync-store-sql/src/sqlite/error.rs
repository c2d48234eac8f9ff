//! Every error of SQLite as one of ours: named by the file, with what to do.

use rusqlite::ffi::{self, ErrorCode};
use sync_runtime::{Error, ErrorKind};

/// The error for what went wrong with this file.
pub(crate) fn failed(file: &str, error: rusqlite::Error) -> Error {
    let Some(code) = error.sqlite_error_code() else {
        let message = format!("reading `{file}`: {error}");
        return Error::new(ErrorKind::Storage, message).with_source(error);
    };
    let (kind, message) = match code {
        ErrorCode::NotADatabase => (
            ErrorKind::Storage,
            format!(
                "`{file}` is not a database that this program can read; it is left as it is: name another file"
            ),
        ),
        ErrorCode::DiskFull => (
            ErrorKind::Storage,
            format!("the disk of `{file}` is full; nothing of this write was kept: make room and try again"),
        ),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => (
            ErrorKind::Storage,
            format!("`{file}` cannot be written; allow this program to write the file and its folder"),
        ),
        ErrorCode::CannotOpen => (ErrorKind::Storage, cannot_open(file)),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            return busy(file, "another program held its lock").with_source(error);
        }
        ErrorCode::DatabaseCorrupt => (
            ErrorKind::Storage,
            format!("`{file}` is damaged; keep a copy, restore a backup, and sync again: {error}"),
        ),
        ErrorCode::SystemIoFailure => {
            (ErrorKind::Storage, format!("the disk of `{file}` failed; check it and try again: {error}"))
        }
        ErrorCode::ConstraintViolation => (
            ErrorKind::Constraint,
            format!("a constraint of `{file}` refuses the transaction; nothing of it was kept: {error}"),
        ),
        _ => (ErrorKind::Storage, format!("`{file}`: {error}")),
    };
    let retryable = matches!(code, ErrorCode::DiskFull | ErrorCode::SystemIoFailure);
    Error::new(kind, message).retryable(retryable).with_source(error)
}

/// The error for a wait that reached its bound.
pub(crate) fn busy(file: &str, waited_for: &str) -> Error {
    let message = format!("`{file}` is busy: {waited_for}; try again, or end what holds it");
    Error::new(ErrorKind::Busy, message)
}

fn cannot_open(file: &str) -> String {
    let path = std::path::Path::new(file);
    if path.is_dir() {
        return format!("`{file}` is a folder; name a file in it");
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
            format!("the folder of `{file}` does not exist; make it first")
        }
        _ => {
            format!("`{file}` cannot be opened; check that this program may read and write it and its folder")
        }
    }
}

/// Whether this was only that somebody else holds the lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether a commit failed at a foreign key that is looked at in the end.
pub(crate) fn is_late(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(failure, _)
        if failure.extended_code == ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

/// Why the database refuses one record, or `None` if it was something else that failed.
pub(crate) fn refusal(error: &rusqlite::Error) -> Option<String> {
    let rusqlite::Error::SqliteFailure(failure, message) = error else { return None };
    match failure.code {
        ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
            Some(message.clone().unwrap_or_else(|| ffi::code_to_str(failure.extended_code).to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32) -> Error {
        failed("todo.db", rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
    }

    #[test]
    fn every_error_names_the_file_and_what_to_do() {
        let cases = [
            (ffi::SQLITE_NOTADB, ErrorKind::Storage, "name another file"),
            (ffi::SQLITE_FULL, ErrorKind::Storage, "make room"),
            (ffi::SQLITE_READONLY, ErrorKind::Storage, "allow this program to write"),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Storage, "check that this program may"),
            (ffi::SQLITE_BUSY, ErrorKind::Busy, "try again"),
            (ffi::SQLITE_CORRUPT, ErrorKind::Storage, "restore a backup"),
            (ffi::SQLITE_IOERR_FSYNC, ErrorKind::Storage, "check it and try again"),
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, ErrorKind::Constraint, "nothing of it was kept"),
        ];
        for (code, kind, advice) in cases {
            let error = of(code);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("`todo.db`"), "{error}");
            assert!(error.to_string().contains(advice), "{error}");
        }
        assert!(of(ffi::SQLITE_FULL).is_retryable());
        assert!(of(ffi::SQLITE_BUSY_SNAPSHOT).is_retryable());
        assert!(!of(ffi::SQLITE_NOTADB).is_retryable());
    }

    #[test]
    fn only_constraints_refuse_a_record() {
        let error = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("why".into()));
        assert_eq!(refusal(&error(ffi::SQLITE_CONSTRAINT_CHECK)).as_deref(), Some("why"));
        assert_eq!(refusal(&error(ffi::SQLITE_TOOBIG)).as_deref(), Some("why"));
        assert_eq!(refusal(&error(ffi::SQLITE_FULL)), None);
    }
}
