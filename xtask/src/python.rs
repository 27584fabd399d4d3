//! A Python virtual environment with the clients that the conformance suite drives.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const REQUIREMENTS: &str = "tests/conformance/requirements.txt";
const OLDEST: (u32, u32) = (3, 10);

/// The interpreter of an environment that has everything in the requirements file; made when it is missing.
///
/// The environment lies in the cache folder under a key of the requirements and of the interpreter, so a new clone
/// finds it ready, and a changed requirement makes a new one instead of altering one in use.
pub fn environment() -> Result<PathBuf> {
    let requirements = workspace::root().join(REQUIREMENTS);
    let text = fs::read(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let base = interpreter()?;
    let key = fnv1a(&[
        &text[..],
        base.version.as_bytes(),
        base.path.as_os_str().as_encoded_bytes(),
    ]);
    let link = workspace::cache()?.join(format!("python-{key:016x}"));
    let python = link.join("bin/python");
    if works(&python) {
        println!("    python environment: {} (ready)", link.display());
        return Ok(python);
    }

    // Each builder works in a folder of its own and puts it in place with one rename, so two runs cannot disturb
    // each other and an interrupted one leaves nothing half-made under the final name.
    let own = link.with_extension(format!("{}", std::process::id()));
    let _ = fs::remove_dir_all(&own);
    println!(
        "    python environment: making {} with {}",
        own.display(),
        base.path.display()
    );
    make(&base, &own)?;
    let python_here = own.join("bin/python");
    println!("    python environment: installing {REQUIREMENTS}");
    let installed = Command::new(&python_here)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "-r",
        ])
        .arg(&requirements)
        .status()
        .context("cannot start pip")?;
    if !installed.success() {
        let _ = fs::remove_dir_all(&own);
        bail!(
            "pip could not install {REQUIREMENTS} (a package index must be reachable the first time)"
        );
    }
    let pointer = link.with_extension(format!("{}.link", std::process::id()));
    let _ = fs::remove_file(&pointer);
    std::os::unix::fs::symlink(&own, &pointer).context("cannot link the python environment")?;
    fs::rename(&pointer, &link).context("cannot put the python environment in place")?;
    Ok(python)
}

struct Interpreter {
    path: PathBuf,
    version: String,
}

/// Makes sure that there is an interpreter; tests of services in another language start it themselves.
pub fn ensure() -> Result<()> {
    interpreter().map(drop)
}

fn interpreter() -> Result<Interpreter> {
    if let Some(found) = find() {
        return Ok(found);
    }
    apt(&["python3", "python3-venv"], "a Python interpreter")?;
    find().with_context(|| {
        format!(
            "no python3 of version {}.{} or newer found even after installing python3",
            OLDEST.0, OLDEST.1
        )
    })
}

fn find() -> Option<Interpreter> {
    let names = [
        "python3",
        "python3.14",
        "python3.13",
        "python3.12",
        "python3.11",
        "python3.10",
    ];
    let candidates = names
        .iter()
        .map(|name| (*name).to_owned())
        .chain(["/usr/bin/python3".to_owned()]);
    for candidate in candidates {
        let script = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
        let Some(said) = process::capture(Command::new(&candidate).args(["-c", script])) else {
            continue;
        };
        let mut words = said.splitn(3, ' ');
        let (Some(major), Some(minor), Some(path)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Ok(major), Ok(minor)) = (major.parse::<u32>(), minor.parse::<u32>()) else {
            continue;
        };
        if (major, minor) >= OLDEST {
            return Some(Interpreter {
                path: PathBuf::from(path),
                version: format!("{major}.{minor}"),
            });
        }
    }
    None
}

/// Makes an environment with pip in it. Debian ships `venv` without `ensurepip` until python3-venv is installed.
fn make(base: &Interpreter, folder: &Path) -> Result<()> {
    let attempt = |module: &str| {
        let _ = fs::remove_dir_all(folder);
        let output = Command::new(&base.path)
            .args(["-m", module])
            .arg(folder)
            .output();
        output.is_ok_and(|o| o.status.success()) && has_pip(&folder.join("bin/python"))
    };
    if attempt("venv") || attempt("virtualenv") {
        return Ok(());
    }
    apt(&["python3-venv"], "the venv module with pip")?;
    if attempt("venv") {
        return Ok(());
    }
    // The interpreter may not be Debian's: its own venv package then has the version in its name.
    let versioned = format!("python{}-venv", base.version);
    apt(&[&versioned], "the venv module with pip")?;
    if attempt("venv") {
        return Ok(());
    }
    bail!(
        "{} -m venv still fails; install its venv module or virtualenv",
        base.path.display()
    )
}

fn has_pip(python: &Path) -> bool {
    process::capture(Command::new(python).args(["-m", "pip", "--version"])).is_some()
}

fn works(python: &Path) -> bool {
    process::capture(Command::new(python).args(["-c", "import ccxt, pytest"])).is_some()
}

/// Installs Debian packages when this user may; else says what to install.
fn apt(packages: &[&str], what: &str) -> Result<()> {
    let list = packages.join(" ");
    let root = process::capture(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    if !root || process::capture(Command::new("apt-get").arg("--version")).is_none() {
        bail!(
            "the tests need {what}: install it and run this again (on Debian or Ubuntu: \
             sudo apt-get install -y {list})"
        );
    }
    println!("    installing {list}");
    let install = || {
        Command::new("apt-get")
            .args(["install", "-y", "-q", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status()
            .is_ok_and(|status| status.success())
    };
    let updated = || {
        Command::new("apt-get")
            .args(["update", "-q"])
            .status()
            .is_ok_and(|status| status.success())
    };
    if install() || (updated() && install()) {
        return Ok(());
    }
    bail!("apt-get install -y {list} failed; install {what} by hand and run this again")
}

/// A stable key, not a secret: FNV-1a over the parts, each closed by a byte that separates it from the next.
fn fnv1a(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts
        .iter()
        .flat_map(|part| part.iter().copied().chain([0xff]))
    {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// The program to run the suite with, and variables that keep the clone clean.
pub fn pytest(python: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "tests/conformance",
        ])
        .current_dir(workspace::root())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1");
    // A variable of the calling shell would put other packages in front of the pinned ones.
    for name in ["PYTHONPATH", "PYTHONHOME", "PYTEST_ADDOPTS"] {
        if env::var_os(name).is_some() {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_every_part_and_on_its_borders() {
        assert_ne!(fnv1a(&[b"ab", b"c"]), fnv1a(&[b"a", b"bc"]));
        assert_ne!(fnv1a(&[b"ccxt==1"]), fnv1a(&[b"ccxt==2"]));
        assert_eq!(fnv1a(&[b"x", b"y"]), fnv1a(&[b"x", b"y"]));
    }
}
