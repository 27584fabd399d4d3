//! Rollouts of a service in another language behind a real edge: good ones, and all that can go wrong.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use everopen_edge::Edge;
use everopen_edge::config::{Config, Group, Listener, Protocol, Service};
use everopen_rollout::execute::{self, By, Ended, Fault};
use everopen_rollout::file::File;
use everopen_rollout::journal::{self, Entry, Outcome};
use everopen_rollout::plan::{Plan, plan};
use everopen_rollout::state::Folder;
use everopen_testkit::free_address;

const SERVICE: &str = "greeter";

/// An edge, and a folder for its service's rollouts.
struct Place {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    public: SocketAddr,
    test: SocketAddr,
    edge: Option<Edge>,
    config: Config,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (public, test) = (free_address(), free_address());
        let listener = |name: &str, address, test| Listener {
            name: name.into(),
            address,
            protocol: Protocol::Http,
            service: SERVICE.into(),
            test,
            group: None,
            group_header: false,
        };
        let service = Service {
            groups: BTreeMap::from([
                ("blue".to_string(), Group::default()),
                ("green".to_string(), Group::default()),
            ]),
            affinity: false,
            answer_ms: 5_000,
            connect_ms: 1_000,
        };
        let config = Config {
            admin: folder.path().join("edge.sock"),
            listeners: vec![
                listener("public", public, false),
                listener("test", test, true),
            ],
            services: BTreeMap::from([(SERVICE.to_string(), service)]),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .expect("a runtime");
        let edge = runtime
            .block_on(Edge::start(&config, false))
            .expect("the edge starts");
        Self {
            folder,
            runtime,
            public,
            test,
            edge: Some(edge),
            config,
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("rollouts")
    }

    /// The file of a version that behaves in this manner, with these lines at its end.
    fn file(&self, version: &str, manner: &str, more: &str) -> File {
        let server = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/greeter/server.py"
        );
        let text = format!(
            r#"
service = "{SERVICE}"
version = "{version}"
edge = "edge.sock"

[start]
command = ["python3", "{server}", "{{port}}", "{{version}}", "{manner}"]
instances = 2
ready = "/health"
ready_ms = 15000

[journey]
at = "{test}"

[[journey.step]]
name = "greet"
path = "/"
contains = "hello from version {version}"
capture = {{ found = "/version" }}

[[journey.step]]
name = "again"
path = "/?version={{found}}"
contains = "\"version\": \"{{found}}\""

[after]
drain_ms = 2000

{more}
"#,
            test = self.test
        );
        let path = self.folder.path().join("rollout.toml");
        std::fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
    }

    fn plan(&self, file: &File) -> Plan {
        let inventory = execute::inventory(&self.root(), file).expect("an inventory");
        // Unique on this machine: processes are found by it.
        let folder = self
            .folder
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy();
        let id = format!(
            "{}-{}-{folder}",
            everopen_rollout::state::now_ms(),
            file.version
        );
        plan(file, &inventory, &id)
    }

    fn try_apply(&self, plan: Plan) -> Result<Ended, Fault> {
        let root = self.root();
        self.runtime
            .block_on(async { execute::apply(&root, plan, &By::default(), &mut |_| {}).await })
    }

    fn apply(&self, file: &File) -> Ended {
        let applied = self.try_apply(self.plan(file));
        applied.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// Brings a version into service that has nothing wrong with it.
    fn bring(&self, version: &str) {
        let ended = self.apply(&self.file(version, "", ""));
        assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
        self.only(version);
    }

    fn resume(&self, back: bool) -> Result<Ended, Fault> {
        let root = self.root();
        self.runtime.block_on(async {
            execute::resume(&root, SERVICE, back, &By::default(), &mut |_| {}).await
        })
    }

    fn roll_back(&self) -> Ended {
        let root = self.root();
        let back = self.runtime.block_on(async {
            execute::rollback(&root, SERVICE, &By::default(), &mut |_| {}).await
        });
        back.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// Which versions answer to so many requests.
    fn versions(&self, requests: usize) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for _ in 0..requests {
            *found
                .entry(ask(self.public).unwrap_or_else(|| "none".into()))
                .or_default() += 1;
        }
        found
    }

    fn only(&self, version: &str) {
        assert_eq!(
            self.versions(20),
            BTreeMap::from([(version.to_string(), 20)])
        );
    }

    /// How many processes of this test's rollouts run, of that version if one is named.
    fn running(&self, version: Option<&str>) -> usize {
        let folder = self
            .folder
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let wanted = match version {
            Some(version) => format!("-{version}-{folder}/"),
            None => format!("-{folder}/"),
        };
        let processes = std::fs::read_dir("/proc").expect("processes").flatten();
        let marks = processes.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        marks
            .filter(|environment| {
                let text = String::from_utf8_lossy(environment);
                text.split('\0')
                    .any(|pair| pair.starts_with("EVEROPEN_ROLLOUT=") && pair.contains(&wanted))
            })
            .count()
    }

    fn journal(&self) -> Vec<Entry> {
        let rollouts = Folder::rollouts(&self.root(), SERVICE).expect("rollouts");
        let last = rollouts.last().expect("one");
        let lines = journal::read(&last.join("journal.jsonl")).expect("a journal");
        lines.into_iter().map(|line| line.entry).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What a rollout keeps running outlives its controller; not this test.
        for path in Folder::rollouts(&self.root(), SERVICE).unwrap_or_default() {
            let id = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let _ = execute::end_processes(&id, Duration::from_secs(5));
        }
        if let Some(edge) = self.edge.take() {
            self.runtime.block_on(edge.stop(Duration::ZERO));
        }
    }
}

/// The version that answers a request on a connection of its own.
fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    if !answer.starts_with("HTTP/1.1 200") {
        return None;
    }
    let (_, version) = answer.split_once("\"version\": \"")?;
    Some(version.split_once('"')?.0.to_string())
}

/// Clients without pause, until they are stopped: how many requests were served, how many not.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(address: SocketAddr) -> Self {
        let (stop, served, failed): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) =
            Default::default();
        let threads = (0..2)
            .map(|_| {
                let (stop, served, failed) =
                    (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed));
                std::thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        let outcome = if ask(address).is_some() {
                            &served
                        } else {
                            &failed
                        };
                        outcome.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        Self {
            stop,
            served,
            failed,
            threads,
        }
    }

    fn end(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        (self.served.load(SeqCst), self.failed.load(SeqCst))
    }
}

#[test]
fn a_service_in_another_language_goes_forth_and_back_while_clients_are_served() {
    let place = Place::new();
    let first = place.apply(&place.file("1", "", ""));
    assert_eq!((first.outcome, first.reason), (Outcome::New, None));
    place.only("1");
    let load = Load::start(place.public);
    let budget = format!("[budget]\nat = \"{}\"\npath = \"/health\"\n", place.public);
    let canary = format!("[strategy]\npercent = [10, 50]\nbake_ms = 700\n{budget}");
    let second = place.apply(&place.file("2", "", &canary));
    assert_eq!(second.outcome, Outcome::New, "{second:?}");
    assert!(second.noticed.starts_with("0 of "), "{second:?}");
    place.only("2");
    assert_eq!(
        (place.running(Some("1")), place.running(Some("2"))),
        (2, 2),
        "the old one is warm"
    );
    let back = place.roll_back();
    assert_eq!(back.outcome, Outcome::Back);
    place.only("1");
    // The next one takes the place of what is not in service.
    let third = place.apply(&place.file("3", "", &canary));
    assert_eq!(third.outcome, Outcome::New, "{third:?}");
    place.only("3");
    assert_eq!((place.running(Some("2")), place.running(Some("1"))), (0, 2));
    let (served, failed) = load.end();
    assert_eq!(failed, 0, "of {served}");
    assert!(served > 100, "{served}");
    let shifts: Vec<String> = place
        .journal()
        .iter()
        .filter_map(|entry| match entry {
            Entry::Begun { text, .. } if text.contains('%') => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(
        shifts,
        [
            "10 % of new requests",
            "50 % of new requests",
            "100 % of new requests"
        ]
    );
}

/// A version that misbehaves: the old one serves afterwards, none of the new one runs, and the reason is
/// there to read.
fn comes_back(manner: &str, more: &str, reason: &str, failed_max: u64) {
    let place = Place::new();
    place.bring("1");
    let load = Load::start(place.public);
    let ended = place.apply(&place.file("2", manner, more));
    let (served, failed) = load.end();
    assert_eq!(ended.outcome, Outcome::Old, "{ended:?}");
    let why = ended.reason.expect("a reason");
    assert!(why.contains(reason), "{why}");
    assert!(failed <= failed_max, "{failed} of {served} failed: {why}");
    place.only("1");
    assert_eq!((place.running(Some("1")), place.running(Some("2"))), (2, 0));
    let journal = place.journal();
    assert!(
        journal
            .iter()
            .any(|entry| matches!(entry, Entry::Failed { .. }))
    );
    assert!(matches!(
        journal.last(),
        Some(Entry::Ended {
            outcome: Outcome::Old,
            ..
        })
    ));
    // And the next one is free to come.
    place.bring("3");
    place.only("3");
}

const NO_JOURNEY: &str =
    "[strategy]\npercent = [10, 50]\nbake_ms = 3000\n[alarms]\nrequests_min = 5\n";

#[test]
fn a_version_that_is_never_ready_comes_back() {
    let place = Place::new();
    place.bring("1");
    let mut file = place.file("2", "never-ready", "");
    file.start.ready_ms = 1_500;
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::Old);
    let why = ended.reason.expect("a reason");
    assert!(
        why.contains("not ready within 1500 ms: /health answers 503"),
        "{why}"
    );
    place.only("1");
    assert_eq!(place.running(Some("2")), 0);
}

#[test]
fn a_version_that_gives_wrong_answers_never_gets_traffic() {
    comes_back(
        "broken",
        "",
        "journey step \"greet\": status 500, expected 200",
        0,
    );
}

#[test]
fn a_version_that_can_not_be_started_comes_back() {
    let place = Place::new();
    place.bring("1");
    let mut file = place.file("2", "", "");
    file.start.command = vec!["python3".into(), "no-such-file.py".into()];
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::Old);
    let why = ended.reason.expect("a reason");
    assert!(
        why.contains("has ended; its log ends with:") && why.contains("no-such-file.py"),
        "{why}"
    );
    place.only("1");
}

#[test]
fn a_version_that_crashes_while_it_gets_traffic_comes_back() {
    // The edge repeats what is safe to; an answer of which half had come when it died can't be saved.
    comes_back("crash", NO_JOURNEY, "has ended", 1);
}

#[test]
fn a_version_that_is_slow_comes_back_by_its_latency() {
    let alarms = NO_JOURNEY.to_string() + "p99_ratio = 3.0\n";
    comes_back("slow", &alarms, "99th percentile of latency", 0);
}

#[test]
fn a_failing_check_comes_back_with_what_it_said() {
    let check = "[[check]]\nname = \"deep\"\ncommand = [\"sh\", \"-c\", \"echo {address} has no database >&2; exit 1\"]\n";
    comes_back("", check, "has no database", 0);
}

#[test]
fn an_alarm_program_takes_it_back() {
    let alarm = "[strategy]\npercent = [50]\nbake_ms = 3000\n[alarms]\ncommand = [\"sh\", \"-c\", \"echo the queue grows; exit 1\"]\n";
    comes_back("", alarm, "the queue grows", 0);
}

#[test]
fn a_first_version_that_is_bad_leaves_nothing_behind() {
    let place = Place::new();
    let ended = place.apply(&place.file("1", "broken", ""));
    assert_eq!(ended.outcome, Outcome::Old);
    assert_eq!(place.running(None), 0);
    place.bring("2");
    place.only("2");
}

/// Runs a rollout until its journal has so many lines; then the controller is gone, as a kill leaves it.
/// False when it ended before.
fn is_cut_off_after(place: &Place, file: &File, lines: usize) -> bool {
    let plan = place.plan(file);
    let root = place.root();
    let mut seen = 0;
    let cut = catch_unwind(AssertUnwindSafe(|| {
        let mut tell = |_: &journal::Line| {
            seen += 1;
            assert!(seen < lines, "the controller is killed");
        };
        let by = By::default();
        place
            .runtime
            .block_on(async { execute::apply(&root, plan, &by, &mut tell).await })
    }));
    cut.is_err()
}

fn last_journal(root: &Path) -> PathBuf {
    let rollouts = Folder::rollouts(root, SERVICE).expect("rollouts");
    rollouts.last().expect("one").join("journal.jsonl")
}

/// Cuts the controller off at each line of the journal, and goes on or takes back.
fn every_cut_ends_well(back: bool, forgets_last_line: bool) {
    let place = Place::new();
    place.bring("1");
    let load = Load::start(place.public);
    let mut serving = "1".to_string();
    for lines in 1.. {
        let version = format!("c{lines}");
        let file = place.file(&version, "", "[strategy]\npercent = [50]\nbake_ms = 50\n");
        if !is_cut_off_after(&place, &file, lines) {
            serving = version;
            break;
        }
        if forgets_last_line {
            // What it was about to say of a step that was done is not there.
            let path = last_journal(&place.root());
            let text = std::fs::read(&path).expect("a journal");
            std::fs::write(&path, &text[..text.len() - 3]).expect("cut");
        }
        let refused = place
            .try_apply(a_plan(&file))
            .expect_err("one is under way");
        let refused = refused.to_string();
        assert!(refused.contains("was cut off"), "{refused}");
        let ended = place
            .resume(back)
            .unwrap_or_else(|fault| panic!("{lines}: {fault:?}"));
        match ended.outcome {
            Outcome::New => serving.clone_from(&version),
            Outcome::Old => assert_eq!(place.running(Some(&version)), 0, "{lines}"),
            Outcome::Back => panic!("{lines}: {ended:?}"),
        }
        let is_said = lines > 1 || !forgets_last_line;
        assert!(
            !is_said || back || ended.outcome == Outcome::New,
            "{lines}: {ended:?}"
        );
        place.only(&serving);
        assert!(place.resume(back).is_err(), "nothing is under way any more");
    }
    place.only(&serving);
    let (served, failed) = load.end();
    assert_eq!(failed, 0, "of {served}");
}

/// A plan as somebody would make it while another rollout is cut off, whatever the weights are.
fn a_plan(file: &File) -> Plan {
    let inventory = everopen_rollout::plan::Inventory {
        serving: Some(("blue".into(), None)),
        other: ("green".into(), None),
    };
    plan(file, &inventory, "never")
}

#[test]
fn a_controller_that_is_killed_at_any_step_goes_on() {
    every_cut_ends_well(false, false);
}

#[test]
fn a_controller_that_is_killed_at_any_step_takes_back_when_asked() {
    every_cut_ends_well(true, false);
}

#[test]
fn a_controller_that_is_killed_while_it_writes_goes_on() {
    every_cut_ends_well(false, true);
}

#[test]
fn a_first_version_that_is_taken_back_leaves_no_address_behind() {
    let place = Place::new();
    // It has all the traffic, and only the last word is missing.
    let file = place.file("1", "", "");
    let lines = place.plan(&file).steps.len() * 2 + 1;
    assert!(is_cut_off_after(&place, &file, lines));
    place.only("1");
    assert_eq!(
        place.resume(true).expect("taken back").outcome,
        Outcome::Old
    );
    let status = place.edge.as_ref().expect("an edge").table().status();
    let blue = &status[SERVICE].groups["blue"];
    assert_eq!((blue.weight, blue.targets.len()), (0, 0));
    assert_eq!(place.running(None), 0);
    place.bring("2");
}

#[test]
fn a_paused_rollout_waits_before_its_next_step() {
    let place = Place::new();
    let root = place.root();
    let plan = place.plan(&place.file("1", "", ""));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (place, root) = (&place, &root);
        scope.spawn(move || {
            told.recv().expect("it is paused");
            assert_eq!(place.running(None), 0, "nothing was started yet");
            // The controller is there and goes on; nobody else may.
            let refused = place.resume(false).expect_err("it is at work").to_string();
            assert!(refused.contains("open the service's folder"), "{refused}");
        });
        let mut pause = |line: &journal::Line| {
            if matches!(line.entry, Entry::Opened { .. }) {
                execute::pause(root, SERVICE).expect("paused");
                tell.send(()).expect("somebody waits");
            }
        };
        let by = By::default();
        let applied = place
            .runtime
            .block_on(async { execute::apply(root, plan, &by, &mut pause).await });
        assert_eq!(applied.expect("applied").outcome, Outcome::New);
    });
    place.only("1");
}

#[test]
fn an_edge_that_is_started_again_in_between_goes_on_with_the_weights() {
    let mut place = Place::new();
    place.bring("1");
    place.bring("2");
    let edge = place.edge.take().expect("an edge");
    place.runtime.block_on(edge.stop(Duration::ZERO));
    let again = place.runtime.block_on(Edge::start(&place.config, false));
    place.edge = Some(again.expect("it starts again"));
    place.only("2");
    assert_eq!(place.roll_back().outcome, Outcome::Back);
    place.only("1");
}
