//! `everopen member`: members and their API keys.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::admin::{self, Action};
use crate::cli;

/// Performs the command.
///
/// # Errors
/// What the venue or the system refused.
pub fn run(command: &cli::Member) -> Result<()> {
    match command {
        cli::Member::Add(args) => add(args),
        cli::Member::List { data, json } => list(&data.dir, *json),
        cli::Member::Revoke { key, data } => {
            admin::perform(&data.dir, &Action::KeyRevoke { key: key.clone() })?;
            say!("revoked {key}");
            Ok(())
        }
    }
}

fn add(args: &cli::MemberAdd) -> Result<()> {
    let action = Action::MemberAdd {
        name: args.name.clone(),
        permissions: args.permissions.clone(),
        allow: args.allow.clone(),
    };
    let made = admin::perform(&args.data.dir, &action)?;
    if args.json {
        say!("{made}");
        return Ok(());
    }
    let field = |name: &str| made.get(name).and_then(Value::as_str).unwrap_or_default();
    let new = made
        .get("new_member")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    say!(
        "member      {}{}",
        field("member"),
        if new { " (new)" } else { "" }
    );
    say!("key         {}", field("key"));
    say!("secret      {}", field("secret"));
    say!("passphrase  {}", field("passphrase"));
    say!("may         {}", field("permissions"));
    say!("The secret is not shown again.");
    Ok(())
}

fn list(dir: &Path, json: bool) -> Result<()> {
    let members = admin::perform(dir, &Action::MemberList)?;
    if json {
        say!("{members}");
        return Ok(());
    }
    say!("{:<32} {:<40} may", "member", "key");
    for member in members.as_array().into_iter().flatten() {
        let name = member
            .get("member")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let keys = member.get("keys").and_then(Value::as_array);
        let keys = keys.map(Vec::as_slice).unwrap_or_default();
        if keys.is_empty() {
            say!("{name:<32} {:<40}", "-");
        }
        for key in keys {
            let field = |name: &str| key.get(name).and_then(Value::as_str).unwrap_or_default();
            say!("{name:<32} {:<40} {}", field("key"), field("permissions"));
        }
    }
    Ok(())
}
