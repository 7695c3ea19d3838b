//! The program `paper-figures`: makes the paper's Figures 2 and 3 at the scale of a small dataset. It trains the
//! recipes of the five networks there, each several times for the same number of steps.
//!
//! ```text
//! cargo run --release --example paper-figures -- --data imagenette --out runs/paper-figures
//! ```

mod experiment;
mod figure;
mod outcome;
mod paper;
mod report;
mod table;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception::DeviceSpec;
use bn_inception_examples::training::quoted;
use bn_inception_examples::{Failure, exit_code};
use bn_inception_train::StopSignal;
use clap::{Parser, value_parser};

use experiment::{DEFAULT_SCALE, Ending, Experiment, Scale, plan};
use outcome::Results;

/// See `train-imagenet`: large blocks are kept for the next step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Draw the paper's Figures 2 and 3: the accuracy of its five networks over training steps.
///
/// Trains each recipe with each seed, and writes figure2.svg, figure2.png, figure3.md and figures.json after every run.
/// Each run has a run folder, RECIPE-SEED, which `dashboard` shows. What has been done is not done again: stop the
/// program at any time and start it with the same flags to go on.
#[derive(Parser)]
#[command(name = "paper-figures", version, allow_negative_numbers = true)]
struct Arguments {
    /// Dataset: folders train/CLASS/*.jpg and val/CLASS/*.jpg, ImageNet's tars, Kaggle's CLS-LOC, WebDataset shards
    /// or one tar of folders; see docs/data.md
    #[arg(long, value_name = "PATH")]
    data: PathBuf,

    /// Output folder
    #[arg(long, value_name = "DIR", default_value = "runs/paper-figures")]
    out: PathBuf,

    /// Runs of each recipe, with seeds from 0 up; more can be added later
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SCALE.seeds, value_parser = value_parser!(u16).range(1..))]
    seeds: u16,

    /// Passes over the training images
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SCALE.epochs)]
    epochs: usize,

    /// Multiplier of the networks' channels
    #[arg(long, value_name = "F", default_value_t = DEFAULT_SCALE.width)]
    width: f64,

    /// Height and width of the images in pixels
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SCALE.image_size)]
    image_size: usize,

    /// auto, flex, ndarray, wgpu, vulkan, metal, webgpu, cuda, cuda:1, rocm …
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,

    /// Threads that decode images, 0 for none besides the main one [default: one for each processor core]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(..=256))]
    workers: Option<u16>,
}

fn main() -> ExitCode {
    exit_code(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { seeds, epochs, width, image_size, .. } = *arguments;
    let scale = Scale { width, image_size, epochs, seeds };
    let experiment = Experiment {
        data: arguments.data.clone(),
        out: arguments.out.clone(),
        scale,
        device: arguments.device.parse::<DeviceSpec>()?,
        workers: arguments.workers.map(usize::from),
    };
    let mut results = Results::default();
    for run in experiment.ended()? {
        results.add(run);
    }
    // Without the handler Ctrl-C ends the process at once, which loses two minutes at most.
    let stop = StopSignal::on_ctrl_c().unwrap_or_default();
    let plan = plan(seeds);
    for (number, &planned) in plan.iter().enumerate() {
        if results.run(planned.recipe, planned.seed).is_some() {
            continue;
        }
        let run = format!("run {} of {}: {}, seed {}", number + 1, plan.len(), planned.recipe, planned.seed);
        eprintln!("{run}");
        match experiment.train(planned, &stop)? {
            Ending::Ended(run) => results.add(run),
            Ending::Stopped(step) => {
                let command = resume_command(arguments);
                eprintln!("stopped and saved after step {step} of {run}; go on with: {command}");
                return Ok(ExitCode::from(130));
            }
        }
        report::write(&arguments.out, &results, &scale)?;
    }
    // Also without a new run: the files may be of fewer seeds, or gone.
    report::write(&arguments.out, &results, &scale)?;
    // The table is in a file too, so a closed standard output loses nothing.
    let _ = print_results(arguments, &results, &scale);
    Ok(ExitCode::SUCCESS)
}

/// The command that goes on with the experiment.
fn resume_command(arguments: &Arguments) -> String {
    let Arguments { data, out, seeds, epochs, width, image_size, device, workers } = arguments;
    let mut command = format!(
        "cargo run --release --example paper-figures -- --data {} --out {} --seeds {seeds} --epochs {epochs} \
         --width {width} --image-size {image_size} --device {device}",
        quoted(data),
        quoted(out),
    );
    if let Some(workers) = workers {
        command += &format!(" --workers {workers}");
    }
    command
}

fn print_results(arguments: &Arguments, results: &Results, scale: &Scale) -> io::Result<()> {
    let mut stdout = io::stdout();
    let path = |name: &str| arguments.out.join(name).display().to_string();
    writeln!(stdout, "{}", table::markdown(results, scale))?;
    writeln!(stdout, "figure: {}", path("figure2.svg"))?;
    writeln!(stdout, "table: {}", path("figure3.md"))?;
    writeln!(stdout, "numbers: {}", path("figures.json"))?;
    writeln!(stdout, "runs, for `dashboard`: {}", arguments.out.display())
}
