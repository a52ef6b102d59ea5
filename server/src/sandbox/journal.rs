//! The journal: what the sandbox really accepted, one line a publish or refresh, in order.
//!
//! A line is in the file before the answer leaves, and in memory, where it doubles as the post
//! itself. It is handed to the operating system in one write and not synced to disk: it survives
//! the process being killed, not the machine losing power.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::faults::Action;

/// What was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A post.
    Publish,
    /// A rotation of a refresh token.
    Refresh,
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 and goes on over restarts with the same file.
    pub seq: u64,
    /// When it was accepted, RFC 3339 in UTC.
    pub ts: String,
    /// What was accepted.
    pub op: Op,
    /// The account's id.
    pub account: String,
    /// The post's id; of a refresh, an id of its own.
    pub id: String,
    /// The Idempotency-Key it came with.
    pub key: Option<String>,
    /// The client's own reference.
    pub client_ref: Option<String>,
    /// The post's text; a refresh has none.
    pub text: Option<String>,
    /// The fault that then spoilt the answer.
    pub fault: Option<Action>,
}

/// The entries of this run, and the file they also go to.
#[derive(Debug)]
pub(super) struct Journal {
    file: Option<File>,
    /// Set once a write has failed: the file may end in half a line, which nothing must follow.
    broken: bool,
    next_seq: u64,
    entries: Vec<Entry>,
}

impl Journal {
    /// Opens a journal; one that exists already is continued, never cut.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let (file, last_seq) = match path {
            Some(path) => {
                let (file, last_seq) = continue_file(path).map_err(|error| {
                    io::Error::new(error.kind(), format!("journal {}: {error}", path.display()))
                })?;
                (Some(file), last_seq)
            }
            None => (None, 0),
        };
        Ok(Self { file, broken: false, next_seq: last_seq + 1, entries: Vec::new() })
    }

    /// Writes an entry, made with its sequence number, and returns its place in memory.
    pub(super) fn append(&mut self, make: impl FnOnce(u64) -> Entry) -> io::Result<usize> {
        if self.broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let entry = make(self.next_seq);
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                self.broken = true;
                return Err(error);
            }
        }
        self.next_seq += 1;
        self.entries.push(entry);
        Ok(self.entries.len() - 1)
    }

    /// The entries of this run, oldest first.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Opens a file for appending and finds the last sequence number in it.
fn continue_file(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if !file.metadata()?.is_file() {
        // A pipe or device keeps nothing that could be continued, and reading it may never end.
        return Ok((file, 0));
    }
    // Two sandboxes on one file would number their lines alike.
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::ResourceBusy, "in use by another sandbox")
        }
        TryLockError::Error(error) => error,
    })?;
    let last_seq = last_seq(&file)?;
    if lacks_final_newline(&mut file)? {
        file.write_all(b"\n")?;
    }
    Ok((file, last_seq))
}

/// Reads every line: a file that is no journal is refused rather than written into.
fn last_seq(file: &File) -> io::Result<u64> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }

    let mut last = 0;
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let numbered: Numbered = serde_json::from_str(&line?).map_err(|error| {
            let message = format!("line {} is no journal entry: {error}", index + 1);
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        last = last.max(numbered.seq);
    }
    Ok(last)
}

fn lacks_final_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{Entry, Journal, Op};

    fn append(journal: &mut Journal) {
        let entry = |seq| Entry {
            seq,
            ts: "1970-01-01T00:00:00.000Z".to_owned(),
            op: Op::Publish,
            account: "a".to_owned(),
            id: format!("post {seq}"),
            key: None,
            client_ref: None,
            text: Some("two\nlines".to_owned()),
            fault: None,
        };
        journal.append(entry).unwrap();
    }

    fn seqs(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap().seq).collect()
    }

    #[test]
    fn an_existing_journal_is_continued_even_without_its_final_newline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(Some(&path)).unwrap();
        append(&mut journal);
        append(&mut journal);
        drop(journal);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.trim_end()).unwrap();

        append(&mut Journal::open(Some(&path)).unwrap());
        assert_eq!(seqs(&path), [1, 2, 3]);
    }

    #[test]
    fn a_file_that_is_no_journal_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes");
        fs::write(&path, "dear diary").unwrap();
        let error = Journal::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("line 1 is no journal entry"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
    }

    #[test]
    fn one_journal_belongs_to_one_sandbox_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let _first = Journal::open(Some(&path)).unwrap();
        let error = Journal::open(Some(&path)).unwrap_err().to_string();
        assert!(error.contains("in use by another sandbox"), "{error}");
    }
}
