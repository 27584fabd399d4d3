//! The runbook of the schema's example as it stands: the schema grows, the next version is rolled out, somebody
//! decides. With real servers, an edge, and clients of the service that go on.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::greeter::{Example, Load, PROGRAM, until};
use crate::place::Place;

struct Release {
    example: Arc<Example>,
    place: Place,
}

impl Release {
    /// The example's files beside those of the service, for the database and the service of this test.
    fn new() -> Self {
        let release = Self {
            example: Arc::new(Example::new()),
            place: Place::new(),
        };
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/schema");
        for file in std::fs::read_dir(&from).expect("the example") {
            let file = file.expect("readable");
            let name = file.file_name().into_string().expect("text");
            // The service's own runbook has this name.
            let name = name.replace("release.yaml", "both.yaml");
            std::fs::copy(file.path(), release.example.path(&name)).expect("copied");
        }
        let path = release.example.path("cents.toml");
        let text = std::fs::read_to_string(&path).expect("text");
        let port = format!("port={}", release.place.blue.port);
        let text = text
            .replace("port=5415", &port)
            .replace("serving = [\"1\"]", "service = \"greeter\"");
        assert!(text.contains(&port) && text.contains("service = \"greeter\""));
        std::fs::write(path, text).expect("written");
        release
    }

    fn runbook(&self, arguments: &[&str]) -> Command {
        let programs = Path::new(PROGRAM).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.example.command(&[&["runbook"], arguments].concat());
        command.env("PATH", format!("{}:{path}", programs.display()));
        command
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.runbook(arguments).output().expect("run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text + &String::from_utf8_lossy(&output.stderr)
    }

    fn runs(&self) -> Vec<String> {
        let all = self.said(&["status"]);
        let names = all.lines().filter_map(|line| line.split(' ').next());
        names
            .filter(|name| name.contains("-both-"))
            .map(str::to_string)
            .collect()
    }

    /// Begins a run, and waits until it asks.
    fn begin(&self) -> (Child, String) {
        let before = self.runs();
        let arguments = [
            "run",
            "both.yaml",
            "-p",
            "version=v2.toml",
            "-p",
            "service=greeter",
        ];
        let log = std::fs::File::create(self.example.path("run.log")).expect("a log");
        let mut child = self
            .runbook(&arguments)
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .expect("start");
        let mut found = String::new();
        until("it asks", || {
            if let Some(status) = child.try_wait().expect("it can be asked") {
                panic!("it ended with {status}: {}", self.log());
            }
            let new = self.runs().into_iter().find(|run| !before.contains(run));
            found = new.unwrap_or_default();
            !found.is_empty()
                && self
                    .said(&["status", &found])
                    .contains("waits for an approval")
        });
        (child, found)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.example.path("run.log")).unwrap_or_default()
    }

    fn columns(&self) -> String {
        self.place.blue.sql("SELECT string_agg(column_name, ' ' ORDER BY column_name) FROM information_schema.columns WHERE table_name = 'orders' AND column_name IN ('cents', 'price')")
    }
}

#[test]
fn a_schema_and_a_service_go_forth_together_and_back_by_a_no() {
    let release = Release::new();
    let example = &release.example;
    let mut edge = example.edge(&[]);
    example.done(&["apply", "v1.toml"]);
    release
        .place
        .blue
        .sql("DROP VIEW dear; INSERT INTO orders (account, price) VALUES (1, 2.5), (2, 10)");
    let load = Load::start(example);

    let (mut child, run) = release.begin();
    example.only("2");
    assert_eq!(release.columns(), "cents price");
    assert_eq!(
        release.place.blue.sql("SELECT sum(cents) FROM orders"),
        "1250"
    );
    release.said(&["reject", &run, "--why", "not yet"]);
    assert!(!child.wait().expect("it ends").success());
    example.only("1");
    assert_eq!(release.columns(), "price", "{}", release.log());

    let (mut child, run) = release.begin();
    release.said(&["approve", &run, "--why", "it is well"]);
    assert!(
        child.wait().expect("it ends").success(),
        "{}",
        release.log()
    );
    example.only("2");
    // Version 2 writes the price as well: it is not taken away as long as that serves.
    assert_eq!(release.columns(), "cents price");
    assert!(
        release.log().contains("on contracted: FAILS"),
        "{}",
        release.log()
    );
    load.end_without_failure();
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}
