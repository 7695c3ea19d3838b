# Commands of CONTRIBUTING.md, for https://just.systems; `just` lists them.

_default:
    @just --list --unsorted

# The checks to run before each commit
fast:
    .ci/fast

# All tests; those that lack Python packages, a browser or a GPU say that they are skipped
test:
    cargo test --workspace

# Everything that continuous integration runs on Linux; installs Debian packages
full:
    .ci/run

# Formats the code
format:
    cargo fmt --all

# Warnings of the compiler and of clippy
lint:
    cargo clippy --workspace --all-targets -- -D warnings

# The documentation of the crates, in a browser
docs:
    cargo doc --workspace --no-deps --open

# Speed of inference on this machine, in all and by layer
bench *options:
    cargo run --release --example bench -- {{options}}

# A training run on drawn images: one minute, no data needed
train *options:
    cargo run --release --example train-imagenet -- {{options}}
