//! What the figures were measured on.

use std::fs;
use std::path::Path;

/// Facts of the machine that stand beside every figure.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// How many processors this process may use.
    pub cpus: usize,
    /// The load average over one, five and fifteen minutes, as the system writes it.
    pub load: String,
    /// The kernel's release.
    pub kernel: String,
    /// The compiler's target features that were switched on beyond the baseline.
    pub features: String,
}

impl Machine {
    /// This machine, now.
    pub fn now() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, name)| name.trim().into());
        let load: Vec<_> = read("/proc/loadavg")
            .split_whitespace()
            .take(3)
            .map(String::from)
            .collect();
        Self {
            cpu,
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            load: load.join(" "),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            features: if cfg!(target_feature = "avx2") {
                "x86-64-v3"
            } else {
                "baseline"
            }
            .into(),
        }
    }

    /// The machine as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "cpu": self.cpu, "cpus": self.cpus, "load": self.load, "kernel": self.kernel,
            "target_features": self.features,
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} × {}, Linux {}, load average {}, code for {}",
            self.cpus, self.cpu, self.kernel, self.load, self.features
        )
    }
}

/// The type of the file system that holds this path, and what it lies on.
pub fn file_system(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounted(&mounts, &path).unwrap_or_else(|| "an unknown file system".into())
}

/// Of lines `device folder type ...`, the one with the longest folder that holds the path; of two
/// on the same folder the later one hides the other.
fn mounted(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
        .filter(|(_, folder, _)| path.starts_with(folder))
        .max_by_key(|(_, folder, _)| folder.len())
        .map(|(device, _, kind)| format!("{kind} ({device})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_holds_the_path() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n\
                      /dev/c / btrfs rw 0 0\n";
        let of = |path| mounted(mounts, Path::new(path)).unwrap();
        assert_eq!(of("/tmp/y"), "tmpfs (tmpfs)");
        assert_eq!(of("/tmp/x/y"), "xfs (/dev/b)");
        assert_eq!(of("/tmpfoo"), "btrfs (/dev/c)");
        assert!(!file_system(Path::new(".")).is_empty());
    }
}
