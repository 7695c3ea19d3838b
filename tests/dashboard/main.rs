//! The dashboard in a real browser, against a real run.
//!
//! Needs Chromium or Chrome; without one the tests are skipped, or fail if `BN_INCEPTION_REQUIRE` names `browser`.

#![allow(clippy::unwrap_used)] // a failed setup step is a failed test

mod browser;
mod comparing;
mod gallery;
mod pages;
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bn_inception_tests::{program, succeed};
use bn_inception_train::data::{DrawnConfig, draw_dataset};
use tempfile::TempDir;

use browser::{Browser, PATIENCE, Tab};
use process::{Running, value_after};

/// Starts `command` and returns it with the address it prints.
fn address_of(mut command: Command) -> (Running, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = child.stdout.take().unwrap();
    let running = Running(child);
    (running, value_after("dashboard: ", output))
}

/// Opens a page that collects its errors.
fn open(browser: &Browser, address: &str) -> Tab {
    let script = "window.wrong = [];
        addEventListener('error', (event) => wrong.push(event.message));
        addEventListener('unhandledrejection', (event) => wrong.push(String(event.reason)));
        document.addEventListener('securitypolicyviolation', (event) =>
            wrong.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));";
    browser.open(address, script)
}

/// A script that counts the values in all lines of the chart in the panel called `title`.
fn drawn(title: &str) -> String {
    format!(
        "([...document.querySelectorAll('[aria-label=\"{title}\"] .chart')]
            .flatMap((chart) => chart.figure.model.lines ?? []).reduce((sum, line) => sum + line.y.length, 0))"
    )
}

fn nothing_is_wrong(tab: &Tab) {
    assert_eq!(tab.evaluate("wrong.join('; ')"), "");
}

/// Scrolls through the page, so that every panel is drawn, and returns the titles of those that show data.
fn panels(tab: &Tab) -> Vec<String> {
    let titles = tab.evaluate(
        "(async () => {
            for (let y = 0; y < document.documentElement.scrollHeight; y += 400) {
                scrollTo(0, y);
                // What is in sight is known after a frame, which takes its time on a busy machine.
                const frame = new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
                await Promise.race([frame, new Promise((done) => setTimeout(done, 2000))]);
                await new Promise((done) => setTimeout(done, 50));
            }
            const shown = [...document.querySelectorAll('.panel:not([hidden])')];
            return shown.filter((panel) => panel.querySelector('.chart, img, table, dl'))
                .map((panel) => panel.ariaLabel).join('|');
        })()",
    );
    titles.as_str().unwrap().split('|').map(str::to_owned).collect()
}

/// A folder with a small drawn dataset.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = DrawnConfig { classes: 3, train_per_class: 10, val_per_class: 4, size: 40, seed: 5 };
        draw_dataset(&folder.path().join("data"), &config).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arguments(&self, out: &str, epochs: u32) -> Vec<String> {
        let (data, out) = (self.path("data"), self.path(out));
        let text = format!(
            "--preset small --width 0.25 --image-size 28 --batch-size 8 --device flex --telemetry-every 2 \
             --epochs {epochs} --data {} --out {}",
            data.display(),
            out.display()
        );
        text.split(' ').map(str::to_owned).collect()
    }
}

fn watching(run: &Path, address: &str) -> Command {
    let mut command = program("dashboard");
    command.arg(run).args(["--listen", address]);
    command
}

/// Waits for the end of a run whose stop button was pressed on `tab`.
fn ending(training: &mut Running, tab: &Tab) -> ExitStatus {
    let begun = Instant::now();
    loop {
        if let Some(status) = training.0.try_wait().unwrap() {
            return status;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the run goes on; the button says {}",
            tab.evaluate("document.querySelector('#stop').textContent")
        );
        sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_live_run() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = Folder::new();
    let mut train = program("train-imagenet");
    // More epochs than the test waits for: the run is ended by its stop button.
    train.args(folder.arguments("out", 100_000)).args(["--dashboard", "127.0.0.1:0"]);
    train.args(["--dashboard-token", "token-of-the-test"]);
    let (mut training, address) = address_of(train);

    let tab = open(&browser, &address);
    tab.wait_for("document.querySelector('#connection').textContent === 'Live'");
    tab.wait_for(&format!("{} > 5", drawn("Loss")));
    let before = tab.evaluate(&drawn("Loss")).as_u64().unwrap();
    tab.wait_for(&format!("{} > {before} + 5", drawn("Loss")));
    assert_eq!(tab.evaluate("location.hash"), "", "the token stays out of sight");
    let early = panels(&tab);
    for title in ["Loss", "Top-1 accuracy", "Learning rate", "Speed", "Time of a step", "About the run"] {
        assert!(early.iter().any(|panel| panel == title), "{title} is not among {early:?}");
    }
    // A second browser, opened late, shows the curve from its first step.
    let late = open(&browser, &address);
    late.wait_for(&format!("{} > 5", drawn("Loss")));
    let first = "document.querySelector('[aria-label=\"Loss\"] .chart').figure.model.lines[0].x[0]";
    assert!(late.evaluate(first).as_u64().unwrap() <= 1_000, "the beginning is missing");
    nothing_is_wrong(&late);
    late.close();

    // The run is watched from another process, which dies and comes back.
    let run = folder.path("out");
    let (watcher, address) = address_of(watching(&run, "127.0.0.1:0"));
    let other = open(&browser, &address);
    other.wait_for(&format!("{} > 5", drawn("Loss")));
    drop(watcher);
    other.wait_for("document.querySelector('#connection').dataset.state === 'lost'");
    let before = other.evaluate(&drawn("Loss")).as_u64().unwrap();
    assert!(before > 5, "what was seen stays");
    let port = address.trim_start_matches("http://").trim_end_matches('/');
    let _watcher = address_of(watching(&run, port));
    other.wait_for("document.querySelector('#connection').textContent === 'Live'");
    other.wait_for(&format!("{} !== {before}", drawn("Loss")));
    nothing_is_wrong(&other);

    // The button asks for confirmation. A page in the background is not told that its dialog was closed.
    tab.bring_to_front();
    let click = |selector: &str| tab.evaluate(&format!("document.querySelector('{selector}').click()"));
    click("#stop");
    tab.wait_for("document.querySelector('#ask-stop').open");
    click("#ask-stop [value=stop]");
    assert_eq!(ending(&mut training, &tab).code(), Some(130), "stopped and saved");
    tab.wait_for("document.body.innerText.includes('stopped: ')");
    tab.wait_for("document.querySelector('#connection').textContent.startsWith('The process has ended')");

    // The same page stops the run again once it is resumed at the same address.
    let port = tab.evaluate("location.host");
    let mut resume = program("train-imagenet");
    resume.args(["--out", &run.display().to_string(), "--resume", "--device", "flex"]);
    resume.args(["--dashboard", port.as_str().unwrap(), "--dashboard-token", "token-of-the-test"]);
    let (mut training, _) = address_of(resume);
    tab.wait_for("document.querySelector('#connection').textContent === 'Live'");
    tab.wait_for("(({ hidden, disabled, textContent }) => !hidden && !disabled && textContent === 'Stop the run')(document.querySelector('#stop'))");
    tab.bring_to_front();
    click("#stop");
    tab.wait_for("document.querySelector('#ask-stop').open");
    click("#ask-stop [value=stop]");
    assert_eq!(ending(&mut training, &tab).code(), Some(130), "stopped again");
    nothing_is_wrong(&tab);
}

#[test]
fn a_report_without_a_network() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = Folder::new();
    for (out, seed) in [("runs/a", "1"), ("runs/b", "2")] {
        let mut arguments = folder.arguments(out, 3);
        arguments.extend(["--seed", seed, "--dashboard", "off"].map(str::to_owned));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        succeed("train-imagenet", &arguments);
    }
    let report = folder.path("report.html");
    let runs = folder.path("runs").display().to_string();
    let printed = succeed("dashboard", &[&runs, "--export", &report.display().to_string()]);
    assert!(printed.contains("MB"), "{printed}");

    let tab = open(&browser, &format!("file://{}", report.display()));
    tab.wait_for(&format!("{} > 5", drawn("Loss")));
    let shown = panels(&tab);
    for title in [
        "Loss",
        "Runs",
        "Steps to an accuracy",
        "Settings and results",
        "Parallel coordinates",
        "Confusions",
        "Accuracy by class",
        "Sample predictions",
        "First-layer filters",
        "Grad-CAM",
        "Gradient norm by block",
        "Update to weight ratio by block",
        "Activation percentiles",
        "Histograms",
        "About the run",
    ] {
        assert!(shown.iter().any(|panel| panel == title), "{title} is not among {shown:?}");
    }
    let asked = "performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith('data:')).length";
    assert_eq!(tab.evaluate(asked), 0, "a report loads nothing");
    let differs = tab.evaluate("document.querySelector('[aria-label=\"Runs\"].panel thead').innerText");
    assert!(differs.as_str().unwrap().contains("seed"), "{differs}");
    nothing_is_wrong(&tab);
}
