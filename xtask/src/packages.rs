//! Debian packages that measurements and tests need: installed when this runs as root, named otherwise.

use crate::process;
use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A package, and how to tell that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Its name in Debian.
    pub name: &'static str,
    /// A program of it that is looked for on the `PATH`.
    pub program: &'static str,
    /// A service that its installation switches on and nobody here wants to run.
    pub service: Option<&'static str>,
}

/// The peer of the cluster's measurement.
pub const ETCD: Package = Package {
    name: "etcd-server",
    program: "etcd",
    service: Some("etcd"),
};

/// A peer of the edge's measurement.
pub const HAPROXY: Package = Package {
    name: "haproxy",
    program: "haproxy",
    service: Some("haproxy"),
};

/// A peer of the edge's measurement.
pub const NGINX: Package = Package {
    name: "nginx-light",
    program: "nginx",
    service: Some("nginx"),
};

/// With which tests cut replicas off from each other.
pub const IPROUTE: Package = Package {
    name: "iproute2",
    program: "ip",
    service: None,
};

/// Clients of the edge that others have written.
pub const EDGE_CLIENTS: [Package; 3] = [
    Package {
        name: "openssl",
        program: "openssl",
        service: None,
    },
    Package {
        name: "curl",
        program: "curl",
        service: None,
    },
    Package {
        name: "nodejs",
        program: "node",
        service: None,
    },
];

/// Sees to it that these packages' programs are there.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let missing = missing(packages, &folders);
    if missing.is_empty() {
        return Ok(());
    }
    let install = command_line(&missing);
    let root = process::capture(Command::new("id").arg("-u")).as_deref() == Some("0");
    if !root {
        bail!("not installed, and only root can: sudo {install}");
    }
    if find("apt-get", &folders).is_none() {
        bail!("not installed, and there is no apt-get here; on Debian it is: {install}");
    }
    println!("    installing: {install}");
    apt(&["update"]).and_then(|()| {
        let mut args = vec!["install", "-y", "--no-install-recommends"];
        args.extend(missing.iter().map(|package| package.name));
        apt(&args)
    })?;
    for service in missing.iter().filter_map(|package| package.service) {
        switch_off(service);
    }
    match self::missing(&missing, &folders).first() {
        None => Ok(()),
        Some(still) => bail!(
            "{} is installed but has no program {}",
            still.name,
            still.program
        ),
    }
}

/// The packages whose program is in none of these folders.
fn missing(packages: &[Package], folders: &[PathBuf]) -> Vec<Package> {
    let lacks = |package: &&Package| find(package.program, folders).is_none();
    packages.iter().filter(lacks).copied().collect()
}

fn find(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let mut paths = folders.iter().map(|folder| folder.join(program));
    paths.find(|path| path.is_file())
}

/// What a person would type.
fn command_line(packages: &[Package]) -> String {
    let names: Vec<&str> = packages.iter().map(|package| package.name).collect();
    format!(
        "apt-get install -y --no-install-recommends {}",
        names.join(" ")
    )
}

fn apt(args: &[&str]) -> Result<()> {
    let output = Command::new("apt-get")
        .arg("-q")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Where init scripts are used, nothing is started in this run level.
        .env("RUNLEVEL", "1")
        .output()
        .context("cannot start apt-get")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("apt-get {} failed: {}", args.join(" "), said.trim());
    }
    Ok(())
}

/// Stops what the installation may have started and keeps it from starting with the machine. The
/// service did not exist before, so nobody relies on it. Says what is left running.
fn switch_off(service: &str) {
    // Works on the unit's links, so also where systemd is installed and not running.
    let _ = process::capture(Command::new("systemctl").args(["--quiet", "disable", service]));
    // A service that never ran cannot be stopped, which is what is wanted.
    let _ = if Path::new("/run/systemd/system").is_dir() {
        Command::new("systemctl").args(["stop", service]).output()
    } else {
        Command::new("service").args([service, "stop"]).output()
    };
    match process::capture(Command::new("pgrep").args(["-x", "-u", service, service])) {
        None => println!("    its service {service} is switched off"),
        Some(ids) => println!(
            "    note: the service {service} still runs as process {}",
            ids.replace('\n', ", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Package = Package {
        name: "a",
        program: "mod.rs",
        service: None,
    };

    #[test]
    fn a_package_is_missing_when_no_folder_has_its_program() {
        let folders = [
            PathBuf::from("/nowhere"),
            crate::workspace::root().join("xtask/src/tidy"),
        ];
        assert!(missing(&[HERE], &folders).is_empty());
        assert_eq!(missing(&[HERE, ETCD], &folders), [ETCD]);
        assert_eq!(missing(&[HERE], &folders[..1]), [HERE]);
    }

    #[test]
    fn the_line_to_type_names_every_package() {
        assert_eq!(
            command_line(&[ETCD, HERE]),
            "apt-get install -y --no-install-recommends etcd-server a"
        );
    }
}
