//! Writes the valid inputs of one target into a folder: `seeds TARGET FOLDER`.

use std::path::PathBuf;

fn main() {
    let mut args = std::env::args_os().skip(1);
    let (Some(name), Some(folder)) = (args.next(), args.next().map(PathBuf::from)) else {
        eprintln!("usage: seeds TARGET FOLDER");
        std::process::exit(2);
    };
    let name = name.to_string_lossy();
    let Some(target) = everopen_fuzz::target(&name) else {
        eprintln!("no fuzz target is called {name}");
        std::process::exit(2);
    };
    for (number, seed) in (target.seeds)().iter().enumerate() {
        let path = folder.join(format!("seed-{number}"));
        if let Err(error) = std::fs::write(&path, seed) {
            eprintln!("cannot write {}: {error}", path.display());
            std::process::exit(1);
        }
    }
}
