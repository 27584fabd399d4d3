//! Writes a published OBW1 workload to a file: `make-obw1 d1k d1k.obw1`.

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};

use everopen_orderflow::obw1::{NAMED, Workload, named};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, path] = arguments.as_slice() else {
        let names: Vec<_> = NAMED.iter().map(|known| known.name).collect();
        return Err(format!("usage: make-obw1 <{}> <file>", names.join("|")).into());
    };
    let known = named(name).ok_or_else(|| format!("no workload is called {name}"))?;
    let mut out = BufWriter::new(File::create(path)?);
    Workload::generate_into(known.params, &mut out)?;
    out.flush()?;
    println!("{path}: expected sha256 {}", known.sha256);
    Ok(())
}
