//! In memory mode a replica acknowledges what only the memory of its machine holds. If that machine
//! stops, the replica must not come back under the name that acknowledged it and with a shorter log:
//! it could vote for another past. A note beside the log says how the last run ended, and another in
//! which of its lives (see [`crate::member`]) the replica is. A third says that there was a log, in
//! every mode: one that is gone is missed before the replica votes as if it were new.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use everopen_journal::{Config, Durability};

use crate::core::Trust;
use crate::recovery::Fault;

const CLEAN: &str = "clean";
const LOST: &str = "lost-";
const OUTDATED: &str = "outdated";
const NEW: &str = "new";
const SINCE: &str = "since-term-";

/// How the run before ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What its files hold is on the disk.
    Settled,
    /// The machine still runs, so what was written can be read, but it may not be on the disk.
    Unsettled,
    /// The machine stopped: acknowledged entries may be gone.
    Lost,
}

/// What is noted of the log itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Log(Trust),
    /// The others know more of it than it holds.
    Outdated,
}

/// The notes beside a log.
#[derive(Clone, Debug)]
pub struct Note {
    log: PathBuf,
    mode: Durability,
}

/// Which start of the machine this is.
fn boot_id() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_string())
}

fn write(path: &Path, text: &str) -> Result<(), Fault> {
    let write = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let unfinished = path.with_extension("unfinished");
        let mut file = fs::File::create(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        fs::File::open(folder)?.sync_all()
    };
    write().map_err(Fault::Boot)
}

fn read(path: &Path) -> Result<Option<String>, Fault> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::Boot(error)),
    }
}

impl Note {
    /// The notes beside a log.
    pub fn beside(journal: &Config) -> Self {
        Self {
            log: journal.dir.clone(),
            mode: journal.durability,
        }
    }

    fn begun(&self) -> PathBuf {
        self.log.with_extension("begun")
    }

    fn boot(&self) -> PathBuf {
        self.log.with_extension("boot")
    }

    /// How the run before ended.
    ///
    /// # Errors
    /// When a note can't be read.
    pub fn ended(&self) -> Result<Ended, Fault> {
        let now = boot_id().map_err(Fault::Boot)?;
        Ok(match read(&self.boot())? {
            None => Ended::Settled,
            Some(note) if note == CLEAN => Ended::Settled,
            Some(boot) if boot == now => Ended::Unsettled,
            Some(_) => Ended::Lost,
        })
    }

    /// The life that the replica is in.
    ///
    /// # Errors
    /// When the note can't be read, or is no number.
    pub fn life(&self) -> Result<u32, Fault> {
        let path = self.log.with_extension("life");
        let Some(text) = read(&path)? else {
            return Ok(0);
        };
        text.parse().map_err(|_| {
            let what = format!("{} holds no number: {text:?}", path.display());
            Fault::Boot(io::Error::new(io::ErrorKind::InvalidData, what))
        })
    }

    /// Whether the log that this life began for that cluster is gone, or was found to be older than
    /// what the others know of it. An empty log under an old number could help to elect a leader who
    /// lacks what it had acknowledged.
    ///
    /// # Errors
    /// When a note can't be read.
    pub fn has_lost_log(&self, cluster: [u8; 16]) -> Result<bool, Fault> {
        Ok(match self.log_state(cluster)? {
            Known::Outdated => true,
            Known::Log(Trust::Whole | Trust::Since(_)) => !self.has_segments(),
            Known::Nothing | Known::Log(Trust::New) => false,
        })
    }

    /// The log is about to be opened for that cluster. What is known of it.
    ///
    /// # Errors
    /// When a note can't be read or written.
    pub fn log_opens(&self, cluster: [u8; 16]) -> Result<Trust, Fault> {
        match self.log_state(cluster)? {
            Known::Log(trust) => return Ok(trust),
            Known::Outdated => return Ok(Trust::Whole),
            Known::Nothing => {}
        }
        // Noted before there is a log: one that was begun and not noted would be taken for an old one.
        let trust = match self.has_segments() {
            true => Trust::Whole,
            false => Trust::New,
        };
        self.log_is(cluster, trust)?;
        Ok(trust)
    }

    /// This life has begun its log for that cluster, and that much is known of it.
    ///
    /// # Errors
    /// When the note can't be written.
    pub fn log_is(&self, cluster: [u8; 16], trust: Trust) -> Result<(), Fault> {
        let own = self.own(cluster)?;
        let text = match trust {
            Trust::Whole => own,
            Trust::New => format!("{own} {NEW}"),
            Trust::Since(term) => format!("{own} {SINCE}{term}"),
        };
        write(&self.begun(), &text)
    }

    fn log_state(&self, cluster: [u8; 16]) -> Result<Known, Fault> {
        let note = read(&self.begun())?.unwrap_or_default();
        let Some(end) = note.strip_prefix(&self.own(cluster)?) else {
            return Ok(Known::Nothing);
        };
        let term = |end: &str| end.strip_prefix(SINCE)?.parse().ok();
        Ok(match end.strip_prefix(' ') {
            None if end.is_empty() => Known::Log(Trust::Whole),
            Some(NEW) => Known::Log(Trust::New),
            Some(OUTDATED) => Known::Outdated,
            Some(end) => term(end).map_or(Known::Nothing, |term| Known::Log(Trust::Since(term))),
            None => Known::Nothing,
        })
    }

    fn has_segments(&self) -> bool {
        let is_segment =
            |file: fs::DirEntry| file.path().extension().is_some_and(|end| end == "segment");
        match fs::read_dir(&self.log) {
            Ok(files) => files.flatten().any(is_segment),
            // Whoever opens a log that can't be read says what is wrong with it.
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// The log is older than what the others know of it: no run in that cluster may use it again.
    ///
    /// # Errors
    /// When the note can't be written.
    pub fn log_is_outdated(&self, cluster: [u8; 16]) -> Result<(), Fault> {
        write(&self.begun(), &format!("{} {OUTDATED}", self.own(cluster)?))
    }

    /// The cluster and the life: a cluster that is founded anew may use a number again.
    fn own(&self, cluster: [u8; 16]) -> Result<String, Fault> {
        Ok(format!(
            "{:032x} {}",
            u128::from_be_bytes(cluster),
            self.life()?
        ))
    }

    /// Begins the next life with an empty log. What the last one left is kept, see [`Self::kept`],
    /// until [`Self::forget`].
    ///
    /// # Errors
    /// When that can't be written; it can be repeated.
    pub fn begin_life(&self) -> Result<u32, Fault> {
        let last = self.life()?;
        // The number first: whatever happens next, the old one is never used again.
        write(&self.log.with_extension("life"), &(last + 1).to_string())?;
        let aside = self.log.with_extension(format!("{LOST}{last}"));
        match fs::rename(&self.log, aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::Boot(error)),
            _ => Ok(last + 1),
        }
    }

    /// The logs of earlier lives.
    pub fn kept(&self) -> Vec<PathBuf> {
        let name = self.log.file_stem().unwrap_or_default().to_string_lossy();
        let prefix = format!("{name}.{LOST}");
        let folder = self.log.parent().map(fs::read_dir);
        let files = folder.into_iter().flatten().flatten().flatten();
        let mut kept: Vec<PathBuf> = files
            .filter(|file| file.file_name().to_string_lossy().starts_with(&prefix))
            .map(|file| file.path())
            .collect();
        kept.sort();
        kept
    }

    /// Deletes the logs of earlier lives: the others have given this one everything.
    ///
    /// # Errors
    /// When one can't be deleted.
    pub fn forget(&self) -> Result<(), Fault> {
        let mut kept = self.kept().into_iter();
        kept.try_for_each(|log| fs::remove_dir_all(log).map_err(Fault::Boot))
    }

    /// A run begins.
    ///
    /// # Errors
    /// When the note can't be written.
    pub fn begin(&self) -> Result<(), Fault> {
        match self.mode {
            Durability::Memory => write(&self.boot(), &boot_id().map_err(Fault::Boot)?),
            Durability::Fsync => Ok(()),
        }
    }

    /// Everything is on the disk, and will be.
    ///
    /// # Errors
    /// When the note can't be removed.
    pub fn settle(&self) -> Result<(), Fault> {
        match fs::remove_file(self.boot()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Fault::Boot(error)),
            _ => Ok(()),
        }
    }

    /// Whether an orderly end has to bring everything to the disk first.
    pub fn needs_end(&self) -> bool {
        self.mode == Durability::Memory
    }

    /// The orderly end of a run in memory mode: everything is on the disk.
    ///
    /// # Errors
    /// When the note can't be written.
    pub fn end(&self) -> Result<(), Fault> {
        write(&self.boot(), CLEAN)
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
        let note = Note::beside(&config);
        assert_eq!(note.ended().expect("new"), Ended::Settled);
        note.begin().expect("written");
        assert!(note.needs_end());
        // The process died, the machine did not.
        assert_eq!(note.ended().expect("the same boot"), Ended::Unsettled);
        // The machine stopped, too. Not even the other mode may use that log.
        fs::write(note.boot(), "another boot").expect("write");
        config.durability = Durability::Fsync;
        for note in [&note, &Note::beside(&config)] {
            assert_eq!(note.ended().expect("another boot"), Ended::Lost);
        }
        note.end().expect("write");
        assert_eq!(note.ended().expect("clean"), Ended::Settled);
        let note = Note::beside(&config);
        note.begin().expect("nothing to write");
        note.settle().expect("remove");
        note.settle().expect("nothing to remove");
        assert!(!note.needs_end() && !note.boot().exists());
    }

    #[test]
    fn a_log_that_was_begun_and_is_gone_is_missed() {
        const CLUSTER: [u8; 16] = *b"the cluster's id";
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::new(folder.path().join("log"));
        let note = Note::beside(&config);
        let is_lost = || note.has_lost_log(CLUSTER).expect("readable");
        assert!(!is_lost(), "a new replica has none");
        let opens = || note.log_opens(CLUSTER).expect("noted");
        assert_eq!([opens(), opens()], [Trust::New; 2]);
        assert!(!is_lost(), "nothing was in it");
        let heard = Trust::Since(7);
        note.log_is(CLUSTER, heard).expect("noted");
        assert_eq!(opens(), heard);
        assert!(is_lost(), "there was something in it");
        fs::remove_file(note.begun()).expect("removed");
        fs::create_dir_all(&config.dir).expect("a log");
        let segment = config.dir.join("00000000000000000001.segment");
        fs::write(&segment, "entries").expect("an entry");
        assert!(!is_lost());
        assert_eq!(opens(), Trust::Whole, "one of a program without the note");
        note.log_is(CLUSTER, Trust::Whole).expect("noted");
        assert!(!is_lost());
        fs::remove_file(&segment).expect("removed");
        assert!(is_lost(), "an empty folder");
        fs::remove_dir_all(&config.dir).expect("removed");
        assert!(is_lost(), "no folder");
        let other = note.has_lost_log(*b"the next cluster").expect("readable");
        assert!(
            !other,
            "a cluster that is founded anew uses the number again"
        );
        // In memory mode the next life begins its own.
        note.begin_life().expect("begins");
        assert!(!is_lost());
        fs::create_dir_all(&config.dir).expect("a log");
        fs::write(&segment, "entries").expect("an entry");
        note.log_is(CLUSTER, Trust::Whole).expect("noted");
        note.log_is_outdated(CLUSTER).expect("noted");
        assert!(is_lost(), "whatever is there");
        // An operator goes on with it all the same.
        note.log_is(CLUSTER, Trust::Whole).expect("noted");
        assert!(!is_lost());
    }

    #[test]
    fn a_new_life_begins_with_an_empty_log_and_keeps_the_old_ones_until_it_need_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::new(folder.path().join("log"));
        let note = Note::beside(&config);
        assert_eq!(note.life().expect("the first"), 0);
        for life in 1..=2 {
            fs::create_dir_all(&config.dir).expect("a log");
            fs::write(config.dir.join("segment"), "entries").expect("an entry");
            assert_eq!(note.begin_life().expect("begins"), life);
            assert_eq!(note.life().expect("is noted"), life);
            assert!(!config.dir.exists());
            assert_eq!(note.kept().len(), life as usize);
        }
        // Cut off between the number and the log: the number is used up all the same.
        assert_eq!(note.begin_life().expect("begins"), 3);
        assert_eq!(note.kept().len(), 2);
        note.forget().expect("deleted");
        assert!(note.kept().is_empty());
        fs::write(config.dir.with_extension("life"), "many").expect("write");
        let error = note.life().expect_err("no number");
        assert!(crate::node::chain(&error).contains("log.life"), "{error}");
    }
}
