//! Turns actions into commands and says what became of them.

use std::path::Path;
use std::sync::{Arc, RwLock, RwLockReadGuard};

use anyhow::{Result, anyhow, bail};
use everopen_domain::{Command, Event, MemberCode, MemberId};
use everopen_gateway::{AddressRange, KeyStore, Permissions};
use everopen_replica as replica;
use everopen_views::Views;
use serde_json::{Value, json};

use super::Action;
use super::interpret::Interpreter;
use crate::up::reader::ViewsOnly;

/// Acts on an open venue.
pub struct Operator {
    handle: replica::Handle,
    views: Arc<RwLock<Views>>,
    keys: Arc<KeyStore>,
    /// A venue that was opened for this alone.
    stopped: Option<replica::Replica>,
}

/// Permissions from their names.
fn rights(names: &[String]) -> Result<Permissions> {
    let mut rights = Permissions {
        view: false,
        trade: false,
        transfer: false,
    };
    for name in names {
        match name.as_str() {
            "view" => rights.view = true,
            "trade" => rights.trade = true,
            "transfer" => rights.transfer = true,
            _ => bail!("permission {name:?} is none of view, trade, transfer"),
        }
    }
    Ok(rights)
}

/// The names of permissions.
fn rights_text(rights: Permissions) -> String {
    let names = [
        (rights.view, "view"),
        (rights.trade, "trade"),
        (rights.transfer, "transfer"),
    ];
    let held: Vec<&str> = names
        .iter()
        .filter(|(held, _)| *held)
        .map(|(_, name)| *name)
        .collect();
    held.join(",")
}

impl Operator {
    /// For a running venue.
    pub fn new(handle: replica::Handle, views: Arc<RwLock<Views>>, keys: Arc<KeyStore>) -> Self {
        Self {
            handle,
            views,
            keys,
            stopped: None,
        }
    }

    fn views(&self) -> RwLockReadGuard<'_, Views> {
        self.views
            .read()
            .expect("invariant: views are never left half written")
    }

    /// Opens the venue in `dir`, which nobody may be running.
    ///
    /// # Errors
    /// When there is none, or its log is damaged or in use.
    pub fn open_stopped(dir: &Path) -> Result<Self> {
        let log = dir.join(crate::up::LOG_DIR);
        if !log.is_dir() {
            bail!(
                "no venue in {}: start one with `everopen up --dir`",
                dir.display()
            );
        }
        let views = Arc::new(RwLock::new(Views::new(everopen_views::Config::default())));
        let reader = ViewsOnly(Arc::clone(&views));
        let config = replica::Config::new(log);
        let (venue, _) = replica::Replica::open(config, reader, &mut |_| {})?;
        let keys = Arc::new(KeyStore::open(dir)?);
        Ok(Self {
            handle: venue.handle(),
            views,
            keys,
            stopped: Some(venue),
        })
    }

    /// Performs an action.
    ///
    /// # Errors
    /// What the venue refused, or what was wrong with the action, as a sentence.
    pub fn execute(&self, action: &Action) -> Result<Value> {
        match action {
            Action::Status => Ok(self.status()),
            Action::Snapshot => {
                let index = self.handle.snapshot().map_err(|e| anyhow!("{e}"))?;
                Ok(json!({ "snapshot": index.0 }))
            }
            Action::MemberAdd {
                name,
                permissions,
                allow,
            } => self.member_add(name, permissions, allow),
            Action::MemberList => self.member_list(),
            Action::KeyRevoke { key } => {
                self.keys.revoke(key)?;
                Ok(json!({ "revoked": key }))
            }
            _ => {
                let command = Interpreter(&self.views()).command(action)?;
                self.run(command)
            }
        }
    }

    /// Sequences a command and turns a refusal into an error.
    fn run(&self, command: Command) -> Result<Value> {
        let outcome = self.handle.execute(vec![command])?;
        for event in &outcome.events {
            if let Event::CommandRejected { reason } = event {
                bail!("refused: {reason} (code {})", reason.code());
            }
        }
        let transfer = outcome.events.iter().find_map(|event| match event {
            Event::Deposited { transfer, .. } | Event::Transferred { transfer, .. } => {
                Some(transfer.0)
            }
            _ => None,
        });
        let trades = outcome
            .events
            .iter()
            .filter(|e| matches!(e, Event::Traded { .. }))
            .count();
        Ok(json!({
            "index": outcome.index.0,
            "events": outcome.events.len(),
            "trades": trades,
            "transfer": transfer,
        }))
    }

    fn status(&self) -> Value {
        let stats = self.handle.stats();
        let views = self.views();
        let products: Vec<Value> = views
            .products()
            .map(|p| json!({ "id": p.symbol, "phase": format!("{:?}", p.phase) }))
            .collect();
        json!({
            "running": self.stopped.is_none(),
            "last_index": stats.last_index(),
            "commands_since_start": stats.commands(),
            "log_bytes_since_start": stats.log_bytes(),
            "refused_busy": stats.busy(),
            "refused_journal_full": stats.journal_full(),
            "products": products,
        })
    }

    fn member_add(
        &self,
        name: &str,
        permissions: &[String],
        allow: &[AddressRange],
    ) -> Result<Value> {
        let permissions = rights(permissions)?;
        let existing = self.views().member_by_code(name);
        let member = match existing {
            Some(member) => member,
            None => self.new_member(name)?,
        };
        let key = self
            .keys
            .create(member, name, permissions, allow.to_vec())?;
        Ok(json!({
            "member": name,
            "member_id": member.0,
            "new_member": existing.is_none(),
            "key": key.key,
            "secret": key.secret,
            "passphrase": key.passphrase,
            "permissions": rights_text(permissions),
        }))
    }

    fn new_member(&self, name: &str) -> Result<MemberId> {
        let code: MemberCode = name.parse().map_err(|e| anyhow!("member {name:?}: {e}"))?;
        let outcome = self.handle.execute(vec![Command::AddMember { code }])?;
        outcome
            .events
            .iter()
            .find_map(|event| match event {
                Event::MemberAdded { member, .. } => Some(Ok(*member)),
                Event::CommandRejected { reason } => Some(Err(anyhow!("refused: {reason}"))),
                _ => None,
            })
            .ok_or_else(|| anyhow!("the venue did not say what became of the member"))?
    }

    fn member_list(&self) -> Result<Value> {
        let views = self.views();
        let keys = self.keys.list();
        let members: Vec<Value> = (0..views.member_count())
            .filter_map(|id| views.member(MemberId(id)))
            .map(|member| {
                let keys: Vec<Value> = keys
                    .iter()
                    .filter(|key| key.member == member.id)
                    .map(
                        |key| json!({ "key": key.id, "permissions": rights_text(key.permissions) }),
                    )
                    .collect();
                json!({ "member": member.code.as_str(), "member_id": member.id.0, "keys": keys })
            })
            .collect();
        Ok(Value::Array(members))
    }
}
