//! The program `dashboard`: shows runs in a browser, live or afterwards, or writes them to one file.
//!
//! ```text
//! cargo run --release --example dashboard -- runs/1 runs/2
//! cargo run --release --example dashboard -- runs --export report.html
//! ```
//!
//! It compiles no tensor library.

use std::path::PathBuf;
use std::process::ExitCode;

use bn_inception_dashboard::{Dashboard, DashboardConfig, DashboardError, export};
use clap::Parser;

/// Show training runs in a browser.
///
/// Reads their logs and nothing else, so it may come and go while they train.
#[derive(Parser)]
#[command(name = "dashboard", version)]
struct Arguments {
    /// Output folders of runs, or folders of such; new runs in the latter appear by themselves
    #[arg(value_name = "DIR", required = true)]
    runs: Vec<PathBuf>,

    /// Where to serve, HOST:PORT [default: 127.0.0.1:8015, or another port if that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,

    /// What browsers must know; needed where other machines can reach the address
    #[arg(long, value_name = "TOKEN", env = "BN_INCEPTION_DASHBOARD_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// Write one page that needs no server and no network, and end
    #[arg(long, value_name = "FILE", conflicts_with_all = ["listen", "token"])]
    export: Option<PathBuf>,
}

fn main() -> ExitCode {
    match show(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            // clap's code for wrong arguments.
            if error.is_argument() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn show(arguments: Arguments) -> Result<(), DashboardError> {
    if let Some(path) = arguments.export {
        let bytes = export(arguments.runs, &path)?;
        println!("{}: {:.1} MB", path.display(), bytes as f64 / 1e6);
        return Ok(());
    }
    let dashboard = Dashboard::open(DashboardConfig {
        runs: arguments.runs,
        listen: arguments.listen,
        token: arguments.token,
        on_stop: None,
    })?;
    println!("dashboard: {}", dashboard.url());
    dashboard.wait();
    Ok(())
}
