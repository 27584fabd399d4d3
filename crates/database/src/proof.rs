//! The proof that nothing was lost: both sides at one position, table by table.

use std::collections::HashMap;

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
}

const KEEP: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";

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
        self.sides[0].run(KEEP).await?;
        self.files = self.files().await?;
        Ok(())
    }

    async fn files(&self) -> Result<HashMap<String, String>, String> {
        let rows = self.sides[1].rows(FILES).await?;
        let pair = |row: Vec<String>| Some((row.first()?.clone(), row.get(1)?.clone()));
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// Keeps both sides as they are now.
    pub async fn keep(&self) -> Result<(), String> {
        let keep = |server| async move {
            let server: &Server = server;
            server.run(KEEP).await
        };
        futures_util::future::try_join(keep(&self.sides[0]), keep(&self.sides[1])).await?;
        Ok(())
    }

    /// Gives up what was kept.
    pub async fn forget(&self) {
        for server in &self.sides {
            let _ = server.run("ROLLBACK").await;
        }
    }

    /// Counts and compares.
    ///
    /// # Errors
    /// Names each table that differs, and where.
    pub async fn compare(self, tables: &[Table]) -> Result<String, String> {
        let mut rows_in_all = 0_u64;
        let mut wrong = Vec::new();
        let mut rewritten = Vec::new();
        let files = match self.files.is_empty() {
            true => HashMap::new(),
            false => self.files().await?,
        };
        for table in tables {
            if self.files.get(&table.name) != files.get(&table.name) {
                rewritten.push(table.name.as_str());
                continue;
            }
            // By name: a change may have added columns on one side.
            let columns = table.columns.join(", ");
            let sql = format!(
                "SELECT ('x' || substr(h, 1, 4))::bit(16)::int % {PARTS}, count(*), sum(('x' || substr(h, 5, 15))::bit(60)::bigint::numeric)
                 FROM (SELECT md5(ROW({columns})::text) h FROM {}) t GROUP BY 1 ORDER BY 1",
                table.name
            );
            let (one, other) =
                futures_util::future::try_join(self.sides[0].rows(&sql), self.sides[1].rows(&sql))
                    .await?;
            let count = |rows: &[Vec<String>]| -> u64 {
                rows.iter()
                    .filter_map(|row| row[1].parse::<u64>().ok())
                    .sum()
            };
            if one != other {
                let parts = (0..PARTS).filter(|part| {
                    let of = |rows: &[Vec<String>]| {
                        rows.iter().find(|row| row[0] == part.to_string()).cloned()
                    };
                    of(&one) != of(&other)
                });
                wrong.push(format!(
                    "{}: {} rows {}, {} {}; {} of {PARTS} parts differ",
                    table.name,
                    count(&one),
                    self.names[0],
                    count(&other),
                    self.names[1],
                    parts.count()
                ));
            }
            rows_in_all += count(&one);
        }
        self.forget().await;
        match wrong.is_empty() {
            true => {
                let mut told = format!(
                    "{} tables, {rows_in_all} rows: counts and hashes are the same on both sides",
                    tables.len() - rewritten.len()
                );
                if !rewritten.is_empty() {
                    let names = rewritten.join(", ");
                    told += &format!("; NOT COMPARED, since the change wrote them anew: {names}");
                }
                Ok(told)
            }
            false => Err(wrong.join("; ")),
        }
    }
}
