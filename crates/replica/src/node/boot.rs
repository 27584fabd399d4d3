//! In memory mode a replica acknowledges what only the memory of its machine holds. If that machine
//! stops, the replica must not come back with its old name and a shorter log: it could vote for
//! another past than the one that it had acknowledged. A note beside the log says whether it may.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use everopen_journal::{Config, Durability};

use crate::recovery::Fault;

const CLEAN: &str = "clean";

/// The note beside a log.
#[derive(Debug)]
pub(super) struct Note {
    path: PathBuf,
    mode: Durability,
}

/// Which start of the machine this is.
fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_string())
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("boot.unfinished");
    let mut file = fs::File::create(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

impl Note {
    /// Looks at the note of the last run and begins this one's. True when files may hold what is
    /// not on the disk yet, though the machine still runs.
    ///
    /// # Errors
    /// [`Fault::LostMemory`] when acknowledged entries may be gone.
    pub fn begin(journal: &Config) -> Result<(Self, bool), Fault> {
        let path = journal.dir.with_extension("boot");
        let boot = boot_id().map_err(Fault::Boot)?;
        let last = match fs::read_to_string(&path) {
            Ok(text) => Some(text.trim().to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Fault::Boot(error)),
        };
        let running = last.filter(|last| last != CLEAN);
        if running.as_ref().is_some_and(|last| *last != boot) {
            return Err(Fault::LostMemory {
                dir: journal.dir.clone(),
            });
        }
        if journal.durability == Durability::Memory {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(Fault::Boot)?;
            }
            write(&path, &boot).map_err(Fault::Boot)?;
        }
        let note = Self {
            path,
            mode: journal.durability,
        };
        Ok((note, running.is_some()))
    }

    /// Everything is on the disk.
    pub fn settle(&self) -> Result<(), Fault> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::Boot(error)),
            _ => Ok(()),
        }
    }

    /// Whether an orderly end has to bring everything to the disk first.
    pub fn needs_end(&self) -> bool {
        self.mode == Durability::Memory
    }

    /// The orderly end of a run in memory mode: everything is on the disk.
    pub fn end(&self) -> Result<(), Fault> {
        write(&self.path, CLEAN).map_err(Fault::Boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_stopped_without_a_clean_end_is_found_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::new(folder.path().join("log"));
        config.durability = Durability::Memory;
        let (note, unsettled) = Note::begin(&config).expect("new");
        assert!(!unsettled && note.needs_end());
        // The process died, the machine did not.
        let (_, unsettled) = Note::begin(&config).expect("the same boot");
        assert!(unsettled);
        // The machine stopped, too.
        fs::write(&note.path, "another boot").expect("write");
        assert!(matches!(
            Note::begin(&config),
            Err(Fault::LostMemory { .. })
        ));
        // Not even the other mode may use that log.
        config.durability = Durability::Fsync;
        assert!(matches!(
            Note::begin(&config),
            Err(Fault::LostMemory { .. })
        ));
        note.end().expect("write");
        let (note, unsettled) = Note::begin(&config).expect("clean");
        assert!(!unsettled && !note.needs_end());
        note.settle().expect("remove");
    }
}
