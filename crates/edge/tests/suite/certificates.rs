//! An edge with TLS, and clients written by others: OpenSSL's own, Python's and curl.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use everopen_edge::config::{Certificate, ClientMode, Clients, Tls, TlsVersion, Trust};
use everopen_testkit::pki::{Issued, Pki};
use serde_json::Value;

use super::support::{Place, Server, until};

/// The name of the trust store.
pub const STORE: &str = "partners";

/// A server behind an edge with TLS on its public listener.
pub struct Shop {
    pub place: Place,
    pub server: Server,
    /// Whom clients trust.
    pub ours: Pki,
    /// Whom the edge trusts.
    pub partners: Pki,
}

/// A file with a client's chain and one with its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub chain: PathBuf,
    pub key: PathBuf,
    /// What of the chain is between it and its authority.
    between: Option<PathBuf>,
}

impl Pair {
    /// This chain with another's key.
    pub fn with_key_of(&self, other: &Self) -> Self {
        Self {
            key: other.key.clone(),
            ..self.clone()
        }
    }
}

/// Writes a private file.
pub fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("private");
}

/// Puts a file in the place of another at once, as an operator should.
pub fn replace(path: &Path, text: &str) {
    let fresh = path.with_file_name(".fresh");
    write(&fresh, text);
    fs::rename(fresh, path).expect("replaced");
}

impl Shop {
    pub fn new(mode: ClientMode) -> Self {
        let server = Server::start("served");
        let mut place = Place::new(&[server.address], &[], (1, 0));
        let (ours, partners) = (Pki::root("ours"), Pki::root("partners"));
        let at = |name: &str| place.folder.path().join(name);
        let own = ours.server(&["localhost", "127.0.0.1"]);
        write(&at("server.pem"), &own.pem);
        write(&at("server.key"), &own.key);
        write(&at("ours.pem"), &ours.pem());
        write(&at("partners.pem"), &partners.pem());
        fs::create_dir(at("lists")).expect("made");
        let trust = Trust {
            authorities: vec![at("partners.pem")],
            revoked: vec![at("lists")],
            depth: 2,
            refuse_stale: false,
            need_list: false,
        };
        let is_checked = matches!(mode, ClientMode::Verify | ClientMode::Optional);
        let tls = Tls {
            certificates: vec![Certificate {
                chain: at("server.pem"),
                key: at("server.key"),
            }],
            versions: vec![TlsVersion::V12, TlsVersion::V13],
            clients: Clients {
                mode,
                trust: is_checked.then(|| STORE.to_string()),
                advertise: true,
            },
        };
        let log = at("connections.jsonl");
        place.config.listeners[0].tls = Some(tls);
        place.config.stores.insert(STORE.into(), trust);
        place.config.connection_log = Some(log);
        Self {
            place,
            server,
            ours,
            partners,
        }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.place.folder.path().join(name)
    }

    pub fn port(&self) -> u16 {
        self.place.public().port()
    }

    /// Writes a client's files.
    pub fn pair(&self, name: &str, issued: &Issued, between: &[&Pki]) -> Pair {
        let above = self.at(&format!("{name}.between.pem"));
        let pair = Pair {
            chain: self.at(&format!("{name}.pem")),
            key: self.at(&format!("{name}.key")),
            between: (!between.is_empty()).then(|| above.clone()),
        };
        let between: String = between.iter().map(|above| above.pem()).collect();
        write(&above, &between);
        write(&pair.chain, &format!("{}{between}", issued.pem));
        write(&pair.key, &issued.key);
        pair
    }

    /// The last line of the connection log that has something of this.
    pub fn logged(&self, what: &str) -> Value {
        let mut found = Value::Null;
        until(&format!("the log says {what:?}"), || {
            let text = fs::read_to_string(self.at("connections.jsonl")).unwrap_or_default();
            let line = text.lines().rfind(|line| line.contains(what));
            if let Some(line) = line {
                found = serde_json::from_str(line).expect("a line of JSON");
            }
            line.is_some()
        });
        found
    }

    /// A header that the server saw last.
    pub fn seen(&self, name: &str) -> Option<String> {
        let head = self.server.head.lock().unwrap();
        head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_string())
        })
    }

    /// One request by `openssl s_client`: everything that it prints.
    pub fn openssl(&self, pair: Option<&Pair>, more: &[&str]) -> String {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-ign_eof", "-servername", "localhost"])
            .args(["-connect", &format!("127.0.0.1:{}", self.port())])
            .arg("-CAfile")
            .arg(self.at("ours.pem"))
            .args(["-verify_return_error"])
            .args(more);
        if let Some(pair) = pair {
            command.arg("-cert").arg(&pair.chain);
            command.arg("-key").arg(&pair.key);
            if let Some(between) = &pair.between {
                command.arg("-cert_chain").arg(between);
            }
        }
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("openssl is installed");
        let request = b"GET /path HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        // A server that has closed already is said in the output.
        let _ = child.stdin.take().expect("its input").write_all(request);
        let output = child.wait_with_output().expect("it ends");
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&both).into_owned()
    }

    /// What curl gives for a path: its output, and whether it was content.
    pub fn curl(&self, pair: Option<&Pair>, more: &[&str]) -> (bool, String) {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(self.at("ours.pem"));
        if let Some(pair) = pair {
            command.arg("--cert").arg(&pair.chain);
            command.arg("--key").arg(&pair.key);
        }
        command.args(more);
        let output = command.output().expect("curl is installed");
        let both = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&both).into_owned();
        (output.status.success(), text)
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}/path", self.port())
    }

    pub fn python(&self, pair: Option<&Pair>, version: &str) -> Python {
        Python::start(self, pair, version)
    }
}

/// A client in Python that does as it is told.
pub struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start(shop: &Shop, pair: Option<&Pair>, version: &str) -> Self {
        let mut command = Command::new("python3");
        command
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/suite/client.py"
            ))
            .arg(shop.port().to_string())
            .arg(shop.at("ours.pem"))
            .arg(version);
        if let Some(pair) = pair {
            command.arg(&pair.chain).arg(&pair.key);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("python3 is installed");
        Self {
            input: child.stdin.take().expect("its input"),
            output: BufReader::new(child.stdout.take().expect("its output")),
            child,
        }
    }

    /// Tells it to do something; what it says. `ok …` or `failed …`.
    pub fn does(&mut self, what: &str) -> String {
        writeln!(self.input, "{what}").expect("it listens");
        let mut said = String::new();
        self.output.read_line(&mut said).expect("it answers");
        said.trim_end().to_string()
    }

    /// Opens a connection and makes a request: in TLS 1.3 a client hears only then that it was refused.
    pub fn asks(&mut self, name: &str) -> String {
        let opened = self.does(&format!("open {name}"));
        if opened.starts_with("failed") {
            return opened;
        }
        self.does(&format!("get {name}"))
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
