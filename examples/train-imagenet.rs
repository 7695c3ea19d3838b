//! The program `train-imagenet`: trains BN-Inception on photographs, or, without any, on images it draws itself.
//!
//! ```text
//! cargo run --release --example train-imagenet
//! cargo run --release --example train-imagenet -- --data imagenet --recipe bn-x30 --out runs/x30
//! cargo run --release --example train-imagenet -- --out runs/x30 --resume
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception::DeviceSpec;
use bn_inception_examples::ranks::Ranks;
use bn_inception_examples::training::status;
use bn_inception_examples::{Failure, REVISION, exit_code};
use bn_inception_train::dashboard::{Dashboard, DashboardConfig, DashboardError};
use bn_inception_train::{
    CheckpointEvery, Choices, Display, Outcome, StopSignal, TELEMETRY_EVERY, TrainConfig, Trainer,
};
use clap::Parser;

/// A step allocates and frees every activation. The system's allocator returns such large blocks to the kernel, which
/// then clears each page anew: a tenth of the time of a step on a CPU.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train BN-Inception from folders of images.
///
/// Weights, summary, log and checkpoints go to the output folder. A run that was stopped, by
/// Ctrl-C or by force, goes on with `--resume` and ends with the same weights as if it had not been.
#[derive(Parser)]
#[command(name = "train-imagenet", version, allow_negative_numbers = true)]
struct Arguments {
    /// Dataset: folders train/CLASS/*.jpg and val/CLASS/*.jpg, ImageNet's tars, Kaggle's CLS-LOC, WebDataset shards
    /// or one tar of folders; see docs/data.md [default: images drawn by the program]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,

    /// inception, bn-baseline, bn-x5, bn-x30, bn-x5-sigmoid (the paper's), modern or drawn (ours)
    /// [default: modern, for drawn images drawn]
    #[arg(long, value_name = "NAME")]
    recipe: Option<String>,

    /// Network: paper, caffe, onnx, mxnet, tf_slim or small [default: caffe]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Multiplier of the network's channels [default: 1, drawn images 0.25]
    #[arg(long, value_name = "F")]
    width: Option<f64>,

    /// Height and width of the images in pixels [default: 224, drawn images 64]
    #[arg(long, value_name = "N")]
    image_size: Option<usize>,

    /// Passes over the training images [default: 20, drawn images 5]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,

    /// Optimizer steps, instead of epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs")]
    steps: Option<u64>,

    /// Images per batch [default: the recipe's: 64 for modern, 32 for the others]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,

    /// Batches per optimizer step; their gradients are averaged [default: 1]
    #[arg(long, value_name = "N")]
    accumulate: Option<usize>,

    /// Scale gradients down to this global norm [default: no limit]
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f64>,

    /// Seed of weights, image order, augmentation and dropout [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, cuda:local (with mpirun) …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Threads that decode images, 0 for none besides the main one [default: one for each processor core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(..=256))]
    workers: Option<u16>,

    /// Output folder [default: the next of runs/1, runs/2, …; with --resume the last]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on with the run in the output folder; other flags must be absent or as they were
    #[arg(long)]
    resume: bool,

    /// Stop at the first broken image, instead of replacing up to 1 % of them
    #[arg(long)]
    strict: bool,

    /// Save every N optimizer steps [default: every two minutes]; each epoch's end is saved anyway
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: Option<u64>,

    /// Number of checkpoints to keep besides the best
    #[arg(long, value_name = "N", default_value_t = 3)]
    keep_checkpoints: usize,

    /// Address of the dashboard, HOST:PORT, or off [default: 127.0.0.1:8015, or another port if that is taken]
    #[arg(long, value_name = "ADDR")]
    dashboard: Option<String>,

    /// Token that browsers must know to see the dashboard; gives it a button that stops the run
    #[arg(long, value_name = "TOKEN", env = "BN_INCEPTION_DASHBOARD_TOKEN", hide_env_values = true)]
    dashboard_token: Option<String>,

    /// Look inside the network every N steps, for the run log and TensorBoard; 0 for never
    #[arg(long, value_name = "N", default_value_t = TELEMETRY_EVERY)]
    telemetry_every: u64,

    /// With mpirun, end the run when a process makes no progress for this long
    #[arg(long, value_name = "MINUTES", default_value_t = 30, hide = cfg!(not(feature = "mpi")))]
    stall_minutes: u64,

    /// Print the summary as JSON on standard output, and progress on standard error
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (json, device, strict) = (arguments.json, arguments.device.clone(), arguments.strict);
    let flags = [("--device", device != "auto", device.as_str()), ("--strict", strict, "")];
    match Ranks::join(arguments.stall_minutes) {
        Ok(ranks) => {
            let ending = train(arguments, &ranks);
            ranks.finish("train-imagenet", ending, json, &flags)
        }
        Err(error) => exit_code(Err(error)),
    }
}

fn train(arguments: Arguments, ranks: &Ranks) -> Result<Outcome, Failure> {
    let out = ranks.choose_out(arguments.out, arguments.resume)?;
    let defaults = TrainConfig::new(out.path());
    let mut config = TrainConfig {
        data: arguments.data,
        choices: Choices {
            recipe: arguments.recipe,
            preset: arguments.preset,
            width: arguments.width,
            image_size: arguments.image_size,
            epochs: arguments.epochs,
            steps: arguments.steps,
            batch_size: arguments.batch_size,
            accumulate: arguments.accumulate,
            clip_norm: arguments.clip_norm,
            seed: arguments.seed,
            ..Choices::default()
        },
        resume: arguments.resume,
        device: ranks.device(&arguments.device).parse::<DeviceSpec>()?,
        workers: arguments.workers.map_or(defaults.workers, usize::from),
        strict: arguments.strict,
        checkpoint_every: arguments.checkpoint_every.map_or(defaults.checkpoint_every, CheckpointEvery::Steps),
        keep_checkpoints: arguments.keep_checkpoints,
        display: if arguments.json { Display::Stderr } else { Display::Auto },
        telemetry_every: arguments.telemetry_every,
        program: concat!("train-imagenet ", env!("CARGO_PKG_VERSION")).to_owned(),
        revision: REVISION.map(str::to_owned),
        ..defaults
    };
    let status = status(arguments.json);
    if ranks.is_first() {
        status(&format!("output: {}", config.out.display()));
    }
    // Without the handler Ctrl-C ends the process at once, which loses two minutes at most.
    let stop = StopSignal::on_ctrl_c().unwrap_or_default();
    let dashboard = match ranks.is_first() {
        true => open_dashboard(arguments.dashboard, arguments.dashboard_token, &config, &stop)?,
        false => None,
    };
    config.dashboard = dashboard.as_ref().map(Dashboard::url);
    let trainer = Trainer::with_group(config, ranks.group(), &status)?;
    if let Some(dashboard) = &dashboard {
        status(&format!("dashboard: {}", dashboard.url()));
    }
    // The dashboard is dropped last, because it sends open pages the rest of the log.
    Ok(trainer.run(&stop)?)
}

/// The dashboard, unless it is switched off.
fn open_dashboard(
    address: Option<String>,
    token: Option<String>,
    config: &TrainConfig,
    stop: &StopSignal,
) -> Result<Option<Dashboard>, DashboardError> {
    if address.as_deref() == Some("off") {
        return Ok(None);
    }
    let config = DashboardConfig {
        runs: vec![config.out.clone()],
        listen: address,
        token,
        on_stop: Some(Box::new({
            let stop = stop.clone();
            move || stop.stop("the dashboard's stop button")
        })),
    };
    Dashboard::open(config).map(Some)
}
