//! Lines on standard output that survive a reader who has gone.

use std::io::{ErrorKind, Write, stdout};

/// Prints a line. Whoever piped the output into `head` has seen enough: a closed pipe is no fault,
/// and must never end a running market.
macro_rules! say {
    () => { $crate::console::line(format_args!("")) };
    ($($arg:tt)*) => { $crate::console::line(format_args!($($arg)*)) };
}

/// Writes one line; see `say!`.
///
/// # Panics
/// When standard output fails otherwise, for instance because its disk is full: what was shown only
/// once, such as a new secret, would be lost in silence.
pub fn line(text: std::fmt::Arguments<'_>) {
    write_line(&mut stdout().lock(), text);
}

/// Writes one line to standard error, beside what standard output is piped into.
pub fn error_line(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn write_line(to: &mut impl Write, text: std::fmt::Arguments<'_>) {
    match writeln!(to, "{text}").and_then(|()| to.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        Err(error) => panic!("write to standard output: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_fault() {
        write_line(
            &mut Failing(ErrorKind::BrokenPipe),
            format_args!("to nobody"),
        );
    }

    #[test]
    #[should_panic(expected = "write to standard output")]
    fn a_full_disk_is_not_passed_over() {
        write_line(
            &mut Failing(ErrorKind::StorageFull),
            format_args!("a secret"),
        );
    }
}
