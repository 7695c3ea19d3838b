//! Damaged files for the readers: real ones, changed at random, and the properties that reading them must keep.

#![allow(clippy::unwrap_used, dead_code)] // a failed setup step is a failed test

use std::io::{Cursor, Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bn_inception_formats::limits::{ALLOCATION_FACTOR, ALLOCATION_SLACK};
use bn_inception_formats::{Archive, Values, read, read_beside};
use burn_pack::{Bytes, DType, Tensor, Writer};
use peak_alloc::PeakAlloc;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Readers with their real files.
pub const READERS: [(&str, &[&str]); 6] = [
    ("pth", &["zip.pth", "legacy.pth", "nested.pth", "imagenet.pth", "imagenet_legacy.pth", "module.pth"]),
    ("onnx", &["folded.onnx", "kept.onnx", "scaled.onnx", "structure.onnx", "external.onnx"]),
    ("params", &["mxnet.params"]),
    ("caffemodel", &["scale.caffemodel", "bn.caffemodel"]),
    ("safetensors", &["cadene.safetensors"]),
    ("bpk", &["zip.pth"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The real files of the reader called `name`.
pub fn seeds(name: &str) -> Option<Vec<Vec<u8>>> {
    let (_, files) = READERS.iter().find(|(known, _)| *known == name)?;
    let files = files.iter().map(|file| std::fs::read(folder().join(file)).unwrap());
    Some(match name {
        "bpk" => files.map(|file| burnpack(&read(&file).unwrap())).collect(),
        _ => files.collect(),
    })
}

/// The tensors of `archive` in Burn's format.
pub fn burnpack(archive: &Archive) -> Vec<u8> {
    let tensors = archive.tensors.iter().map(|(name, array)| {
        let values = array.clone().into_values();
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let bytes = Bytes::from_bytes_vec(bytes);
        Tensor::new(name.clone(), DType::F32, array.shape.clone(), None, bytes)
    });
    let writer = Writer::new(tensors.collect()).with_metadata("made", "for a test");
    writer.into_bytes().unwrap().to_vec()
}

/// A file that made a reader fail.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub input: Vec<u8>,
    pub reason: String,
}

/// One file made from `seeds` with the random numbers of `seed`, read. Returns whether it was accepted.
pub fn once(seeds: &[Vec<u8>], seed: u64, memory: &PeakAlloc) -> Result<bool, Failure> {
    let input = damaged(seeds, seed);
    memory.reset_peak_usage();
    let before = memory.current_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| read_beside(&input, &folder())));
    let peak = memory.peak_usage().saturating_sub(before);
    let allowed = input.len() * ALLOCATION_FACTOR + ALLOCATION_SLACK;
    let reason = match &outcome {
        Err(_) => "panicked".to_owned(),
        Ok(_) if peak > allowed => {
            format!("took {peak} bytes for {}, allowed {allowed}", input.len())
        }
        Ok(Ok(archive)) => match inconsistency(archive) {
            Some(reason) => reason,
            None => return Ok(true),
        },
        Ok(Err(error)) => match error.to_string() {
            text if text.contains('\n') => format!("says more than one line: {text}"),
            _ => return Ok(false),
        },
    };
    Err(Failure { seed, input, reason })
}

fn inconsistency(archive: &Archive) -> Option<String> {
    archive.tensors.iter().find_map(|(name, array)| {
        let length: usize = array.shape.iter().product();
        match &array.values {
            Values::Each(values) if values.len() != length => {
                Some(format!("tensor {name}: {:?} with {} values", array.shape, values.len()))
            }
            _ => None,
        }
    })
}

fn damaged(seeds: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let file = &seeds[random.random_range(0..seeds.len())];
    // Checksums protect what is inside a zip archive, so half of the archives are damaged inside.
    if file.starts_with(b"PK") && random.random_bool(0.5) {
        return damaged_inside(file, &mut random);
    }
    let mut file = file.clone();
    for _ in 0..random.random_range(1..4) {
        damage(&mut file, seeds, &mut random);
    }
    file
}

fn damaged_inside(file: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(file)).unwrap();
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let method = if random.random_bool(0.2) { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let options = SimpleFileOptions::default().compression_method(method);
    let chosen = random.random_range(0..archive.len());
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).unwrap();
        let mut name = member.name().unwrap().into_owned();
        let mut content = Vec::new();
        member.read_to_end(&mut content).unwrap();
        let pickle = name.ends_with("data.pkl");
        if pickle || index == chosen {
            for _ in 0..random.random_range(1..4) {
                damage(&mut content, &[], random);
            }
        }
        if index == chosen && random.random_bool(0.1) {
            name = ["../../escaped", "/escaped", "..\\escaped"][random.random_range(0..3)].to_owned();
        }
        writer.start_file(name, options).unwrap();
        writer.write_all(&content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// One random change.
fn damage(file: &mut Vec<u8>, others: &[Vec<u8>], random: &mut ChaCha8Rng) {
    if file.is_empty() {
        return;
    }
    let at = place(file.len(), random);
    match random.random_range(0..7) {
        0 => {
            for _ in 0..random.random_range(1..8) {
                let at = place(file.len(), random);
                file[at] ^= 1 << random.random_range(0..8);
            }
        }
        1 => file.truncate(at),
        2 => {
            // A length, a count or an offset.
            const WORDS: [u64; 8] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX];
            let near = [file.len() as u64, random.next_u64() % 4096];
            let words = WORDS.iter().chain(&near).copied().collect::<Vec<_>>();
            let word = words[random.random_range(0..words.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.random_range(0..4)];
            let end = (at + width).min(file.len());
            file[at..end].copy_from_slice(&word[..end - at]);
        }
        3 => {
            let source =
                if others.is_empty() { file.clone() } else { others[random.random_range(0..others.len())].clone() };
            let from = place(source.len(), random);
            let length = random.random_range(0..512).min(source.len() - from);
            let end = (at + random.random_range(0..512)).min(file.len());
            file.splice(at..end, source[from..from + length].iter().copied());
        }
        4 => {
            let end = (at + random.random_range(1..64)).min(file.len());
            file.drain(at..end);
        }
        5 => {
            let end = (at + random.random_range(1..64)).min(file.len());
            let part = file[at..end].repeat(random.random_range(1..2000));
            file.splice(at..at, part);
        }
        _ => {
            let end = (at + random.random_range(1..16)).min(file.len());
            random.fill_bytes(&mut file[at..end]);
        }
    }
}

/// A position, preferably near the ends, where the structure of most formats is.
fn place(length: usize, random: &mut ChaCha8Rng) -> usize {
    let near = random.random_range(0..length.min(2048));
    match random.random_range(0..4) {
        0 => near,
        1 => length - 1 - near,
        _ => random.random_range(0..length),
    }
}
