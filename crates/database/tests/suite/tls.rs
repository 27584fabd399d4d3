//! Servers and a pooler that speak TLS, and some that should and do not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use everopen_database::file::File;
use everopen_database::preflight;
use everopen_database::run::Side;
use everopen_rollout::journal::Outcome;
use everopen_testkit::pki::{Issued, Pki};

use crate::made::{Clone, is_new};
use crate::place::Place;
use crate::servers::{Load, Postgres, good, is_root, sql_at, until};

/// For the server's own user alone, as it wants its key.
fn write_for_server(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    good(Command::new("chmod").arg("600").arg(path));
    if is_root() {
        good(Command::new("chown").arg("postgres").arg(path));
    }
}

/// A place whose servers and pooler have certificates, and where nobody connects without TLS.
struct Secure {
    place: Place,
    authority: Pki,
    /// The authority's certificate.
    root: PathBuf,
}

impl Secure {
    fn new() -> Self {
        let place = Place::new();
        let authority = Pki::root("the servers' authority");
        let root = place.path("root.crt");
        fs::write(&root, authority.pem()).expect("written");
        let this = Self {
            place,
            authority,
            root,
        };
        // By this user the controller and the servers connect: not without a password.
        let user = "CREATE ROLE mover SUPERUSER LOGIN PASSWORD 'it''s a secret'; CREATE ROLE client LOGIN SUPERUSER;";
        for (server, name) in [(&this.place.blue, "blue"), (&this.place.green, "green")] {
            server.sql(user);
            this.secure(server, name, &this.authority.server(&["127.0.0.1"]));
            this.allow(
                server,
                name,
                "hostssl all,replication mover all scram-sha-256\nhostssl all client all cert\nhostssl all all all trust\n",
            );
        }
        this.secure_pooler();
        this
    }

    fn secure(&self, server: &Postgres, name: &str, issued: &Issued) {
        let data = self.place.path(name);
        write_for_server(&data.join("server.crt"), &issued.pem);
        write_for_server(&data.join("server.key"), &issued.key);
        server.sql("ALTER SYSTEM SET ssl = on");
        let root = format!("ALTER SYSTEM SET ssl_ca_file = '{}'", self.root.display());
        server.sql(&root);
        self.reload(server);
    }

    fn reload(&self, server: &Postgres) {
        let before = server.sql("SELECT pg_conf_load_time()");
        server.sql("SELECT pg_reload_conf()");
        until("settings are read", || {
            server.sql("SELECT pg_conf_load_time()") != before
        });
    }

    /// Who may connect, and how.
    fn allow(&self, server: &Postgres, name: &str, text: &str) {
        write_for_server(&self.place.path(name).join("pg_hba.conf"), text);
        self.reload(server);
    }

    fn secure_pooler(&self) {
        let issued = self.authority.server(&["127.0.0.1"]);
        let (cert, key) = (self.place.path("pooler.crt"), self.place.path("pooler.key"));
        write_for_server(&cert, &issued.pem);
        write_for_server(&key, &issued.key);
        self.place.bouncer.change(|text| {
            format!(
                "{text}client_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\nserver_tls_sslmode = verify-full\nserver_tls_ca_file = {}\n",
                cert.display(),
                key.display(),
                self.root.display()
            )
        });
        self.place.bouncer.kill();
        self.place.bouncer.start_again();
    }

    /// A file by which all connections are as `how` says.
    fn file(&self, how: &str) -> File {
        self.write("mover", how, how)
    }

    fn write(&self, user: &str, how: &str, console: &str) -> File {
        let text = self.place.text("");
        let text = text
            .replace(
                "user=postgres dbname=shop",
                &format!("user={user} password='it\\\\'s a secret' dbname=shop {how}"),
            )
            .replace("dbname=pgbouncer", &format!("dbname=pgbouncer {console}"));
        self.place.write(&text)
    }

    fn full(&self) -> String {
        format!("sslmode=verify-full sslrootcert={}", self.root.display())
    }
}

/// What pre-flight says, or why it can't be carried out.
fn look(file: &File) -> Result<String, String> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let found = runtime.block_on(preflight::look(&file.database))?;
    let blocks = found.iter().filter(|finding| finding.blocks);
    let told: Vec<String> = blocks.map(ToString::to_string).collect();
    Ok(told.join("\n"))
}

#[track_caller]
fn refused(file: &File, why: &str) {
    let error = look(file).expect_err("refused");
    assert!(error.contains(why), "{why}: {error}");
    assert!(!error.contains("a secret"), "{error}");
}

#[test]
fn a_cutover_over_verified_connections_alone() {
    let at = Secure::new();
    let place = &at.place;
    // A password is bound to the certificate as well.
    let file = at.write(
        "mover",
        &format!("{} channel_binding=require", at.full()),
        &at.full(),
    );
    let load = Load::start(place, 30);
    until("clients write", || {
        place.blue.sql("SELECT count(*) > 100 FROM orders") == "t"
    });
    let ended = place.apply(&file);
    assert_eq!(
        (ended.outcome, ended.serving, &ended.reason),
        (Outcome::New, Side::Green, &None)
    );
    let follows = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)";
    until("blue follows over TLS", || place.green.sql(follows) == "t");
    let back = place.turn_back();
    assert_eq!((back.serving, back.reason), (Side::Blue, None));
    let forth = place.turn_back();
    assert_eq!((forth.serving, forth.reason), (Side::Green, None));
    load.end_without_failure();
    place.finish();
    assert_eq!(place.left(), "");
}

#[test]
fn a_clone_is_made_over_verified_connections() {
    let at = Secure::new();
    let full = at.full();
    let clone = Clone::of(at.place);
    let mut file = clone.file("how = \"base_backup\"", "");
    let database = &mut file.database;
    for dsn in [&mut database.blue, &mut database.green] {
        let user = format!("user=mover password='it\\'s a secret' {full}");
        *dsn = dsn.replace("user=postgres", &user);
    }
    database.poolers[0].admin += &format!(" {full}");
    // Programs of another user are not to look into root's home.
    let programs = &mut database.clone.as_mut().expect("it is one").run_by;
    programs.splice(0..0, ["env".into(), "HOME=/nonexistent".into()]);
    // A server is in green's place, also where it is not the one that is meant.
    let mut taken = file.clone();
    let other = clone.place.path("other.crt");
    fs::write(&other, Pki::root("somebody else").pem()).expect("written");
    let (port, green) = (clone.port, clone.place.green.port);
    taken.database.green = taken
        .database
        .green
        .replace(&format!("port={port}"), &format!("port={green}"));
    taken.database.green += &format!(" sslrootcert={}", other.display());
    let told = look(&taken).expect("they can be asked");
    assert!(
        told.contains("a server answers where green is to be made"),
        "{told}"
    );
    assert_eq!(look(&file), Ok(String::new()));
    is_new(&clone.place.apply(&file), Side::Green);
    let follows = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)";
    until("blue follows over TLS", || clone.sql(follows) == "t");
    is_new(&clone.place.turn_back(), Side::Blue);
    clone.place.finish();
}

#[test]
fn who_a_server_is_matters_as_far_as_the_string_says() {
    let at = Secure::new();
    let place = &at.place;
    let root = format!("sslrootcert={}", at.root.display());
    let other = place.path("other.crt");
    fs::write(&other, Pki::root("somebody else").pem()).expect("written");
    let other = format!("sslrootcert={}", other.display());
    // Those that are taken.
    for how in ["", "sslmode=allow", "sslmode=prefer", "sslmode=require"] {
        assert_eq!(look(&at.file(how)), Ok(String::new()), "{how:?}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let how = format!("sslmode={mode} {root} ssl_min_protocol_version=TLSv1.3");
        assert_eq!(look(&at.file(&how)), Ok(String::new()), "{mode}");
        refused(
            &at.file(&format!("sslmode={mode} {other}")),
            "nobody whose certificate is in",
        );
    }
    // A URL says it as well.
    let text = place.text("");
    let url = |port: u16, name: &str| {
        format!(
            "postgresql://mover:it%27s%20a%20secret@127.0.0.1:{port}/{name}?sslmode=verify-full&sslrootcert={}",
            at.root.display()
        )
    };
    let mut file = place.write(&text);
    file.database.blue = url(place.blue.port, "shop");
    file.database.green = url(place.green.port, "shop");
    file.database.poolers[0].admin = url(place.pooler, "pgbouncer").replace("mover:", "postgres:");
    assert_eq!(look(&file), Ok(String::new()));

    // The controller's own checks hold for the console, too.
    let console = at.write("mover", &at.full(), &format!("sslmode=verify-full {other}"));
    refused(&console, "connect to pgbouncer");
    // Without TLS nobody gets in here; it is said what the server says.
    refused(&at.file("sslmode=disable"), "28000");
    // A file that the other server does not have is missed before anything is begun.
    let mut lost = at.file(&at.full());
    lost.database.blue_from_green =
        Some(format!("{} sslrootcert=/nowhere.crt", lost.database.blue));
    let told = look(&lost).expect("they can be asked");
    assert!(
        told.contains("green's host has no /nowhere.crt, which sslrootcert names"),
        "{told}"
    );

    // Another name.
    let issued = at.authority.server(&["elsewhere.example"]);
    at.secure(&place.blue, "blue", &issued);
    refused(&at.file(&at.full()), "for another name");
    let ca = format!("sslmode=verify-ca {root}");
    assert_eq!(look(&at.file(&ca)), Ok(String::new()));
    // One that has signed for itself, and is trusted itself.
    let own = Pki::root_with("127.0.0.1", |params| {
        let address = "127.0.0.1".parse().expect("an address");
        params.subject_alt_names = vec![everopen_testkit::pki::rcgen::SanType::IpAddress(address)];
    });
    let issued = Issued {
        der: own.der(),
        pem: own.pem(),
        key: own.key_pem(),
    };
    at.secure(&place.blue, "blue", &issued);
    refused(&at.file(&at.full()), "nobody whose certificate is in");
    fs::write(&at.root, at.authority.pem() + &own.pem()).expect("written");
    assert_eq!(look(&at.file(&at.full())), Ok(String::new()));
}

#[test]
fn a_client_has_a_certificate_of_its_own() {
    let at = Secure::new();
    let issued = at.authority.client(1, |_| {});
    let (cert, key) = (at.place.path("client.crt"), at.place.path("client.key"));
    fs::write(&cert, &issued.pem).expect("written");
    fs::write(&key, &issued.key).expect("written");
    let with = format!(
        "{} sslcert={} sslkey={}",
        at.full(),
        cert.display(),
        key.display()
    );
    let file = at.write("client", &with, &at.full());
    assert_eq!(look(&file), Ok(String::new()));
    // The pooler's file has nothing to say of the server's users.
    refused(
        &at.write("client", &at.full(), &at.full()),
        "valid client certificate",
    );
    let without_key = format!("{} sslcert={}", at.full(), cert.display());
    refused(&at.write("client", &without_key, &at.full()), "no sslkey");
    let no_root = look(&at.file("sslmode=verify-full")).expect_err("refused");
    assert!(
        no_root.contains("name its file in sslrootcert"),
        "{no_root}"
    );
}

/// A server that says that it has no TLS. All that comes afterwards is noted.
fn without_tls() -> (u16, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let noted = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut asked = [0; 8];
        client.read_exact(&mut asked).expect("a request");
        assert_eq!(asked, [0, 0, 0, 8, 4, 210, 22, 47], "it asks for TLS first");
        client.write_all(b"N").expect("told");
        // It asks for the password in the clear, as one would who wants to know it.
        let _ = client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]);
        let mut rest = Vec::new();
        let mut bytes = [0; 512];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            rest.extend_from_slice(&bytes[..count]);
            if rest.windows(6).any(|part| part == b"secret") {
                break;
            }
        }
        rest
    });
    (port, noted)
}

#[test]
fn no_password_is_sent_in_the_clear_where_tls_is_asked_for() {
    let place = Place::new();
    let root = place.path("root.crt");
    fs::write(&root, Pki::root("an authority").pem()).expect("written");
    let mut file = place.file("");
    for (mode, is_sent) in [
        ("require", false),
        ("verify-ca", false),
        ("verify-full", false),
        ("prefer", true),
    ] {
        let (port, noted) = without_tls();
        file.database.blue = format!(
            "host=127.0.0.1 port={port} user=postgres password=secret dbname=shop sslmode={mode} sslrootcert={}",
            root.display()
        );
        let error = look(&file).expect_err("it is no server");
        let rest = noted.join().expect("a server");
        let found = rest.windows(6).any(|part| part == b"secret");
        assert_eq!(found, is_sent, "{mode}: {error}");
        if !is_sent {
            assert!(rest.is_empty(), "{mode}: {rest:?}");
            let why = format!("does not speak TLS, which sslmode={mode} asks for");
            assert!(error.contains(&why), "{error}");
        }
    }
    // A real server without TLS is one as well; by default it is taken as it is.
    assert_eq!(look(&place.file("")), Ok(String::new()));
    assert_eq!(sql_at(place.blue.port, "shop", "SHOW ssl"), "off");
}
