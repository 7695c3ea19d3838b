//! A short run of the fuzz command: `cargo run -p bn-inception-formats --example fuzz_readers -- pth --seconds 300`.

mod damaged;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Files for each reader.
const FILES: u64 = 400;

/// One test, because the memory use of several at once could not be separated.
#[test]
fn damaged_files_are_refused_or_read_whole() {
    let fresh = damaged::READERS.map(|(name, _)| (name, damaged::seeds(name).unwrap()));
    for (name, seeds) in fresh {
        for seed in 0..FILES {
            if let Err(failure) = damaged::once(&seeds, seed, &MEMORY) {
                panic!("{name}, seed {seed}: {}", failure.reason);
            }
        }
    }
}
