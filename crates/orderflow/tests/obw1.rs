//! The workload's bytes and totals are the published ones.

use everopen_orderflow::obw1::{self, FileError, Generator, Workload};
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn small_files_have_the_published_sha256() {
    for name in ["s1k", "s100"] {
        let known = obw1::named(name).unwrap();
        let mut bytes = Vec::new();
        Workload::generate(known.params).write(&mut bytes).unwrap();
        assert_eq!(sha256(&bytes), known.sha256, "{name}");
        let mut streamed = Vec::new();
        Workload::generate_into(known.params, &mut streamed).unwrap();
        assert!(
            streamed == bytes,
            "{name}: streamed and collected forms differ"
        );
    }
}

#[test]
fn totals_are_the_published_ones_and_warm_up_trades_nothing() {
    for name in ["d1k", "d100k", "m100"] {
        let known = obw1::named(name).unwrap();
        let mut generator = Generator::new(known.params);
        generator
            .by_ref()
            .take(known.params.warm_up() as usize)
            .for_each(drop);
        assert_eq!(
            generator.totals(),
            obw1::Totals::default(),
            "{name}: warm-up"
        );
        let mut done = 0;
        for &(after, totals) in known
            .totals
            .iter()
            .take_while(|(after, _)| *after <= 500_000)
        {
            generator
                .by_ref()
                .take((after - done) as usize)
                .for_each(drop);
            assert_eq!(generator.totals(), totals, "{name} after {after}");
            done = after;
        }
    }
}

#[test]
fn a_file_reads_back_and_a_cut_one_names_the_offset() {
    let params = obw1::Params {
        symbols: 3,
        depth: 20,
        commands: 500,
        seed: 7,
    };
    let workload = Workload::generate(params);
    let mut bytes = Vec::new();
    workload.write(&mut bytes).unwrap();
    assert_eq!(Workload::read(&bytes[..]).unwrap(), workload);
    assert_eq!(
        (workload.warm_up().len(), workload.timed().len()),
        (60, 500)
    );

    for cut in 0..bytes.len() {
        match Workload::read(&bytes[..cut]) {
            Err(FileError::Truncated { offset }) => {
                let start = if cut < 32 {
                    0
                } else {
                    32 + (cut as u64 - 32) / 24 * 24
                };
                assert_eq!(offset, start, "cut at {cut}");
            }
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
    bytes[32 + 24 * 5 + 18] = 9;
    let error = Workload::read(&bytes[..]).unwrap_err().to_string();
    assert_eq!(
        error,
        "at offset 170: expected a command type from 0 to 3, found 9"
    );
}
