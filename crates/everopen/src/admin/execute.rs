//! Turns actions into commands and says what became of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use everopen_client::{Client, Outcome};
use everopen_domain::{Command, Event, MemberCode, MemberId};
use everopen_gateway::{AddressRange, KeyStore, Permissions};
use everopen_views::Views;
use serde_json::{Value, json};

use super::Action;
use super::interpret::Interpreter;
use super::show;
use crate::gateway::counts::Counts;
use crate::gateway::visible::Visible;
use crate::up::endpoints::Access;

/// How long the views may take to show what was answered.
const VIEWS: Duration = Duration::from_secs(10);

/// Acts on a venue through its gateway.
pub struct Operator {
    client: Client,
    views: Arc<RwLock<Views>>,
    visible: Arc<Visible>,
    counts: Arc<Counts>,
    keys: Arc<KeyStore>,
    access: Access,
    is_prepared: Arc<AtomicBool>,
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
    /// With the parts of a gateway; what it says of how it is reached counts once it is prepared.
    pub fn new(
        client: Client,
        views: Arc<RwLock<Views>>,
        visible: Arc<Visible>,
        counts: Arc<Counts>,
        keys: Arc<KeyStore>,
        (access, is_prepared): (Access, Arc<AtomicBool>),
    ) -> Self {
        Self {
            client,
            views,
            visible,
            counts,
            keys,
            access,
            is_prepared,
        }
    }

    fn views(&self) -> RwLockReadGuard<'_, Views> {
        self.views
            .read()
            .expect("invariant: views are never left half written")
    }

    /// Performs an action.
    ///
    /// # Errors
    /// What the venue refused, or what was wrong with the action, as a sentence.
    pub fn execute(&self, action: &Action) -> Result<Value> {
        match action {
            Action::Status => Ok(self.status()),
            Action::Summary => Ok(show::summary(&self.views(), &self.counts)),
            Action::Endpoints => self.endpoints(),
            Action::Snapshot => bail!("ask the replicas"),
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

    /// Sequences a command; afterwards the views show it.
    fn execute_now(&self, command: Command) -> Result<Outcome> {
        let outcome = self.client.execute(vec![command])?;
        if !self.visible.wait(outcome.index, VIEWS) {
            bail!(
                "it is done, in entry {} of the log, which has not come to the gateway yet",
                outcome.index.0
            );
        }
        Ok(outcome)
    }

    /// Sequences a command and turns a refusal into an error.
    fn run(&self, command: Command) -> Result<Value> {
        let outcome = self.execute_now(command)?;
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
        let views = self.views();
        let products: Vec<Value> = views
            .products()
            .map(|p| json!({ "id": p.symbol, "phase": format!("{:?}", p.phase) }))
            .collect();
        json!({
            "running": true,
            "has_leader": self.client.has_leader(),
            "last_index": views.index().0,
            "commands_since_start": self.counts.commands(),
            "products": products,
        })
    }

    fn endpoints(&self) -> Result<Value> {
        if !self.is_prepared.load(Ordering::Acquire) {
            bail!("not ready yet");
        }
        let views = self.views();
        let products = views.products().map(|product| product.symbol.clone());
        let access = Access {
            products: products.collect(),
            ..self.access.clone()
        };
        Ok(serde_json::to_value(access)?)
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
        let outcome = self.execute_now(Command::AddMember { code })?;
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
