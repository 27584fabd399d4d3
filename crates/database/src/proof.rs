//! The proof that nothing was lost: both sides at one position, table by table.

use std::collections::HashMap;
use std::path::Path;

use everopen_rollout::state::{now_ms, write};
use serde::Serialize;

use crate::server::{Server, Side};
use crate::stream::Table;

/// Parts into which a table's rows fall, so that a difference can be looked for in one of them.
const PARTS: u32 = 16;

/// Both sides as they were while clients were held. Nobody wrote then, and everything had come over, so both
/// must hold the same; counting takes place afterwards, when nobody waits for it.
pub(crate) struct Proof {
    sides: [Server; 2],
    /// What people call them.
    names: [&'static str; 2],
    /// In which file the other side has each table.
    files: HashMap<String, String>,
    /// Where in its log each side was when it was kept.
    positions: [String; 2],
}

/// What stands in the rollout's folder afterwards, for whoever wants to see it or count again.
#[derive(Serialize)]
struct Evidence<'a> {
    /// Milliseconds since 1970, when it was compared.
    at_ms: u64,
    sides: [SideOf<'a>; 2],
    /// How a part's hash is made.
    how: &'static str,
    tables: Vec<TableOf<'a>>,
}

#[derive(Serialize)]
struct SideOf<'a> {
    name: &'a str,
    /// In its own log.
    lsn: &'a str,
}

#[derive(Serialize)]
struct TableOf<'a> {
    name: &'a str,
    columns: &'a [String],
    is_equal: bool,
    /// Of each side; the second is left out where it is the same.
    parts: Vec<Vec<Part>>,
}

/// Rows of a table that fall into the same part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Part {
    part: u32,
    rows: u64,
    hash: String,
}

const HOW: &str = "part: the first 16 bits of md5(ROW(columns)::text), modulo 16; hash: the sum of its next 60 bits over all rows of the part";

const KEEP: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_current_wal_lsn()";

/// Each table, and the number of its file now; what a snapshot says of that is not as old as the snapshot.
const FILES: &str = "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), pg_relation_filenode(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'";

fn on(side: Side) -> &'static str {
    match side {
        Side::Blue => "on blue",
        Side::Green => "on green",
    }
}

impl Proof {
    /// Connects; nothing is kept yet.
    pub async fn connect(one: &Server, other: &Server) -> Result<Self, String> {
        let sides = [
            Server::connect(one.side, &one.dsn).await?,
            Server::connect(other.side, &other.dsn).await?,
        ];
        Ok(Self {
            names: [on(one.side), on(other.side)],
            sides,
            files: HashMap::new(),
            positions: Default::default(),
        })
    }

    /// As [`Proof::keep`], before the other side is changed: a table that is written anew then has no rows for
    /// who looks at it as it was.
    pub async fn keep_before_change(&mut self) -> Result<(), String> {
        self.keep().await?;
        self.files = self.files().await?;
        Ok(())
    }

    /// As [`Proof::keep_before_change`], of one side alone, which is to be compared with itself afterwards.
    pub async fn keep_one_before_change(&mut self) -> Result<(), String> {
        self.names = ["before", "afterwards"];
        self.positions[0] = self.sides[0].value(KEEP).await?;
        self.files = self.files().await?;
        Ok(())
    }

    async fn files(&self) -> Result<HashMap<String, String>, String> {
        let rows = self.sides[1].rows(FILES).await?;
        let pair = |row: Vec<String>| Some((row.first()?.clone(), row.get(1)?.clone()));
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// Keeps both sides as they are now.
    pub async fn keep(&mut self) -> Result<(), String> {
        let [one, other] = &self.sides;
        let (one, other) =
            futures_util::future::try_join(one.value(KEEP), other.value(KEEP)).await?;
        self.positions = [one, other];
        Ok(())
    }

    /// Gives up what was kept.
    pub async fn forget(&self) {
        for server in &self.sides {
            let _ = server.run("ROLLBACK").await;
        }
    }

    /// Counts and compares, and writes what was counted into a file, if one is named.
    ///
    /// # Errors
    /// Names each table that differs, and where.
    pub async fn compare(self, tables: &[Table], into: Option<&Path>) -> Result<String, String> {
        let mut rows_in_all = 0_u64;
        let mut wrong = Vec::new();
        let mut rewritten = Vec::new();
        let mut counted = Vec::new();
        let files = match self.files.is_empty() {
            true => HashMap::new(),
            false => self.files().await?,
        };
        for table in tables {
            if self.files.get(&table.name) != files.get(&table.name) {
                rewritten.push(table.name.as_str());
                continue;
            }
            let [one, other] = &self.sides;
            let (one, other) =
                futures_util::future::try_join(parts(one, table), parts(other, table)).await?;
            rows_in_all += count(&one);
            let is_equal = one == other;
            if !is_equal {
                let differ = (0..PARTS).filter(|part| {
                    let of = |parts: &[Part]| parts.iter().find(|one| one.part == *part).cloned();
                    of(&one) != of(&other)
                });
                wrong.push(format!(
                    "{}: {} rows {}, {} {}; {} of {PARTS} parts differ",
                    table.name,
                    count(&one),
                    self.names[0],
                    count(&other),
                    self.names[1],
                    differ.count()
                ));
            }
            counted.push(TableOf {
                name: &table.name,
                columns: &table.columns,
                is_equal,
                parts: match is_equal {
                    true => vec![one],
                    false => vec![one, other],
                },
            });
        }
        self.forget().await;
        let kept = into.map(|path| self.write(counted, path));
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        let mut told = format!(
            "{} tables, {rows_in_all} rows: counts and hashes are the same on both sides",
            tables.len() - rewritten.len()
        );
        if !rewritten.is_empty() {
            let names = rewritten.join(", ");
            told += &format!("; NOT COMPARED, since the change wrote them anew: {names}");
        }
        if let Some(Err(error)) = kept {
            told += &format!("; WHAT WAS COUNTED COULD NOT BE KEPT: {error}");
        }
        Ok(told)
    }

    fn write(&self, tables: Vec<TableOf<'_>>, path: &Path) -> Result<(), String> {
        let side = |at: usize| SideOf {
            name: self.sides[at].side.name(),
            lsn: &self.positions[at],
        };
        let evidence = Evidence {
            at_ms: now_ms(),
            sides: [side(0), side(1)],
            how: HOW,
            tables,
        };
        let text = serde_json::to_vec_pretty(&evidence).map_err(|error| error.to_string())?;
        write(path, &text).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// A table's rows on a side, counted and hashed.
async fn parts(server: &Server, table: &Table) -> Result<Vec<Part>, String> {
    // By name: a change may have added columns on one side.
    let columns = table.columns.join(", ");
    let rows = server
        .rows(&format!(
            "SELECT ('x' || substr(h, 1, 4))::bit(16)::int % {PARTS}, count(*), sum(('x' || substr(h, 5, 15))::bit(60)::bigint::numeric)
             FROM (SELECT md5(ROW({columns})::text) h FROM {}) t GROUP BY 1 ORDER BY 1",
            table.name
        ))
        .await?;
    let part = |row: Vec<String>| match row.as_slice() {
        [part, rows, hash] => Some(Part {
            part: part.parse().ok()?,
            rows: rows.parse().ok()?,
            hash: hash.clone(),
        }),
        _ => None,
    };
    let parts: Option<Vec<Part>> = rows.into_iter().map(part).collect();
    parts.ok_or_else(|| format!("{}: {} can't be counted", server.side.name(), table.name))
}

fn count(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.rows).sum()
}
