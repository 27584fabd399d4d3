//! Disks of a test.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::good;

/// A disk that is soon full.
pub struct SmallDisk(pub PathBuf);

impl SmallDisk {
    /// Not a line more of the journal fits, though the beginning of one does.
    pub fn fill(&self) {
        // As much as there is room for.
        let _ = fs::write(self.0.join("filling"), vec![0; 1 << 20]);
        let rollouts = everopen_rollout::state::Folder::rollouts(&self.0, "shop");
        let path = rollouts
            .expect("some")
            .pop()
            .expect("one")
            .join("journal.jsonl");
        let mut journal = fs::OpenOptions::new()
            .append(true)
            .open(path)
            .expect("a journal");
        // The last page of the file still has room; spaces before a line mean nothing.
        let page = 4096 - journal.metadata().expect("its size").len() as usize % 4096;
        journal
            .write_all(&vec![b' '; page.saturating_sub(20)])
            .expect("there is room");
    }

    pub fn empty(&self) {
        fs::remove_file(self.0.join("filling")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// A file system that shares blocks.
pub struct SharingDisk {
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl SharingDisk {
    /// Not where one may not mount.
    pub fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (image, path) = (folder.path().join("image"), folder.path().join("disk"));
        let file = fs::File::create(&image).expect("made");
        // It takes what is written to it.
        file.set_len(8 << 30).expect("there is room");
        fs::create_dir(&path).expect("made");
        good(
            Command::new("/usr/sbin/mkfs.xfs")
                .args(["-q", "-m", "reflink=1"])
                .arg(&image),
        );
        let mounted = Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &path])
            .stderr(Stdio::null())
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Self {
                path,
                _folder: folder,
            })
    }
}

impl Drop for SharingDisk {
    fn drop(&mut self) {
        // Servers on it are stopped by now; the folder below must not be removed with a disk in it.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.path)
            .status();
    }
}
