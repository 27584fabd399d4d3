//! Where a game day takes place: a clone of blue, a green, poolers of its own. They listen on sockets in one folder
//! that nobody else may enter, on no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::clone::Cloning;
use crate::dsn::Dsn;
use crate::file::{CloneOf, Database, File, GameDay, How, Pooler, Strategy};
use crate::server::{Server, Side, connect, literal};

/// Sockets are files: these numbers are used by nobody else in that folder.
const BLUE: u16 = 5432;
const GREEN: u16 = 5433;
const POOLERS: u16 = 6432;
/// A socket's path has at most 107 bytes, of which its name takes some.
const PATH_MAX: usize = 80;
/// How long a server may take to come or go.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// The servers of a game day. They are ended and removed by [`Stage::remove`].
#[derive(Clone)]
pub(super) struct Stage {
    pub file: File,
    pub root: PathBuf,
    day: GameDay,
    user: String,
    name: String,
    /// What the database of a green is made with, where one is not made of blue.
    encoding: Vec<String>,
}

impl Stage {
    /// Makes it.
    pub async fn set(file: &File) -> Result<Self, String> {
        let database = &file.database;
        let day = database.game_day.clone().ok_or(
            "the file has no [database.game_day]: it says where a clone of blue may be made",
        )?;
        let folder = day.folder.display().to_string();
        if folder.len() > PATH_MAX {
            return Err(format!(
                "database.game_day.folder: {folder} is longer than {PATH_MAX} bytes: sockets in it would have no name"
            ));
        }
        let config = Dsn::parse(&database.blue)
            .map_err(|error| format!("database.blue: {error}"))?
            .config;
        let user = config.get_user().unwrap_or("postgres").to_string();
        let name = config.get_dbname().unwrap_or(&user).to_string();
        let mut stage = Self {
            file: file.clone(),
            root: day.folder.join("rollouts"),
            user,
            name,
            day,
            encoding: Vec::new(),
        };
        stage.redirect();
        let blue = Server::connect(Side::Blue, &database.blue).await?;
        stage.make(&blue, database).await?;
        Ok(stage)
    }

    async fn make(&mut self, blue: &Server, database: &Database) -> Result<(), String> {
        let folder = self.path("");
        // One that is there already is not ours.
        self.run(&["mkdir", "--mode=700", &folder])?;
        let made = async {
            self.run(&["mkdir", &self.path("rollouts"), &self.path("work")])?;
            self.write(
                "hba.conf",
                "local all all trust\nlocal replication all trust\n",
            )?;
            self.clone_blue(blue, database).await?;
            if self.has_own_green() {
                self.init_green(blue).await?;
            }
            for at in 0..self.file.database.poolers.len() {
                self.write_pooler(at)?;
                self.start_pooler(at)?;
                self.wait_for_pooler(at).await?;
            }
            Ok(())
        };
        let made: Result<(), String> = made.await;
        if made.is_err() {
            self.remove()?;
        }
        made
    }

    fn path(&self, name: &str) -> String {
        self.day.folder.join(name).display().to_string()
    }

    fn dsn(&self, port: u16) -> String {
        let (folder, user, name) = (self.path(""), &self.user, &self.name);
        let folder = folder.trim_end_matches('/');
        format!("host={folder} port={port} user={user} dbname={name}")
    }

    /// As the clone's settings, of a server that listens here.
    fn settings(&self, port: u16) -> Vec<String> {
        let folder = self.path("");
        let folder = folder.trim_end_matches('/');
        vec![
            format!("port = {port}"),
            "listen_addresses = ''".into(),
            format!("unix_socket_directories = '{folder}'"),
            format!("hba_file = '{folder}/hba.conf'"),
            "ssl = off".into(),
            "shared_preload_libraries = ''".into(),
            "wal_level = logical".into(),
            "synchronous_standby_names = ''".into(),
        ]
    }

    /// The same plan, between the servers of this place.
    fn redirect(&mut self) {
        let (blue, green) = (self.dsn(BLUE), self.dsn(GREEN));
        let settings = self.settings(GREEN);
        let folder = self.day.folder.clone();
        let lines = [BLUE, GREEN].map(|port| {
            let line = self.dsn(port);
            let (line, _) = line.split_once(" user=").unwrap_or_default();
            format!("{line} dbname={}", self.name)
        });
        let admin = |at: usize| {
            let port = POOLERS + at as u16;
            let folder = folder.display();
            format!(
                "host={folder} port={port} user={} dbname=pgbouncer",
                self.user
            )
        };
        let poolers: Vec<Pooler> = self
            .file
            .database
            .poolers
            .iter()
            .enumerate()
            .map(|(at, pooler)| Pooler {
                admin: admin(at),
                database: pooler.database.clone(),
                reads: pooler.reads.clone(),
                file: folder.join(format!("pooler-{at}.databases")),
                blue: lines[0].clone(),
                green: lines[1].clone(),
            })
            .collect();
        let database = &mut self.file.database;
        database.poolers = poolers;
        (database.blue, database.green) = (blue, green);
        (database.blue_from_green, database.green_from_blue) = (None, None);
        if let Some(clone) = &mut database.clone {
            if clone.data.is_some() {
                clone.data = Some(folder.join("green"));
                clone.settings.extend(settings);
            }
            if clone.blue_data.is_some() {
                clone.blue_data = Some(folder.join("blue"));
            }
            clone.run_by.clone_from(&self.day.run_by);
        }
    }

    /// Whether green runs before the plan begins; else the plan makes it.
    pub fn has_own_green(&self) -> bool {
        let clone = self.file.database.clone.as_ref();
        clone.is_none_or(|clone| clone.how == How::Dump)
    }

    fn clone_of_blue(&self) -> CloneOf {
        CloneOf {
            how: self.day.how,
            writes: None,
            hold_ms: Some(self.file.database.copy_ms),
            data: Some(self.day.folder.join("blue")),
            blue_data: self.day.blue_data.clone(),
            bin: self.day.bin.clone(),
            settings: self.settings(BLUE),
            run_by: self.day.run_by.clone(),
            jobs: 1,
            make: Vec::new(),
            remove: Vec::new(),
        }
    }

    /// Production is read, and nothing is written there.
    async fn clone_blue(&self, blue: &Server, database: &Database) -> Result<(), String> {
        let subscriptions = blue.column("SELECT subname FROM pg_subscription").await?;
        if !subscriptions.is_empty() {
            return Err(format!(
                "blue has subscriptions, which a clone would have, too, and take what is meant for blue: {}",
                subscriptions.join(", ")
            ));
        }
        let mut database = database.clone();
        database.strategy = Strategy::Clone;
        let work = self.day.folder.join("work");
        let cloning = Cloning {
            database: &database,
            clone: &self.clone_of_blue(),
            id: "game-day",
            path: &work,
        };
        cloning.make(blue).await.map(drop)?;
        let blue = Server::connect(Side::Blue, &self.file.database.blue).await?;
        blue.run("CREATE TABLE IF NOT EXISTS public.everopen_game_day (client int, number bigint, PRIMARY KEY (client, number))").await
    }

    /// A green as the plan finds it: of its version, with blue's roles, and an empty database.
    async fn init_green(&mut self, blue: &Server) -> Result<(), String> {
        let data = self.path("green");
        let user = self.user.clone();
        self.run(&[
            &self.green_program("initdb"),
            "--pgdata",
            &data,
            "--username",
            &user,
            "--auth",
            "trust",
            "--no-sync",
        ])?;
        let mut settings = self.settings(GREEN);
        settings.extend([
            "max_wal_senders = 20".into(),
            "max_replication_slots = 20".into(),
        ]);
        self.append(
            "green/postgresql.conf",
            &format!("\n{}\n", settings.join("\n")),
        )?;
        self.start(Side::Green)?;
        let roles = self.path("roles.sql");
        let dsn = |name: &str| {
            self.dsn(name_port(name))
                .replace(&format!("dbname={}", self.name), "dbname=postgres")
        };
        let dump = self.program("pg_dumpall");
        self.run(&[
            &dump,
            "--roles-only",
            "--dbname",
            &dsn("blue"),
            "--file",
            &roles,
        ])?;
        // The role that initdb has made is there already.
        self.run(&[
            &self.file.database.psql.clone(),
            "--no-psqlrc",
            "--quiet",
            "--file",
            &roles,
            "--dbname",
            &dsn("green"),
        ])?;
        let of = blue
            .rows("SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()")
            .await?;
        self.encoding = of.into_iter().next().unwrap_or_default();
        Ok(())
    }

    /// Green as it was at first: there, and empty; or not there.
    pub async fn fresh_green(&self) -> Result<(), String> {
        if !self.has_own_green() {
            let _ = self.stop(Side::Green);
            return self.run(&["rm", "-rf", "--", &self.path("green")]);
        }
        let maintenance = self
            .dsn(GREEN)
            .replace(&format!("dbname={}", self.name), "dbname=postgres");
        let server = Server::connect(Side::Green, &maintenance).await?;
        let name = format!("\"{}\"", self.name.replace('"', "\"\""));
        server
            .run(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await?;
        let [encoding, collate, ctype] = self.encoding.as_slice() else {
            return Err("blue does not say how its database is encoded".into());
        };
        server
            .run(&format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
                literal(encoding),
                literal(collate),
                literal(ctype)
            ))
            .await
    }

    fn program(&self, name: &str) -> String {
        self.day.bin.as_ref().map_or_else(
            || name.to_string(),
            |bin| bin.join(name).display().to_string(),
        )
    }

    /// One of green's version.
    fn green_program(&self, name: &str) -> String {
        match &self.day.green_bin {
            Some(bin) if self.has_own_green() => bin.join(name).display().to_string(),
            _ => self.program(name),
        }
    }

    fn folder_of(&self, side: Side) -> (String, String) {
        match side {
            Side::Blue => (self.program("pg_ctl"), self.path("blue")),
            Side::Green => (self.green_program("pg_ctl"), self.path("green")),
        }
    }

    /// Starts a server that does not run.
    pub fn start(&self, side: Side) -> Result<(), String> {
        let (program, data) = self.folder_of(side);
        if !Path::new(&data).join("PG_VERSION").exists()
            || self
                .output(&[&program, "--pgdata", &data, "status"])?
                .status
                .success()
        {
            return Ok(());
        }
        let log = format!("{data}/everopen.log");
        self.run(&[
            &program, "--pgdata", &data, "--log", &log, "--wait", "start",
        ])
    }

    /// It is gone at once, with all its processes.
    pub fn stop(&self, side: Side) -> Result<(), String> {
        let (program, data) = self.folder_of(side);
        self.run(&[&program, "--pgdata", &data, "--mode", "immediate", "stop"])
    }

    /// All of green's processes stand still, or go on.
    pub fn signal_green(&self, signal: &str) -> Result<(), String> {
        let script = "pid=$(head -n 1 \"$0/postmaster.pid\") && kill -\"$1\" \"$pid\" && for one in /proc/[0-9]*; do if grep -qs \"^PPid:[[:space:]]*$pid$\" \"$one/status\"; then kill -\"$1\" \"${one#/proc/}\"; fi; done";
        self.run(&["sh", "-c", script, &self.path("green"), signal])
    }

    fn write_pooler(&self, at: usize) -> Result<(), String> {
        let (folder, port) = (self.path(""), POOLERS + at as u16);
        let folder = folder.trim_end_matches('/');
        self.write("users.txt", &format!("\"{}\" \"\"\n", self.user))?;
        crate::pooler::set_line(&self.file.database.poolers[at], Side::Blue)?;
        self.write(&format!("pooler-{at}.ini"), &format!(
            "[databases]\n%include {folder}/pooler-{at}.databases\n[pgbouncer]\nlisten_addr =\nlisten_port = {port}\nunix_socket_dir = {folder}\nauth_type = trust\nauth_file = {folder}/users.txt\nadmin_users = {}\npool_mode = transaction\nignore_startup_parameters = extra_float_digits,options\nlogfile = {folder}/pooler-{at}.log\npidfile = {folder}/pooler-{at}.pid\n",
            self.user
        ))
    }

    pub fn start_pooler(&self, at: usize) -> Result<(), String> {
        let settings = self.path(&format!("pooler-{at}.ini"));
        // One that was killed has left its process id here.
        self.run(&["rm", "-f", &self.path(&format!("pooler-{at}.pid"))])?;
        let program = self.day.pgbouncer.clone();
        self.run(&[&program, "--daemon", "--quiet", &settings])
    }

    /// Its program is gone into the background before anybody can connect.
    async fn wait_for_pooler(&self, at: usize) -> Result<(), String> {
        let began = Instant::now();
        loop {
            match self.serving(at).await {
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(LOOK).await,
                Ok(_) => return Ok(()),
            }
        }
    }

    pub fn kill_pooler(&self, at: usize) -> Result<(), String> {
        let pid = self.path(&format!("pooler-{at}.pid"));
        self.run(&["sh", "-c", "kill -KILL \"$(cat \"$0\")\"", &pid])
    }

    /// Where clients come, by the name by which they write.
    pub fn pooler(&self, at: usize) -> String {
        let (name, port) = (
            &self.file.database.poolers[at].database,
            POOLERS + at as u16,
        );
        self.dsn(port)
            .replace(&format!("dbname={}", self.name), &format!("dbname={name}"))
    }

    /// The side to which clients are led, asked through a pooler.
    pub async fn serving(&self, at: usize) -> Result<Option<Side>, String> {
        let dsn = self.pooler(at);
        let client = connect(&Dsn::parse(&dsn)?, "a pooler").await?;
        let rows = crate::server::query(&client, "SELECT current_setting('port')").await?;
        let port = rows.first().and_then(|row| row.first()?.parse().ok());
        Ok(match port {
            Some(BLUE) => Some(Side::Blue),
            Some(GREEN) => Some(Side::Green),
            _ => None,
        })
    }

    /// Waits until a server takes connections.
    pub async fn up(&self, side: Side) -> Result<Server, String> {
        let dsn = match side {
            Side::Blue => &self.file.database.blue,
            Side::Green => &self.file.database.green,
        };
        let began = Instant::now();
        loop {
            match Server::connect(side, dsn).await {
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => tokio::time::sleep(LOOK).await,
                up => return up,
            }
        }
    }

    /// Ends and removes everything.
    pub fn remove(&self) -> Result<(), String> {
        for at in 0..self.file.database.poolers.len() {
            let _ = self.kill_pooler(at);
        }
        for side in [Side::Green, Side::Blue] {
            let _ = self.signal_green("CONT");
            let _ = self.stop(side);
        }
        // What the controller has written may be no other's to remove.
        for folder in [&self.root, &self.day.folder.join("work")] {
            let _ = fs::remove_dir_all(folder);
        }
        self.run(&["rm", "-rf", "--", &self.path("")])
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path(name);
        fs::write(&path, text).map_err(|error| format!("write {path}: {error}"))
    }

    fn append(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.path(name);
        let before = fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
        fs::write(&path, before + text).map_err(|error| format!("write {path}: {error}"))
    }

    fn output(&self, program: &[&str]) -> Result<Output, String> {
        let mut words = self
            .day
            .run_by
            .iter()
            .map(String::as_str)
            .chain(program.iter().copied());
        let output = Command::new(words.next().unwrap_or_default())
            .args(words)
            .current_dir("/")
            .stdin(Stdio::null())
            .output();
        output.map_err(|error| format!("{}: {error}", program[0]))
    }

    fn run(&self, program: &[&str]) -> Result<(), String> {
        let output = self.output(program)?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                let said: String = said.trim().chars().take(400).collect();
                Err(format!("{}: {}: {said}", program[0], output.status))
            }
        }
    }
}

fn name_port(name: &str) -> u16 {
    if name == "blue" { BLUE } else { GREEN }
}
