//! Real processes and real faults: `kill -9` under load, a full disk, a write that fails.
//!
//! Has its own `main` because it starts itself again as the process that is killed or starved.
//! `EVEROPEN_KILL_ROUNDS` sets the rounds of the long suite, `EVEROPEN_KILL_SEED` repeats one.
mod failed;
#[path = "../support/mod.rs"]
mod support;

use everopen_journal::{AppendError, Config, Error, FRAME_BYTES, Journal, RetainLog, record_bytes};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROLE: &str = "EVEROPEN_JOURNAL_ROLE";
const DIR: &str = "EVEROPEN_JOURNAL_DIR";
const SEED: &str = "EVEROPEN_KILL_SEED";
const DEADLINE: Duration = Duration::from_secs(60);

type Case = (&'static str, fn());

const CASES: [Case; 4] = [
    (
        "killed_at_random_moments_nothing_acknowledged_is_lost",
        killed,
    ),
    ("a_full_disk_refuses_and_recovers", full_disk),
    (
        "a_failed_write_stops_the_journal_until_it_is_opened_again",
        failed::failed_write,
    ),
    (
        "a_failed_write_that_was_begun_stops_the_journal_as_well",
        failed::failed_begun_write,
    ),
];

fn main() {
    if let Ok(role) = std::env::var(ROLE) {
        let dir = PathBuf::from(std::env::var_os(DIR).expect("a role needs a directory"));
        match role.as_str() {
            "writer" => writer(&dir),
            "full disk" => full_disk_child(&dir),
            "file size" => file_size_child(&dir),
            "failed write" => failed::failed_write_child(&dir),
            "failed begun write" => failed::failed_begun_write_child(&dir),
            other => panic!("no such role: {other}"),
        }
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        CASES.iter().for_each(|(name, _)| println!("{name}: test"));
        return;
    }
    let filters: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (name, case) in CASES {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())) {
            case();
            println!("test {name} ... ok");
        }
    }
}

/// SplitMix64: small, seeded, good enough to pick moments and sizes.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// The command with this number: its number, then bytes that depend on it.
fn command(number: u64) -> Vec<u8> {
    let length = Random(number).below(300) as usize;
    [&number.to_le_bytes()[..], &support::payload(number, length)].concat()
}

/// A state machine that notices a lost, repeated or reordered command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    applied: u64,
    sum: u64,
}

impl State {
    const EMPTY: Self = Self { applied: 0, sum: 0 };

    fn apply(&mut self, bytes: &[u8]) {
        let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(
            number,
            self.applied + 1,
            "command {number} after {}",
            self.applied
        );
        assert_eq!(bytes, command(number), "command {number} is another one");
        self.applied = number;
        self.sum = self
            .sum
            .wrapping_mul(31)
            .wrapping_add(u64::from(crc32c::crc32c(bytes)));
    }

    fn encode(self) -> Vec<u8> {
        [self.applied.to_le_bytes(), self.sum.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(bytes.len(), 16);
        Self {
            applied: word(0),
            sum: word(8),
        }
    }
}

/// Small segments, so that a second of load starts, seals and retires many.
fn busy(dir: &Path) -> Config {
    Config {
        segment_bytes: 64 << 10,
        max_record_bytes: 1 << 10,
        retain_log: RetainLog::SinceOldestSnapshot,
        ..Config::new(dir)
    }
}

/// Opens and brings a state up to date, from the snapshot and the log after it.
fn restore(dir: &Path) -> (Journal, State) {
    let (journal, recovery) = Journal::open(busy(dir)).expect("a killed journal opens");
    let mut state = match &recovery.snapshot {
        Some(snapshot) => State::decode(&snapshot.read().unwrap()),
        None => State::EMPTY,
    };
    let mut reader = journal.replay(state.applied).unwrap();
    while let Some((index, bytes)) = reader.next_record().unwrap() {
        state.apply(bytes);
        assert_eq!(index, state.applied);
    }
    assert_eq!(state.applied, recovery.last_index);
    (journal, state)
}

/// The process that is killed: goes on where the log ends and says what it acknowledges.
fn writer(dir: &Path) {
    let (mut journal, mut state) = restore(dir);
    let mut random = Random(std::env::var(SEED).unwrap().parse().unwrap());
    let mut out = std::io::stdout().lock();
    let deadline = Instant::now() + DEADLINE;
    let mut begun = 0;
    while Instant::now() < deadline {
        for _ in 0..=random.below(40) {
            let bytes = command(state.applied + 1);
            journal.append(&bytes).unwrap();
            state.apply(&bytes);
        }
        if random.below(2) == 0 {
            journal.commit().unwrap();
        } else {
            // And goes on with more before it is durable; that is not acknowledged.
            journal.begin_commit().unwrap();
            begun = state.applied;
            while !journal.poll_commit().unwrap() {
                if begun == state.applied || random.below(4) == 0 {
                    let bytes = command(state.applied + 1);
                    journal.append(&bytes).unwrap();
                    state.apply(&bytes);
                }
            }
        }
        let durable = journal.durable_index();
        assert!(durable == state.applied || durable >= begun && begun > 0);
        if random.below(20) == 0 && durable == state.applied {
            journal
                .snapshots()
                .write(state.applied, &state.encode())
                .unwrap();
            journal.retire().unwrap();
        }
        // A closed pipe means that the parent is gone.
        if writeln!(out, "{durable}")
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

fn child(role: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role).env(DIR, dir);
    command
}

fn killed() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().unwrap())
    };
    let rounds = number("EVEROPEN_KILL_ROUNDS").unwrap_or(20);
    let seed = number(SEED).unwrap_or_else(|| {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        now.as_nanos() as u64
    });
    println!("killing a writer {rounds} times, seed {seed}");
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let (mut acknowledgments, mut acknowledged) = (0, 0);
    for round in 0..rounds {
        let mut writer = child("writer", dir.path())
            .env(SEED, random.below(u64::MAX).to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let wanted = random.below(60);
        let pause = Duration::from_micros(random.below(4000));
        let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
        for _ in 0..wanted {
            let line = lines.next().expect("the writer lives").unwrap();
            acknowledged = line.parse().unwrap();
            acknowledgments += 1;
        }
        // Somewhere between two acknowledgments, or in the start if none was wanted.
        let moment = Instant::now() + pause;
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        writer.kill().unwrap();
        assert!(
            !writer.wait().unwrap().success(),
            "it was killed, not finished"
        );
        // What it had said before it died counts, too; the last line may be cut.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        for line in rest.iter().rev().skip(1) {
            acknowledged = acknowledged.max(line.parse().unwrap());
        }
        acknowledgments += rest.len();
        let (journal, state) = restore(dir.path());
        assert!(
            state.applied >= acknowledged,
            "round {round}: {acknowledged} was acknowledged, {} is there",
            state.applied
        );
        let mut expected = State::EMPTY;
        (1..=state.applied).for_each(|number| expected.apply(&command(number)));
        assert_eq!(state, expected, "round {round}");
        drop(journal);
    }
    println!("{acknowledgments} acknowledgments, {acknowledged} commands, none lost, none twice");
    assert!(acknowledgments as u64 >= rounds, "the writer wrote");
}

fn succeeds(mut command: Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}{errors}",
        output.status
    );
    assert!(
        text.contains("survived"),
        "{command:?} did nothing: {text}{errors}"
    );
}

fn full_disk() {
    // A real full file system if this user may mount one, in a namespace of its own.
    let dir = tempfile::tempdir().unwrap();
    let may_mount = Command::new("unshare")
        .args(["-m", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(dir.path())
        .output()
        .is_ok_and(|output| output.status.success());
    if may_mount {
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c"])
            .arg("mount -t tmpfs -o size=1m tmpfs \"$EVEROPEN_JOURNAL_DIR\" && exec \"$0\"")
            .arg(std::env::current_exe().unwrap())
            .env(ROLE, "full disk")
            .env(DIR, dir.path());
        succeeds(command);
        println!("full disk: a tmpfs of 1 MiB");
    } else {
        println!("full disk: no right to mount a tmpfs here, only the file size limit is tried");
    }
    // A file size limit makes the system refuse the same writes without any right.
    let dir = tempfile::tempdir().unwrap();
    succeeds(limited("file size", dir.path()));
}

/// A child that gets an error, not a signal, at its file size limit.
fn limited(role: &str, dir: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; exec \"$0\""])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, role)
        .env(DIR, dir);
    command
}

fn set_file_size(limit: Option<u64>) {
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: limit,
            maximum: None,
        },
    )
    .unwrap();
}

/// Appends and commits until there is no more room; the commands acknowledged in all.
fn fill(journal: &mut Journal, mut state: State) -> State {
    let deadline = Instant::now() + DEADLINE;
    // What was promised is kept, whatever the disk says by now.
    let room = journal.room();
    let mut used = 0;
    loop {
        assert!(Instant::now() < deadline, "the journal never gets full");
        let bytes = command(state.applied + 1);
        let cost = record_bytes(bytes.len() as u32) + FRAME_BYTES;
        match journal.append(&bytes) {
            Ok(_) => {
                state.apply(&bytes);
                assert_eq!(journal.commit().unwrap().last_index, state.applied);
                used += cost;
            }
            Err(AppendError::Full) => {
                assert!(
                    used + cost > room,
                    "{room} promised, {used} used, {cost} refused"
                );
                return state;
            }
            Err(other) => panic!("{other}"),
        }
    }
}

/// Full stays full, and nothing changes by asking.
fn refuses(journal: &mut Journal, state: State) {
    for _ in 0..3 {
        assert!(matches!(
            journal.append(&command(state.applied + 1)),
            Err(AppendError::Full)
        ));
        assert!(matches!(journal.try_reserve(), Err(AppendError::Full)));
        assert_eq!(journal.last_index(), state.applied);
        assert_eq!(journal.commit().unwrap().last_index, state.applied);
    }
}

fn append(journal: &mut Journal, mut state: State, count: u64) -> State {
    for _ in 0..count {
        let bytes = command(state.applied + 1);
        journal.append(&bytes).unwrap();
        state.apply(&bytes);
    }
    journal.commit().unwrap();
    state
}

fn full_disk_child(mount: &Path) {
    let dir = mount.join("journal");
    let filler = mount.join("filler");
    let occupy = || {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&filler)
            .unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[1; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    };
    // No room for a journal at all: a clean error, and it works once there is room.
    occupy();
    let refused = Journal::open(busy(&dir));
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
    std::fs::remove_file(&filler).unwrap();

    let (mut journal, mut state) = restore(&dir);
    for round in 0..3 {
        state = append(&mut journal, state, 500);
        occupy();
        let before = state;
        state = fill(&mut journal, state);
        refuses(&mut journal, state);
        let snapshot = journal.snapshots().write(state.applied, &[1; 200_000]);
        assert!(matches!(snapshot, Err(Error::Io { .. })), "{snapshot:?}");
        if round == 1 {
            // A start on a full disk: everything is there, and it refuses as before.
            drop(journal);
            let reopened;
            (journal, reopened) = restore(&dir);
            assert_eq!(reopened, state);
            state = fill(&mut journal, state);
            refuses(&mut journal, state);
        }
        assert!(state.applied >= before.applied);
        std::fs::remove_file(&filler).unwrap();
        journal.try_reserve().expect("space has returned");
        state = append(&mut journal, state, 200);
    }
    drop(journal);
    assert_eq!(restore(&dir).1, state);
    println!("survived with {} commands", state.applied);
}

fn file_size_child(dir: &Path) {
    // The segments after the first are twice as large as the limit allows.
    let (journal, state) = restore(dir);
    drop(journal);
    set_file_size(Some(64 << 10));
    let larger = Config {
        segment_bytes: 128 << 10,
        ..busy(dir)
    };
    let (mut journal, _) = Journal::open(larger.clone()).unwrap();
    let mut state = fill(&mut journal, state);
    assert!(
        state.applied > 100,
        "the first segment was used: {}",
        state.applied
    );
    refuses(&mut journal, state);
    set_file_size(None);
    journal.try_reserve().expect("the limit is gone");
    state = append(&mut journal, state, 1000);
    drop(journal);
    assert_eq!(restore(dir).1, state);
    println!("survived with {} commands", state.applied);
}
