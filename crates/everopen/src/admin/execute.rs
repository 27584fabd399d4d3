//! Turns actions into commands and says what became of them.

use std::path::Path;
use std::sync::{Arc, RwLock};

use anyhow::{Context, Result, anyhow, bail};
use everopen_domain::{
    Amount, AssetId, Command, Event, FeeScheduleId, FeeTier, FeeTiers, Instrument,
    InstrumentLimits, MemberId, MemberLimits, OrderLimits, Price, Quantity, Rate, TradingPhase,
    TransferId,
};
use everopen_gateway::{AddressRange, KeyStore, Permissions};
use everopen_replica as replica;
use everopen_views::{Product, Views, decimal};
use serde_json::{Value, json};

use super::Action;
use crate::up::reader::ViewsOnly;

/// Acts on an open venue.
pub struct Operator {
    handle: replica::Handle,
    views: Arc<RwLock<Views>>,
    keys: Arc<KeyStore>,
    /// A venue that was opened for this alone.
    stopped: Option<replica::Replica>,
}

fn parse<T, E: std::fmt::Display>(what: &str, text: &str, parsed: Result<T, E>) -> Result<T> {
    parsed.map_err(|e| anyhow!("{what} {text:?}: {e}"))
}

/// A share in percent with up to four decimals, as parts per million.
fn percent(what: &str, text: &str) -> Result<Rate> {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let ppm = parse(what, text, decimal::parse_amount(digits, 4))?;
    let ppm = i32::try_from(ppm).with_context(|| format!("{what} {text:?} is too large"))?;
    Ok(Rate(if negative { -ppm } else { ppm }))
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

/// The phase with this name.
fn phase(text: &str) -> Result<TradingPhase> {
    Ok(match text {
        "online" => TradingPhase::Online,
        "post-only" => TradingPhase::PostOnly,
        "limit-only" => TradingPhase::LimitOnly,
        "cancel-only" => TradingPhase::CancelOnly,
        "auction" => TradingPhase::Auction,
        "halted" => TradingPhase::Halted,
        _ => bail!(
            "phase {text:?} is none of online, post-only, limit-only, cancel-only, auction, halted"
        ),
    })
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
                let command = self.command(action)?;
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
        let views = self
            .views
            .read()
            .expect("invariant: views are never left half written");
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

    fn member(&self, code: &str) -> Result<MemberId> {
        let views = self
            .views
            .read()
            .expect("invariant: views are never left half written");
        views
            .member_by_code(code)
            .ok_or_else(|| anyhow!("no member {code:?}"))
    }

    fn asset(&self, code: &str) -> Result<(AssetId, u8)> {
        let views = self
            .views
            .read()
            .expect("invariant: views are never left half written");
        let asset = views
            .asset_by_code(code)
            .ok_or_else(|| anyhow!("no asset {code:?}"))?;
        Ok((asset.id, asset.decimals))
    }

    fn product(&self, symbol: &str) -> Result<Product> {
        let views = self
            .views
            .read()
            .expect("invariant: views are never left half written");
        let product = views.product_by_symbol(symbol);
        product
            .cloned()
            .ok_or_else(|| anyhow!("no product {symbol:?}"))
    }

    fn amount(&self, asset: &str, amount: &str) -> Result<(AssetId, Amount)> {
        let (id, decimals) = self.asset(asset)?;
        let atoms = parse("amount", amount, decimal::parse_amount(amount, decimals))?;
        Ok((id, Amount(atoms)))
    }

    fn command(&self, action: &Action) -> Result<Command> {
        let scope = |code: &Option<String>| code.as_deref().map(|c| self.member(c)).transpose();
        Ok(match action {
            Action::Phase {
                product,
                phase: name,
            } => Command::SetTradingPhase {
                instrument: self.product(product)?.id,
                phase: phase(name)?,
            },
            Action::ReferencePrice { product, price } => {
                let product = self.product(product)?;
                Command::SetReferencePrice {
                    instrument: product.id,
                    price: product_price(&product, "price", price)?,
                }
            }
            Action::Product { product, .. } => {
                let product = self.product(product)?;
                Command::AmendInstrument {
                    instrument: product.id,
                    limits: self.limits(&product, action)?,
                }
            }
            Action::AddAsset { code, decimals } => Command::AddAsset {
                code: asset_code(code)?,
                decimals: *decimals,
            },
            Action::AddProduct { .. } => self.add_product(action)?,
            Action::Kill { member } => Command::EngageKillSwitch {
                member: scope(member)?,
            },
            Action::Release { member } => Command::ReleaseKillSwitch {
                member: scope(member)?,
            },
            Action::MemberLimits {
                member,
                max_open_orders,
                message_rate,
                message_burst,
            } => {
                let limits = MemberLimits {
                    max_open_orders: *max_open_orders,
                    message_rate: *message_rate,
                    message_burst: (*message_burst).max(u32::from(*message_rate > 0)),
                };
                Command::SetMemberLimits {
                    member: self.member(member)?,
                    limits,
                }
            }
            Action::OrderLimits {
                member,
                product,
                max_size,
                max_notional,
            } => {
                let product = self.product(product)?;
                let limits = OrderLimits {
                    max_size: product_size(&product, "max-size", max_size)?,
                    max_notional: product_funds(&product, "max-notional", max_notional)?,
                };
                let member = self.member(member)?;
                Command::SetOrderLimits {
                    member,
                    instrument: product.id,
                    limits,
                }
            }
            Action::Fees {
                volume_asset,
                tiers,
            } => self.fees(volume_asset, tiers)?,
            Action::Deposit {
                member,
                asset,
                amount,
                reference,
            } => {
                let (asset, amount) = self.amount(asset, amount)?;
                let reference = parse("reference", reference, reference.parse())?;
                Command::Deposit {
                    member: self.member(member)?,
                    asset,
                    amount,
                    reference,
                }
            }
            Action::Transfer {
                from,
                to,
                asset,
                amount,
                reference,
            } => {
                let (asset, amount) = self.amount(asset, amount)?;
                let reference = parse("reference", reference, reference.parse())?;
                let (from, to) = (self.member(from)?, self.member(to)?);
                Command::Transfer {
                    from,
                    to,
                    asset,
                    amount,
                    reference,
                }
            }
            Action::Withdrawal { what, id } => {
                let transfer = transfer_id(id)?;
                match what.as_str() {
                    "complete" => Command::CompleteWithdrawal { transfer },
                    "cancel" => Command::CancelWithdrawal { transfer },
                    _ => bail!("{what:?} is neither complete nor cancel"),
                }
            }
            Action::Status
            | Action::Snapshot
            | Action::MemberAdd { .. }
            | Action::MemberList
            | Action::KeyRevoke { .. } => unreachable!("invariant: handled by execute"),
        })
    }

    fn limits(&self, product: &Product, action: &Action) -> Result<InstrumentLimits> {
        let Action::Product {
            tick,
            lot,
            min_size,
            max_size,
            min_notional,
            max_notional,
            price_band,
            allow_self_trade,
            ..
        } = action
        else {
            unreachable!("invariant: only called for a product")
        };
        let mut limits = product.instrument.limits;
        if let Some(text) = tick {
            limits.tick = product_price(product, "tick", text)?;
        }
        if let Some(text) = lot {
            limits.lot = product_size(product, "lot", text)?;
        }
        if let Some(text) = min_size {
            limits.min_size = product_size(product, "min-size", text)?;
        }
        if let Some(text) = max_size {
            limits.max_size = product_size(product, "max-size", text)?;
        }
        if let Some(text) = min_notional {
            limits.min_notional = product_funds(product, "min-notional", text)?;
        }
        if let Some(text) = max_notional {
            limits.max_notional = product_funds(product, "max-notional", text)?;
        }
        if let Some(text) = price_band {
            limits.price_band = percent("price-band", text)?;
        }
        if let Some(allow) = allow_self_trade {
            limits.allow_self_trade = *allow;
        }
        Ok(limits)
    }

    fn add_product(&self, action: &Action) -> Result<Command> {
        let Action::AddProduct {
            product,
            price_decimals,
            size_decimals,
            min_size,
            max_size,
        } = action
        else {
            unreachable!("invariant: only called for a new product")
        };
        let (base, quote) = product
            .split_once('-')
            .ok_or_else(|| anyhow!("product {product:?} is not of the form BASE-QUOTE"))?;
        let size = |what: &str, text: &str| {
            parse(what, text, decimal::parse(text, *size_decimals)).map(Quantity)
        };
        Ok(Command::AddInstrument {
            instrument: Instrument {
                base: self.asset(base)?.0,
                quote: self.asset(quote)?.0,
                price_decimals: *price_decimals,
                size_decimals: *size_decimals,
                limits: InstrumentLimits {
                    tick: Price(1),
                    lot: Quantity(1),
                    min_size: size("min-size", min_size)?,
                    max_size: size("max-size", max_size)?,
                    ..InstrumentLimits::default()
                },
            },
        })
    }

    fn fees(&self, volume_asset: &str, steps: &[String]) -> Result<Command> {
        let (volume_asset, decimals) = self.asset(volume_asset)?;
        let mut tiers = FeeTiers {
            volume_asset,
            ..FeeTiers::default()
        };
        if steps.len() > tiers.tiers.len() {
            bail!(
                "{} steps, but a schedule has at most {}",
                steps.len(),
                tiers.tiers.len()
            );
        }
        tiers.len = steps.len() as u8;
        for (tier, step) in tiers.tiers.iter_mut().zip(steps) {
            let fields: Vec<&str> = step.split(':').collect();
            let [volume, maker, taker] = fields[..] else {
                bail!("step {step:?} is not of the form volume:maker:taker");
            };
            *tier = FeeTier {
                min_volume: Amount(parse(
                    "volume",
                    volume,
                    decimal::parse_amount(volume, decimals),
                )?),
                maker: percent("maker", maker)?,
                taker: percent("taker", taker)?,
            };
        }
        Ok(Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers,
        })
    }

    fn member_add(
        &self,
        name: &str,
        permissions: &[String],
        allow: &[AddressRange],
    ) -> Result<Value> {
        let permissions = rights(permissions)?;
        let existing = self.member(name).ok();
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
        let code = parse("member", name, name.parse())?;
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
        let views = self
            .views
            .read()
            .expect("invariant: views are never left half written");
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

fn product_price(product: &Product, what: &str, text: &str) -> Result<Price> {
    parse(
        what,
        text,
        decimal::parse(text, product.instrument.price_decimals),
    )
    .map(Price)
}

fn product_size(product: &Product, what: &str, text: &str) -> Result<Quantity> {
    parse(
        what,
        text,
        decimal::parse(text, product.instrument.size_decimals),
    )
    .map(Quantity)
}

fn product_funds(product: &Product, what: &str, text: &str) -> Result<Amount> {
    parse(
        what,
        text,
        decimal::parse_amount(text, product.quote.decimals),
    )
    .map(Amount)
}

/// A transfer by the number that the API shows as its id.
fn transfer_id(text: &str) -> Result<TransferId> {
    parse("transfer", text, text.parse()).map(TransferId)
}

/// A code that product ids and clients can carry: a product's id joins two of them with a dash.
fn asset_code(text: &str) -> Result<AssetCode> {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    if !text.bytes().all(plain) {
        bail!("code {text:?}: upper-case letters and digits only");
    }
    parse("code", text, text.parse())
}
