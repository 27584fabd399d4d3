//! What the consensus library has to say goes where everything else does.

use slog::{Drain, Level, Logger, Never, OwnedKVList, Record, o};

struct ToTracing {
    node: u64,
}

impl Drain for ToTracing {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
        let node = self.node;
        match record.level() {
            Level::Critical | Level::Error => tracing::error!(node, "{}", record.msg()),
            Level::Warning => tracing::warn!(node, "{}", record.msg()),
            // Elections are worth a line, but it is this room that writes it.
            _ => tracing::debug!(node, "{}", record.msg()),
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        match level {
            Level::Critical | Level::Error => true,
            Level::Warning => tracing::enabled!(tracing::Level::WARN),
            _ => tracing::enabled!(tracing::Level::DEBUG),
        }
    }
}

pub(crate) fn logger(node: u64) -> Logger {
    Logger::root(ToTracing { node }, o!())
}
