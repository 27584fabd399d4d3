//! The journal's side of a replica: carrying out a core's writes, in order.

use everopen_journal::{self as journal, AppendError, Journal, SnapshotRef};

use crate::core::{Record, Write};
use crate::record;
use crate::recovery::Fault;

/// A journal and how far the write that it works on is.
#[derive(Debug)]
pub struct Writer {
    journal: Journal,
    /// Records of the current write that were appended already.
    appended: usize,
    installed: bool,
    /// The head of the record that is being appended.
    head: Vec<u8>,
    file: Option<SnapshotRef>,
}

/// How a write went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote {
    /// All of it was appended.
    Whole,
    /// The disk has no room: call again with the same write once it has.
    Full,
}

impl Writer {
    /// A writer for an open journal.
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            appended: 0,
            installed: false,
            head: Vec::new(),
            file: None,
        }
    }

    /// The journal.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// The file of the state installed last, once.
    pub fn installed_file(&mut self) -> Option<SnapshotRef> {
        self.file.take()
    }

    /// Appends a write; nothing of it may be acknowledged before [`Writer::commit`]. A state that
    /// is to be installed is on the disk when this returns.
    ///
    /// # Errors
    /// What ends the replica.
    pub fn append(&mut self, write: &Write) -> Result<Wrote, Fault> {
        if let Some(install) = write.install.as_ref().filter(|_| !self.installed) {
            match self.journal.append(&install.record) {
                Ok(place) => assert_eq!(
                    place, install.place,
                    "invariant: core and journal count alike"
                ),
                Err(AppendError::Full) => return Ok(Wrote::Full),
                Err(error) => return Err(Fault::Append(error)),
            }
            self.journal.commit()?;
            let file = self.journal.snapshots().write_with(install.place, |out| {
                out.write_all(&install.header)?;
                out.write_all(&install.bytes)
            })?;
            self.file = Some(file);
            self.installed = true;
        }
        for record in write.records.iter().skip(self.appended) {
            self.head.clear();
            let (data, context): (&[u8], &[u8]) = match record {
                Record::HardState(state) => {
                    record::put_hard_state(state, &mut self.head);
                    (&[], &[])
                }
                Record::Entry(entry) => {
                    record::put_entry_head(entry, &mut self.head);
                    (&entry.data, &entry.context)
                }
            };
            match self.journal.append_parts(&[&self.head, data, context]) {
                Ok(_) => self.appended += 1,
                Err(AppendError::Full) => return Ok(Wrote::Full),
                Err(error) => return Err(Fault::Append(error)),
            }
        }
        (self.appended, self.installed) = (0, false);
        Ok(Wrote::Whole)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// What ends the replica: whether it is on the disk is unknown then.
    pub fn commit(&mut self) -> Result<(), Fault> {
        self.journal.commit_unmarked()?;
        Ok(())
    }

    /// Begins to make everything appended durable; where the system can't go on alone, it is when this
    /// returns.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn begin(&mut self) -> Result<(), Fault> {
        self.journal.begin_commit()?;
        Ok(())
    }

    /// Whether everything of which that was begun is durable.
    ///
    /// # Errors
    /// As [`Writer::commit`].
    pub fn has_ended(&mut self) -> Result<bool, Fault> {
        Ok(self.journal.poll_commit()?)
    }

    /// Nothing more was written for a while: says of what there is that it was acknowledged.
    ///
    /// # Errors
    /// What ends the replica.
    pub fn rest(&mut self) -> Result<(), Fault> {
        self.journal.mark()?;
        Ok(())
    }

    /// Deletes what the newest snapshots made superfluous.
    ///
    /// # Errors
    /// [`journal::Error`]; trying again goes on.
    pub fn retire(&mut self) -> Result<(), journal::Error> {
        self.journal.retire().map(drop)
    }
}
