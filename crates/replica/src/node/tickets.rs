//! Who waits for which answer.

use everopen_rpc::ConnId;

/// Who asked.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// A client, under the number that it gave the request.
    Client { conn: ConnId, request: u64 },
    /// An operator's question.
    Call { conn: ConnId, request: u64 },
}

/// Askers by ticket. Tickets are reused.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    askers: Vec<Option<Asker>>,
    free: Vec<u64>,
}

impl Tickets {
    pub fn issue(&mut self, asker: Asker) -> u64 {
        match self.free.pop() {
            Some(ticket) => {
                self.askers[ticket as usize] = Some(asker);
                ticket
            }
            None => {
                self.askers.push(Some(asker));
                self.askers.len() as u64 - 1
            }
        }
    }

    pub fn redeem(&mut self, ticket: u64) -> Option<Asker> {
        let asker = self.askers.get_mut(ticket as usize)?.take()?;
        self.free.push(ticket);
        Some(asker)
    }

    pub fn len(&self) -> usize {
        self.askers.len() - self.free.len()
    }
}
