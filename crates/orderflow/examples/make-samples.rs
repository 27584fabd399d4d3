//! Makes the files of `samples/` again: `make-samples [folder]`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use everopen_orderflow::samples;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or_else(|| "samples".to_owned()),
    );
    std::fs::create_dir_all(&folder)?;
    for file in samples::FILES {
        let mut out = BufWriter::new(File::create(folder.join(file))?);
        samples::make(file, samples::SEED, &mut out)?;
        out.flush()?;
        println!("{}: {} bytes", file, out.get_ref().metadata()?.len());
    }
    Ok(())
}
