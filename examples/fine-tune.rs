//! The program `fine-tune`: teaches trained weights other classes.
//!
//! ```text
//! cargo run --release --example fine-tune
//! cargo run --release --example fine-tune -- --data flowers --freeze 4e
//! cargo run --release --example fine-tune -- --out runs/1 --resume
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception::DeviceSpec;
use bn_inception_examples::training::{OutFolder, finish, status};
use bn_inception_examples::{Failure, REVISION};
use bn_inception_train::{Choices, Display, Outcome, StopSignal, TrainConfig, Trainer};
use clap::Parser;

/// A step allocates and frees every activation; the system's allocator returns such large blocks to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Default weights to fine-tune.
const WEIGHTS: &str = "imagenette";

/// Teach trained weights other classes, from folders of images.
///
/// The new weights keep the old ones' network and preprocessing. Weights, summary, log and checkpoints go to the output
/// folder. A run that was stopped, by Ctrl-C or by force, goes on with `--resume` and ends with the same weights as if
/// it had not been.
#[derive(Parser)]
#[command(name = "fine-tune", version, allow_negative_numbers = true)]
struct Arguments {
    /// Weight file (convert makes one of others') or checkpoint of this project, or a name that list-weights prints [default: imagenette]
    #[arg(long, value_name = "PATH|NAME")]
    weights: Option<String>,

    /// Dataset: folders train/CLASS/*.jpg and val/CLASS/*.jpg, ImageNet's tars, Kaggle's CLS-LOC, WebDataset shards
    /// or one tar of folders; see docs/data.md [default: five classes drawn by
    /// the program]
    #[arg(long, value_name = "PATH")]
    data: Option<PathBuf>,

    /// Freeze the network up to and including stem, 3a, 3b, 3c, 4a … 4e, 5a or 5b [default: train all of it]
    #[arg(long, value_name = "END POINT")]
    freeze: Option<String>,

    /// Learning rate of what is neither frozen nor the new classifier [default: 0.01]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    lr: Option<f64>,

    /// Learning rate of the new classifier [default: ten times the other]
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    head_lr: Option<f64>,

    /// Passes over the training images [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,

    /// Images per batch [default: 32]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,

    /// Seed of the new classifier, image order, augmentation and dropout [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Output folder [default: the next of runs/1, runs/2, …; with --resume the last]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on with the run in the output folder; other flags must be absent or as they were
    #[arg(long)]
    resume: bool,

    /// Print the summary as JSON on standard output, and progress on standard error
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (json, device) = (arguments.json, arguments.device.clone());
    let flags = [("--device", device != "auto", device.as_str())];
    finish("fine-tune", tune(arguments), json, &flags)
}

fn tune(arguments: Arguments) -> Result<Outcome, Failure> {
    let out = OutFolder::choose(arguments.out, arguments.resume)?;
    // A resumed run has its weights in its checkpoint.
    let default_weights = (!arguments.resume).then(|| WEIGHTS.to_owned());
    let config = TrainConfig {
        data: arguments.data,
        choices: Choices {
            epochs: arguments.epochs,
            batch_size: arguments.batch_size,
            seed: arguments.seed,
            weights: arguments.weights.or(default_weights),
            freeze: arguments.freeze,
            lr: arguments.lr,
            head_lr: arguments.head_lr,
            ..Choices::default()
        },
        resume: arguments.resume,
        device: arguments.device.parse::<DeviceSpec>()?,
        display: if arguments.json { Display::Stderr } else { Display::Auto },
        program: concat!("fine-tune ", env!("CARGO_PKG_VERSION")).to_owned(),
        revision: REVISION.map(str::to_owned),
        ..TrainConfig::new(out.path())
    };
    let status = status(arguments.json);
    status(&format!("output: {}", config.out.display()));
    let trainer = Trainer::new(config, status)?;
    // Without the handler Ctrl-C ends the process at once, which loses two minutes at most.
    let stop = StopSignal::on_ctrl_c().unwrap_or_default();
    Ok(trainer.run(&stop)?)
}
