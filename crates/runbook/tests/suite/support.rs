//! A folder with a document, and runs of it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use everopen_rollout::journal::Line;
use everopen_runbook::document::Document;
use everopen_runbook::run::{self, By, Ended, Entry, Fault, Seen};

/// A document's folder, its runs, and a file into which its steps write what they do.
pub struct Bench {
    folder: tempfile::TempDir,
    document: String,
}

impl Bench {
    /// Steps are below `mainSteps:`; `LOG` in them is the file.
    pub fn new(steps: &str) -> Self {
        Self::of(&format!("mainSteps:\n{steps}"))
    }

    /// All but the version; `LOG` in it is the file.
    pub fn of(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log").display().to_string();
        let text = format!("schemaVersion: everopen-1\n{text}").replace("LOG", &log);
        let bench = Self {
            folder,
            document: text,
        };
        std::fs::write(bench.path(), &bench.document).expect("written");
        bench
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("book.yaml")
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Begins a run.
    pub fn begin(&self, given: &[(&str, &str)]) -> Result<String, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let document = Document::read(&self.path()).map_err(|error| text(&error))?;
        let given: Vec<(String, String)> = given
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let begun = run::prepare(&self.root(), &self.path(), &document, &given);
        Ok(begun.map_err(|error| text(&error))?.id)
    }

    /// Carries a run on to its end.
    pub async fn go_on(&self, id: &str) -> Result<Ended, Fault> {
        run::resume(&self.root(), id, &by("somebody"), &mut |_| {}).await
    }

    /// Begins a run and carries it to its end.
    pub async fn run(&self, given: &[(&str, &str)]) -> (String, Ended) {
        let id = self.begin(given).expect("it begins");
        let ended = self.go_on(&id).await.expect("it ends");
        (id, ended)
    }

    pub fn look(&self, id: &str) -> Seen {
        run::look(&self.root(), id).expect("it is there")
    }

    /// What the steps wrote, line by line.
    pub fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        text.lines().map(str::to_string).collect()
    }

    /// Carries a run on beside the test. What it does comes out of the second as it is done.
    pub fn beside(&self, id: &str) -> (tokio::task::JoinHandle<Result<Ended, Fault>>, Told) {
        let told = Told::default();
        let (root, id) = (self.root(), id.to_string());
        let lines = Arc::clone(&told.0);
        let work = tokio::spawn(async move {
            let mut tell =
                |line: &Line<Entry>| lines.lock().expect("whole").push(line.entry.clone());
            run::resume(&root, &id, &by("somebody"), &mut tell).await
        });
        (work, told)
    }
}

/// What a run that goes on beside the test has done.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<Entry>>>);

impl Told {
    /// Waits until something was done, for a minute at most.
    pub async fn until(&self, what: impl Fn(&Entry) -> bool) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            if self.0.lock().expect("whole").iter().any(&what) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{:?}", self.0);
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a step is begun.
    pub async fn begun(&self, name: &str) {
        self.until(|entry| matches!(entry, Entry::Begun { step, .. } if step == name))
            .await;
    }
}

pub fn by(who: &str) -> By {
    By {
        who: who.into(),
        why: "a test".into(),
    }
}

/// A step that writes a word and ends with a status; undone by writing another.
pub fn step(name: &str, status: u8, more: &str) -> String {
    format!(
        "- name: {name}\n  action: script\n  inputs: {{ script: 'echo {name} >> LOG; exit {status}' }}\n{more}"
    )
}

/// The undo of such a step.
pub fn undo(name: &str) -> String {
    format!("  undo: {{ action: script, inputs: {{ script: 'echo undo-{name} >> LOG' }} }}\n")
}

/// A server with TLS, written in another language. It ends with the value.
pub struct Https(std::process::Child, pub u16);

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one for `localhost`; `ca.pem` in the folder is who vouches for it, `other.pem` is not.
pub fn https(folder: &Path) -> Https {
    use everopen_testkit::pki::Pki;
    use std::io::BufRead;
    const SERVER: &str = r#"
import http.server, ssl, sys
class It(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "8"); self.end_headers()
        self.wfile.write(b"over TLS")
    def log_message(self, *args): pass
server = http.server.HTTPServer(("localhost", 0), It)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("server.pem", "server.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"#;
    let (ca, other) = (Pki::root("it"), Pki::root("another"));
    let server = ca.server(&["localhost"]);
    for (name, text) in [
        ("ca.pem", ca.pem()),
        ("other.pem", other.pem()),
        ("server.pem", server.pem),
        ("server.key", server.key),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let mut child = std::process::Command::new("python3")
        .args(["-c", SERVER])
        .current_dir(folder)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says its port");
    Https(child, line.trim().parse().expect("a port"))
}
