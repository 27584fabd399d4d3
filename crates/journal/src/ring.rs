//! One write that the system makes durable while its caller goes on (`io_uring`).
#![allow(unsafe_code)]

use io_uring::{IoUring, Probe, opcode, types};
use rustix::io::ReadWriteFlags;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};

/// Room for the one write that is under way.
const ENTRIES: u32 = 2;
/// A write that is this large is not begun: its copy would hold up whoever begins it.
pub(crate) const BYTES_MAX: usize = 1 << 20;

/// The ring, and the memory that the system reads meanwhile.
pub(crate) struct Ring {
    ring: IoUring,
    /// Of the write that is under way. Nobody else has it until the write has ended.
    memory: Option<Vec<u8>>,
    /// A write that the system did not take may still stand in the ring: nothing is given to it any more.
    is_spent: bool,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("is_busy", &self.is_busy())
            .finish_non_exhaustive()
    }
}

/// A write that has ended: its memory, and how many bytes are durable.
pub(crate) type Ended = (Vec<u8>, io::Result<usize>);

impl Ring {
    /// None where the system has no such thing or does not let this process have it, as the usual
    /// rules for containers do.
    pub fn new() -> Option<Self> {
        let ring = IoUring::new(ENTRIES).ok()?;
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).ok()?;
        probe.is_supported(opcode::Write::CODE).then_some(Self {
            ring,
            memory: None,
            is_spent: false,
        })
    }

    /// What becomes readable when a write has ended.
    pub fn signal(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Whether a write is under way.
    pub fn is_busy(&self) -> bool {
        self.memory.is_some()
    }

    /// Begins to write `memory[range]` to `file` at `at` and to make it durable, as `fdatasync` would.
    ///
    /// # Errors
    /// With the memory, when it could not be begun. This ring begins nothing more then.
    pub fn write(
        &mut self,
        file: &File,
        memory: Vec<u8>,
        range: Range<usize>,
        at: u64,
    ) -> Result<(), (Vec<u8>, io::Error)> {
        assert!(!self.is_busy(), "invariant: one write at a time");
        if self.is_spent {
            return Err((memory, io::Error::from(io::ErrorKind::BrokenPipe)));
        }
        let bytes = &memory[range];
        assert!(
            bytes.len() <= BYTES_MAX,
            "invariant: the caller looked at it"
        );
        let write = opcode::Write::new(
            types::Fd(file.as_raw_fd()),
            bytes.as_ptr(),
            bytes.len() as u32,
        )
        .offset(at)
        .rw_flags(ReadWriteFlags::DSYNC.bits() as i32)
        .build();
        // SAFETY: the bytes are part of `memory`. Once the system has the write, it is kept in
        // `self.memory`, where nothing changes or moves it, until `look` has seen that the write has ended;
        // `drop` waits for that. If the system does not take it, nothing is submitted from this ring again
        // (`is_spent`). The file is open until the system has the write, which then holds it itself.
        let pushed = unsafe { self.ring.submission().push(&write) };
        if pushed.is_err() {
            return Err((memory, io::Error::from(io::ErrorKind::ResourceBusy)));
        }
        loop {
            match self.ring.submit() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_spent = true;
                    return Err((memory, error));
                }
                Ok(_) => break,
            }
        }
        self.memory = Some(memory);
        Ok(())
    }

    /// What became of the write, if it has ended.
    pub fn look(&mut self) -> Option<Ended> {
        let result = self.ring.completion().next()?.result();
        let memory = self
            .memory
            .take()
            .expect("invariant: what ended was under way");
        let written = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        Some((memory, written))
    }

    /// Waits until the write that is under way has ended.
    pub fn wait(&mut self) -> Ended {
        assert!(self.is_busy(), "invariant: there is something to wait for");
        loop {
            if let Some(ended) = self.look() {
                return ended;
            }
            // Interrupted, or whatever else: nothing but the end of the write ends this.
            let _ = self.ring.submit_and_wait(1);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The system still reads the memory.
        if self.is_busy() {
            let _ = self.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_under_way_ends_and_gives_its_memory_back() {
        let Some(mut ring) = Ring::new() else {
            // Not by a macro, whose output nobody would see.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"LEFT OUT: this system lets nobody have an io_uring\n",
            );
            return;
        };
        let file = tempfile::tempfile().unwrap();
        for turn in 0..50_u8 {
            let memory = vec![turn; 5_000];
            let at = u64::from(turn) * 4_000;
            ring.write(&file, memory, 1_000..5_000, at).unwrap();
            assert!(ring.is_busy());
            let (memory, written) = ring.wait();
            assert_eq!((memory.len(), written.unwrap()), (5_000, 4_000));
            let mut read = [0; 4_000];
            file.read_exact_at(&mut read, at).unwrap();
            assert_eq!(read, [turn; 4_000]);
            assert!(!ring.is_busy() && ring.look().is_none());
        }
    }

    #[test]
    fn a_write_that_fails_says_so() {
        let Some(mut ring) = Ring::new() else {
            // Not by a macro, whose output nobody would see.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                b"LEFT OUT: this system lets nobody have an io_uring\n",
            );
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, b"here").unwrap();
        let only_to_read = File::open(&path).unwrap();
        ring.write(&only_to_read, vec![1; 10], 0..10, 0).unwrap();
        let (_, written) = ring.wait();
        assert_eq!(
            written.unwrap_err().raw_os_error(),
            Some(rustix::io::Errno::BADF.raw_os_error())
        );
        // Dropped while it is under way: it waits.
        let file = tempfile::tempfile_in(dir.path()).unwrap();
        ring.write(&file, vec![7; 100_000], 0..100_000, 0).unwrap();
        drop(ring);
        assert_eq!(file.metadata().unwrap().len(), 100_000);
    }
}
