//! The recipe `fine-tune`: teaches trained weights the classes of a folder.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process;

use bn_inception_train::{Choices, Outcome, StopSignal, TrainConfig, Trainer};

fn main() -> Result<(), Box<dyn Error>> {
    // DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg; without a folder, five classes are drawn.
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let data = arguments.next();
    let unused = || env::temp_dir().join(format!("fine-tuned-{}", process::id()));
    let out = arguments.next().unwrap_or_else(unused);

    let config = TrainConfig {
        data,
        choices: Choices {
            weights: Some("imagenette".to_owned()),
            // Only the new classifier learns. `None` trains everything, which takes longer and ends better.
            freeze: Some("5b".to_owned()),
            epochs: Some(1),
            ..Choices::default()
        },
        ..TrainConfig::new(out)
    };
    let trainer = Trainer::new(config, |line| println!("{line}"))?;
    if let Outcome::Finished(summary) = trainer.run(&StopSignal::on_ctrl_c()?)? {
        println!("top-1 {:.1} %: {}", 100.0 * summary.val_top1, summary.weights.display());
    }
    Ok(())
}
