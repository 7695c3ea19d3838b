//! The recipe `run-log`: reads the log of a run.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use bn_inception_train::run_log::{Event, LOG_FILE, RunLog, Start, StepFacts, Validation, surviving};

fn main() -> Result<(), Box<dyn Error>> {
    let path = match env::args_os().nth(1) {
        Some(folder) => PathBuf::from(folder).join(LOG_FILE),
        None => written(&env::temp_dir().join("cookbook-run.jsonl"))?,
    };
    let (mut losses, mut best) = (Vec::new(), None::<Validation>);
    // Each step once, even if the run was killed and resumed.
    for record in surviving(&path)? {
        match record?.event {
            Event::Start(start) => println!("{}, {} steps", start.program, start.total_steps),
            Event::Step(facts) => losses.push(facts.loss),
            Event::Validation(report) if best.as_ref().is_none_or(|best| report.result.top1 > best.top1) => {
                best = Some(report.result);
            }
            Event::Failed { step, error } => println!("failed after step {step}: {error}"),
            _ => {}
        }
    }
    println!("{} steps, last loss {:.3}", losses.len(), losses.last().ok_or("no step yet")?);
    if let Some(best) = best {
        println!("best top-1 {:.1} % after step {}", 100.0 * best.top1, best.step);
    }
    Ok(())
}

/// A log such as any training loop may write.
fn written(path: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let log = RunLog::open(path)?;
    log.write(Event::Start(Box::new(Start { program: "cookbook".to_owned(), total_steps: 2, ..Start::default() })))?;
    for step in 1..=2 {
        log.write(Event::Step(StepFacts { step, loss: 1.0 / step as f64, ..StepFacts::default() }))?;
    }
    log.write(Event::Finished { step: 2 })?;
    Ok(path.to_owned())
}
