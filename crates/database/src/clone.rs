//! Green is made of blue, whole: while nobody writes, or as the beginning of a stream.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use everopen_rollout::execute;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::file::{CloneOf, Database, How, Strategy};
use crate::seed;
use crate::server::Server;

/// How long programs that make green may take to end when they are told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies a server's files so that both share their blocks, while it runs and is in backup mode. What is only of
/// the running server does not come along; what is gone before its turn is not needed (PostgreSQL manual, 26.3.3
/// and 26.3.4). The log comes afterwards.
const SHARE: &str = r#"
set -eu
cd "$1"
find . -mindepth 1 \( -path ./pg_wal -o -path ./pg_replslot -o -path ./pg_dynshmem -o -path ./pg_notify \
    -o -path ./pg_serial -o -path ./pg_snapshots -o -path ./pg_stat_tmp -o -path ./pg_subtrans \
    -o -name pgsql_tmp\* -o -name postmaster.pid -o -name postmaster.opts \) -prune \
    -o -type d -print0 | (cd "$2" && xargs -0 mkdir -p)
for one in pg_wal pg_wal/archive_status pg_replslot pg_dynshmem pg_notify pg_serial pg_snapshots pg_stat_tmp pg_subtrans; do
    mkdir -p "$2/$one"
done
find "$2" -type d -exec chmod 700 {} +
find . -mindepth 1 \( -path ./pg_wal -o -path ./pg_replslot -o -path ./pg_dynshmem -o -path ./pg_notify \
    -o -path ./pg_serial -o -path ./pg_snapshots -o -path ./pg_stat_tmp -o -path ./pg_subtrans \
    -o -name pgsql_tmp\* -o -name postmaster.pid -o -name postmaster.opts \) -prune \
    -o -type f -print0 >"$2/.files"
LC_ALL=C xargs -0 cp --reflink=always --preserve=all --parents --target-directory="$2" <"$2/.files" 2>"$2/.wrong" || true
rm "$2/.files"
if grep -v "cannot stat .*: No such file or directory" "$2/.wrong" >&2; then exit 1; fi
rm "$2/.wrong"
"#;

/// The log that was written meanwhile.
const LOG: &str = r#"
set -eu
cd "$1/pg_wal"
find . -maxdepth 1 -type f -name '????????????????????????' -print0 |
    (LC_ALL=C xargs -0 cp --reflink=always --preserve=all --target-directory="$2/pg_wal" 2>&1 || true) |
    { grep -v "cannot stat .*: No such file or directory" >&2 && exit 1 || exit 0; }
"#;

/// How green is made.
pub(crate) struct Cloning<'a> {
    pub database: &'a Database,
    pub clone: &'a CloneOf,
    /// The rollout's name.
    pub id: &'a str,
    /// Its folder.
    pub path: &'a Path,
}

impl Cloning<'_> {
    /// Says that what is in green's place is ours to remove.
    fn mark(&self) -> PathBuf {
        self.path.join("made")
    }

    /// Whether clients write meanwhile, and a stream begins where it ends.
    fn is_seed(&self) -> bool {
        self.database.strategy == Strategy::Replicate
    }

    fn data(&self) -> Result<String, String> {
        let data = self.clone.data.as_ref().ok_or("there is no `data`")?;
        Ok(data.display().to_string())
    }

    fn bin(&self, name: &str) -> String {
        match &self.clone.bin {
            Some(bin) => bin.join(name).display().to_string(),
            None => name.to_string(),
        }
    }

    fn command(&self, program: &[&str]) -> Command {
        let mut words = self.clone.run_by.iter().map(String::as_str);
        let mut words = words.by_ref().chain(program.iter().copied());
        let mut command = Command::new(words.next().unwrap_or_default());
        let (mark, value) = execute::marking(self.id);
        command
            .args(words)
            .current_dir(self.path)
            .env(mark, value)
            .env("EVEROPEN_BLUE", &self.database.blue)
            .env("EVEROPEN_GREEN", &self.database.green)
            .env("EVEROPEN_ROLLOUT_ID", self.id)
            .process_group(0)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    async fn run(&self, program: &[&str]) -> Result<(), String> {
        let mut command = self.command(program);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let output = command.output().await;
        let output = output.map_err(|error| format!("{}: {error}", program[0]))?;
        done(program, output.status, &output.stderr)
    }

    /// Adds a text to a file that may be somebody else's.
    async fn append(&self, path: &str, text: &str) -> Result<(), String> {
        let program = ["sh", "-c", "cat >>\"$0\"", path];
        let mut command = self.command(&program);
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let wrong = |error| format!("write {path}: {error}");
        let mut child = command.spawn().map_err(wrong)?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(text.as_bytes()).await.map_err(wrong)?;
        }
        let output = child.wait_with_output().await.map_err(wrong)?;
        done(&program, output.status, &output.stderr)
    }

    /// Makes green, and starts it where that is not done by others.
    pub async fn make(&self, from: &Server) -> Result<String, String> {
        let began = Instant::now();
        let what = match self.clone.how {
            How::BaseBackup => self.base_backup().await?,
            How::CopyOnWrite => self.share_blocks(from).await?,
            How::Dump => {
                self.set_mark()?;
                self.dump().await?
            }
            How::Command => {
                self.set_mark()?;
                let program: Vec<&str> = self.clone.make.iter().map(String::as_str).collect();
                self.run(&program).await?;
                "made by its own program"
            }
        };
        let size = from
            .value("SELECT pg_size_pretty(pg_database_size(current_database()))")
            .await?;
        let ms = began.elapsed().as_millis();
        Ok(format!("{what}: {size} in {ms} ms"))
    }

    async fn base_backup(&self) -> Result<&'static str, String> {
        let data = self.data()?;
        self.make_folder(&data).await?;
        let program = self.bin("pg_basebackup");
        let from = &self.database.blue;
        let backup = [
            program.as_str(),
            "--dbname",
            from,
            "--pgdata",
            &data,
            "--checkpoint",
            "fast",
            "--wal-method",
            "stream",
            "--no-password",
        ];
        self.run(&backup).await?;
        self.start(&data).await?;
        Ok("by a base backup")
    }

    async fn share_blocks(&self, from: &Server) -> Result<&'static str, String> {
        let data = self.data()?;
        let blue = self
            .clone
            .blue_data
            .as_ref()
            .ok_or("there is no `blue_data`")?;
        let blue = blue.display().to_string();
        self.make_folder(&data).await?;
        // Other databases of the server are written meanwhile, and a checkpoint of theirs would remove the log
        // from which the clone is to come up before it is copied. It goes with this connection, if not before.
        let slot = "'everopen_clone_' || pg_backend_pid()";
        from.run(&format!(
            "SELECT pg_create_physical_replication_slot({slot}, immediately_reserve => true, temporary => true)"
        ))
        .await?;
        from.run("SELECT pg_backup_start('everopen', fast => true)")
            .await?;
        self.run(&["sh", "-c", SHARE, "share", &blue, &data])
            .await?;
        let label = from
            .value("SELECT labelfile FROM pg_backup_stop(wait_for_archive => false)")
            .await?;
        self.run(&["sh", "-c", LOG, "log", &blue, &data]).await?;
        from.run(&format!("SELECT pg_drop_replication_slot({slot})"))
            .await?;
        self.append(&format!("{data}/backup_label"), &label).await?;
        self.start(&data).await?;
        Ok("by sharing blocks")
    }

    /// One that is there already is not touched, and not ours.
    async fn make_folder(&self, data: &str) -> Result<(), String> {
        self.run(&["mkdir", "--mode=700", data]).await?;
        self.set_mark()
    }

    fn set_mark(&self) -> Result<(), String> {
        let set = fs::write(self.mark(), self.id);
        set.map_err(|error| format!("write that green is ours: {error}"))
    }

    async fn start(&self, data: &str) -> Result<(), String> {
        let mut settings = self.clone.settings.join("\n");
        // Its log is not blue's: nobody may find it in blue's archive.
        settings = format!("\narchive_mode = off\n{settings}\n");
        if self.is_seed() {
            settings += &format!("{}\n", seed::RECOVERY.join("\n"));
            self.append(&format!("{data}/{}", seed::SIGNAL), "").await?;
        }
        self.append(&format!("{data}/postgresql.auto.conf"), &settings)
            .await?;
        let (program, log) = (self.bin("pg_ctl"), format!("{data}/everopen.log"));
        let limit = match self.is_seed() {
            true => self.database.copy_ms,
            false => self.clone.hold().as_millis() as u64,
        };
        let seconds = limit.div_ceil(1_000).to_string();
        let start = [
            program.as_str(),
            "--pgdata",
            data,
            "--log",
            &log,
            "--wait",
            "--timeout",
            &seconds,
            "start",
        ];
        let Err(error) = self.run(&start).await else {
            return Ok(());
        };
        // It goes with green.
        let said = self.command(&["tail", "-n", "5", &log]).output().await;
        let said = said.map_or_else(|_| Vec::new(), |output| output.stdout);
        let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
        Err(format!("{error}; its log ends with: {said}"))
    }

    async fn dump(&self) -> Result<&'static str, String> {
        let dump = self.path.join("dump").display().to_string();
        let jobs = self.clone.jobs.to_string();
        let program = [
            self.database.pg_dump.as_str(),
            "--format=directory",
            "--compress=0",
            "--no-publications",
            "--no-subscriptions",
            "--no-sync",
            "--jobs",
            &jobs,
            "--file",
            &dump,
            "--dbname",
            &self.database.blue,
        ];
        let dumped = self.run(&program).await;
        let restore = self.bin("pg_restore");
        let restored = match dumped {
            Ok(()) => {
                let program = [
                    restore.as_str(),
                    "--exit-on-error",
                    "--jobs",
                    &jobs,
                    "--dbname",
                    &self.database.green,
                    &dump,
                ];
                self.run(&program).await
            }
            wrong => wrong,
        };
        // All rows in the clear are nothing to leave in a folder of journals.
        let _ = fs::remove_dir_all(&dump);
        restored?;
        Ok("by a dump")
    }

    /// Ends what makes green, and green if it was made; nothing that was there before.
    pub async fn remove(&self) -> Result<(), String> {
        let ended = execute::end_processes(self.id, PATIENCE);
        ended.map_err(|error| format!("end what makes green: {error}"))?;
        let _ = fs::remove_dir_all(self.path.join("dump"));
        if !self.mark().exists() {
            if let Ok(data) = self.data() {
                // Made and not yet marked, in which case nothing is in it; else this does nothing.
                let _ = self.run(&["rmdir", &data]).await;
            }
            return Ok(());
        }
        match self.clone.how {
            How::BaseBackup | How::CopyOnWrite => {
                let data = self.data()?;
                let program = self.bin("pg_ctl");
                // It may not have been started yet.
                let _ = self
                    .run(&[&program, "--pgdata", &data, "--mode", "immediate", "stop"])
                    .await;
                self.run(&["rm", "-rf", "--", &data]).await?;
            }
            How::Command => {
                let program: Vec<&str> = self.clone.remove.iter().map(String::as_str).collect();
                self.run(&program).await?;
            }
            How::Dump => {}
        }
        fs::remove_file(self.mark()).map_err(|error| format!("forget green: {error}"))
    }
}

fn done(program: &[&str], status: std::process::ExitStatus, stderr: &[u8]) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(stderr);
    // The last of it is why it ended.
    let said: Vec<char> = said.trim().chars().collect();
    let said: String = said[said.len().saturating_sub(600)..].iter().collect();
    Err(format!("{}: {status}: {said}", program[0]))
}
