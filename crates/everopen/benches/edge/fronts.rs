//! The edge and its peers, each started with two threads before one target.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use everopen_testkit::free_address;

const START: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Front {
    Everopen,
    Haproxy,
    Nginx,
}

/// A front that runs; it ends with this value.
pub struct Running {
    pub address: SocketAddr,
    /// Where it speaks HTTP/2 as well. nginx 1.22 has no WebSockets there.
    pub http2: Option<SocketAddr>,
    child: Child,
}

impl Front {
    pub fn name(self) -> &'static str {
        match self {
            Self::Everopen => "everopen",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it; none if it is not installed.
    pub fn start(self, folder: &Path, target: SocketAddr) -> Result<Option<Running>> {
        let address = free_address();
        let http2 = (self != Self::Nginx).then(free_address);
        let file = folder.join(format!("{}.conf", self.name()));
        let mut command = match self {
            Self::Everopen => {
                // Weights that an earlier run has kept are of another target.
                let _ = fs::remove_file(folder.join("edge.weights.json"));
                Command::new(env!("CARGO_BIN_EXE_everopen"))
            }
            peer => match find(peer.name()) {
                Some(program) => Command::new(program),
                None => return Ok(None),
            },
        };
        fs::write(&file, self.settings(folder, address, http2, target))?;
        match self {
            Self::Everopen => command
                .args(["edge", "--drain", "0", "--config"])
                .arg(&file),
            Self::Haproxy => command.args(["-db", "-f"]).arg(&file),
            Self::Nginx => command
                .arg("-c")
                .arg(&file)
                .arg("-p")
                .arg(folder)
                .arg("-e")
                .arg(folder.join("nginx.log")),
        };
        let log = fs::File::create(folder.join(format!("{}.out", self.name())))?;
        let child = command
            .env("TOKIO_WORKER_THREADS", "2")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.name()))?;
        let mut running = Running {
            address,
            http2,
            child,
        };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || running.child.try_wait()?.is_some() {
                let said = fs::read_to_string(folder.join(format!("{}.out", self.name())));
                bail!(
                    "{} does not start: {}",
                    self.name(),
                    said.unwrap_or_default()
                );
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        Ok(Some(running))
    }

    fn settings(
        self,
        folder: &Path,
        address: SocketAddr,
        http2: Option<SocketAddr>,
        target: SocketAddr,
    ) -> String {
        let second = match (self, http2) {
            (Self::Everopen, Some(address)) => format!(
                "[[listener]]\nname = \"http2\"\naddress = \"{address}\"\nservice = \"it\"\nhttp2 = true\n"
            ),
            (_, Some(address)) => format!("bind {address} proto h2"),
            (_, None) => String::new(),
        };
        let port = address.port();
        // It refuses to start where its connections would need more open files than are allowed.
        let most = (super::open_files().min(200_000) - 200) / 2;
        match self {
            Self::Everopen => format!(
                "admin = \"edge.sock\"\n[[listener]]\nname = \"public\"\naddress = \"{address}\"\nservice = \"it\"\n{second}\
                 [service.it.group.blue]\ntargets = [\"{target}\"]\nweight = 1\n[service.it.group.green]\n"
            ),
            Self::Haproxy => format!(
                "global\n  nbthread 2\n  maxconn {most}\ndefaults\n  mode http\n  option http-keep-alive\n  \
                 http-reuse always\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  \
                 timeout tunnel 1h\nfrontend public\n  bind 127.0.0.1:{port}\n  {second}\n  option forwardfor\n  \
                 default_backend it\nbackend it\n  server one {target}\n"
            ),
            Self::Nginx => format!(
                "worker_processes 2;\nworker_rlimit_nofile 20000;\ndaemon off;\npid {folder}/nginx.pid;\n\
                 events {{ worker_connections 20000; }}\nhttp {{\n  access_log off;\n  keepalive_requests 1000000000;\n  \
                 client_body_temp_path {folder}/nginx-body;\n  proxy_temp_path {folder}/nginx-proxy;\n  \
                 fastcgi_temp_path {folder}/nginx-fastcgi;\n  uwsgi_temp_path {folder}/nginx-uwsgi;\n  \
                 scgi_temp_path {folder}/nginx-scgi;\n  \
                 map $http_upgrade $up {{ default upgrade; '' ''; }}\n  \
                 upstream it {{ server {target}; keepalive 64; keepalive_requests 1000000000; }}\n  \
                 server {{ listen 127.0.0.1:{port};\n    location / {{ proxy_pass http://it; proxy_http_version 1.1;\n      \
                 proxy_set_header Connection $up; proxy_set_header Upgrade $http_upgrade;\n      \
                 proxy_set_header X-Forwarded-For $remote_addr; proxy_read_timeout 1h; }} }}\n}}\n",
                folder = folder.display()
            ),
        }
    }
}

fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    // Servers are often where only an administrator's path leads.
    let folders = path
        .split(':')
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"]);
    let mut places = folders.map(|folder| Path::new(folder).join(program));
    places.find(|place| place.is_file())
}

impl Running {
    /// Its processes: itself and those that it started.
    fn pids(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let mut all = vec![own];
        for entry in fs::read_dir("/proc")?.flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            let Some(pid) = pid else { continue };
            if stat(pid).is_some_and(|fields| fields.get(1) == Some(&own.to_string())) {
                all.push(pid);
            }
        }
        Ok(all)
    }

    /// Processor seconds that the threads of all of them have used.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0;
        for pid in self.pids()? {
            let threads = fs::read_dir(format!("/proc/{pid}/task"));
            for thread in threads.into_iter().flatten().flatten() {
                let stat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                let on_cpu = stat
                    .split(' ')
                    .next()
                    .and_then(|text| text.parse::<u64>().ok());
                nanoseconds += on_cpu.context("read schedstat")?;
            }
        }
        Ok(nanoseconds as f64 / 1e9)
    }

    /// Resident memory of all of them.
    pub fn memory_kib(&self) -> Result<u64> {
        let mut all = 0;
        for pid in self.pids()? {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            all += number.unwrap_or(0);
        }
        Ok(all)
    }
}

/// The fields of a process's stat after its name.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_string).collect())
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its group, so that none of those it started is left.
        let group = i32::try_from(self.child.id()).ok();
        if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
