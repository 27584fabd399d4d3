//! What an action means: its texts become numbers and ids, and all of it a command.

use anyhow::{Context, Result, anyhow, bail};
use everopen_domain::{
    Amount, AssetCode, AssetId, Command, FeeScheduleId, FeeTier, FeeTiers, Instrument,
    InstrumentLimits, MemberId, MemberLimits, OrderLimits, Price, Quantity, Rate, TradingPhase,
    TransferId,
};
use everopen_views::{Product, Views, decimal};

use super::Action;

/// Reads actions with the names that a venue knows.
pub struct Interpreter<'a>(pub &'a Views);

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

impl Interpreter<'_> {
    fn member(&self, code: &str) -> Result<MemberId> {
        self.0
            .member_by_code(code)
            .ok_or_else(|| anyhow!("no member {code:?}"))
    }

    fn asset(&self, code: &str) -> Result<(AssetId, u8)> {
        let asset = self
            .0
            .asset_by_code(code)
            .ok_or_else(|| anyhow!("no asset {code:?}"))?;
        Ok((asset.id, asset.decimals))
    }

    fn product(&self, symbol: &str) -> Result<Product> {
        let product = self.0.product_by_symbol(symbol);
        product
            .cloned()
            .ok_or_else(|| anyhow!("no product {symbol:?}"))
    }

    fn amount(&self, asset: &str, amount: &str) -> Result<(AssetId, Amount)> {
        let (id, decimals) = self.asset(asset)?;
        let atoms = parse("amount", amount, decimal::parse_amount(amount, decimals))?;
        Ok((id, Amount(atoms)))
    }

    /// The command that an action stands for.
    ///
    /// # Errors
    /// What can't be read, or names nothing.
    pub fn command(&self, action: &Action) -> Result<Command> {
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
            | Action::KeyRevoke { .. }
            | Action::Endpoints
            | Action::Summary => unreachable!("invariant: handled by execute"),
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
