//! Pages of logs that were made for them.

use std::f64::consts::E;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bn_inception_tests::{program, succeed};
use serde_json::{Value, json};

use crate::browser::{Browser, Tab};
use crate::{address_of, nothing_is_wrong, open, panels};

/// A name with everything that a page or a chart could take for markup, and a control that reverses the text after it.
const MARKUP: &str = "<b>bold<b> a &lt; b <a href='x'>\u{202e}fdp";

/// Labels, two of which are the same.
const LABELS: [&str; 4] = ["crane", "crane", MARKUP, "plain"];

const STEPS: u64 = 200;
const OUTLIER: f64 = 1e4;

/// Writes the log of a run into `folder`: a loss that falls, with one outlier, and a validation at its end. Only every
/// `stride`-th step is in it, as in a log that was thinned out. Its last line was written `age` seconds ago.
fn write_run(folder: &Path, stride: u64, age: f64, ended: bool) {
    fs::create_dir_all(folder).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let mut lines = Vec::new();
    let mut line = |step: u64, event: Value| {
        let mut line = json!({ "schema": 2, "time": now - age - (STEPS - step) as f64 });
        line.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        lines.push(line.to_string());
    };
    line(0, json!({ "event": "start", "labels": LABELS, "total_steps": 2 * STEPS, "telemetry_every": 0 }));
    for step in (1..=STEPS).filter(|step| step % stride == 0) {
        let loss = if step == STEPS / 2 { OUTLIER } else { 1.0 + E.powf(-(step as f64) / 50.0) };
        line(
            step,
            json!({ "event": "step", "step": step, "epoch": 1, "loss": loss, "top1": 0.5, "lr": 0.1, "images": 8,
                "seconds": 0.5, "wait_seconds": 0.1 }),
        );
    }
    let classes = [1, 2, 3, 4].map(|correct| json!({ "correct": correct, "total": 10 }));
    let matrix = [[1, 9, 0, 0], [8, 2, 0, 0], [0, 0, 3, 7], [0, 0, 6, 4]];
    line(
        STEPS,
        json!({ "event": "validation", "step": STEPS, "epoch": 1, "top1": 0.25, "top5": 1.0, "loss": 1.0, "images": 40,
            "seconds": 60.0, "classes": classes, "confusion": { "matrix": matrix } }),
    );
    if ended {
        line(STEPS, json!({ "event": "finished", "step": STEPS }));
    }
    fs::write(folder.join("run.jsonl"), lines.join("\n") + "\n").unwrap();
}

/// The page of the runs in `folder`, as a file.
fn report(browser: &Browser, folder: &Path) -> Tab {
    let path = folder.join("report.html");
    succeed("dashboard", &[&folder.join("runs").display().to_string(), "--export", &path.display().to_string()]);
    let tab = open(browser, &format!("file://{}", path.display()));
    tab.wait_for("document.querySelector('.run .title')");
    tab
}

fn chart(title: &str) -> String {
    format!("document.querySelector('[aria-label=\"{title}\"] .chart')")
}

/// Sets a control of the page.
fn choose(tab: &Tab, id: &str, key: &str, value: &str) {
    tab.evaluate(&format!(
        "(() => {{ const control = document.getElementById('{id}'); control.{key} = {value};
            control.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    ));
}

#[test]
fn names_are_text_and_classes_are_numbers() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let name = MARKUP.replace('/', "");
    for run in [name.as_str(), "other"] {
        write_run(&folder.path().join("runs").join(run), 1, 0.0, true);
    }
    let tab = report(&browser, folder.path());
    panels(&tab);
    let shown = "<b>bold<b> a &lt; b <a href='x'>⟨U+202E⟩fdp";
    let all = |selector: &str| {
        let texts = tab.evaluate(&format!("[...document.querySelectorAll('{selector}')].map((it) => it.textContent)"));
        texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let legend = all("[aria-label=\"Loss\"] .legendtext");
    assert!(legend.contains(&format!("runs/{shown} training")), "{legend:?}");
    for place in [".run .title", "[aria-label=\"Runs\"] td"] {
        assert!(all(place).iter().any(|text| text.contains(shown)), "{place}: {:?}", all(place));
    }
    assert_eq!(tab.evaluate("document.querySelectorAll('svg a, main a[href], main b').length"), 0);
    assert_eq!(tab.evaluate("document.querySelector('main').textContent.includes('\\u202e')"), json!(false));
    // Each class has its own row.
    let rows = all("[aria-label=\"Confusions\"] .ytick text");
    for label in ["crane (class 0)", "crane (class 1)", "plain"] {
        assert!(rows.contains(&label.to_owned()), "{rows:?}");
    }
    assert!(rows.iter().any(|row| row.starts_with("<b>bold<b> a &lt; b")), "{rows:?}");
    let bars = tab.evaluate(&format!("{}.data[0].x", chart("Accuracy by class")));
    assert_eq!(bars, json!([40, 30, 20, 10]));
    assert_eq!(tab.evaluate(&format!("new Set({}.data[0].y).size", chart("Accuracy by class"))), 4);
    nothing_is_wrong(&tab);
}

#[test]
fn one_outlier_does_not_flatten_a_chart() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("runs/a"), 1, 0.0, true);
    let tab = report(&browser, folder.path());
    tab.wait_for(&format!("{}?.data", chart("Loss")));
    let top = format!("{}._fullLayout.yaxis.range[1]", chart("Loss"));
    assert!(tab.evaluate(&top).as_f64().unwrap() < 5.0, "{}", tab.evaluate(&top));
    let note = tab.evaluate(&format!("{}.textContent.includes('up to 10,000')", chart("Loss")));
    assert_eq!(note, json!(true), "the chart says what it leaves out");
    choose(&tab, "outliers", "checked", "true");
    tab.wait_for(&format!("{top} > {}", 0.9 * OUTLIER));
    nothing_is_wrong(&tab);
}

#[test]
fn curves_are_smoothed_over_steps_and_hovers_say_it_all() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("runs/dense"), 1, 0.0, true);
    write_run(&folder.path().join("runs/thin"), 5, 0.0, true);
    let tab = report(&browser, folder.path());
    choose(&tab, "smoothing", "value", "'20'");
    // At step 90, before the outlier, whatever the number of points up to there.
    let at = "(name) => { const curve = GRAPH.data.find((trace) => trace.name === `runs/${name} training`);
            return curve.y[curve.x.indexOf(90)]; }";
    let at = at.replace("GRAPH", &chart("Loss"));
    tab.wait_for(&format!("({at})('dense') > 1.2"));
    let value = |name: &str| tab.evaluate(&format!("({at})('{name}')")).as_f64().unwrap();
    let (dense, thin) = (value("dense"), value("thin"));
    assert!((dense - thin).abs() < 0.03, "{dense} {thin}");

    let hover = format!("Plotly.Fx.hover({}, {{ xval: 50 }})", chart("Loss"));
    tab.evaluate(&format!("({hover}, null)"));
    let said = format!("{}.querySelector('.hoverlayer').textContent", chart("Loss"));
    tab.wait_for(&format!("{said}.includes('nats')"));
    let said = tab.evaluate(&said);
    let said = said.as_str().unwrap();
    // 1 + exp(-1)
    assert!(said.contains("nats (measured 1.368)") && said.contains("runs/dense training"), "{said}");

    choose(&tab, "axis", "value", "'hours'");
    tab.wait_for(&format!("{}._fullLayout.xaxis.title.text === 'minutes'", chart("Loss")));
    nothing_is_wrong(&tab);
}

#[test]
fn panels_of_one_run_name_it_and_the_dead_are_not_live() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_run(&folder.path().join("runs/killed"), 1, 3600.0, false);
    let mut watch = program("dashboard");
    watch.arg(folder.path().join("runs")).args(["--listen", "127.0.0.1:0"]);
    let (_server, address) = address_of(watch);
    let tab = open(&browser, &address);
    tab.wait_for("document.querySelector('#connection').textContent === 'Connected; nothing is training'");
    // The run arrives after the greeting.
    tab.wait_for("document.querySelector('.facts')?.innerText.includes('images/s')");
    let facts = tab.evaluate("document.querySelector('.facts').innerText");
    let facts = facts.as_str().unwrap();
    assert!(facts.contains("took") && !facts.contains("left"), "{facts}");
    // 8 images in half a second, whatever the validation took.
    assert!(facts.contains("images/s\n16"), "{facts}");
    panels(&tab);
    for (title, step) in [("Time of a step", STEPS), ("Confusions", STEPS), ("Accuracy by class", STEPS)] {
        let of = tab.evaluate(&format!("document.querySelector('[aria-label=\"{title}\"] .of').textContent.trim()"));
        assert_eq!(of, format!("runs/killed, step {step}"), "{title}");
    }
    // A run that is removed goes from the page, another one comes.
    write_run(&folder.path().join("runs/new"), 1, 0.0, false);
    tab.wait_for("document.querySelector('#connection').textContent === 'Live'");
    fs::remove_dir_all(folder.path().join("runs/killed")).unwrap();
    tab.wait_for("document.querySelectorAll('.run').length === 1");
    tab.wait_for("document.querySelector('.run .title').textContent === 'runs/new'");
    nothing_is_wrong(&tab);
}

#[test]
fn many_runs_are_turned_over() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    for number in 1..=70 {
        write_run(&folder.path().join(format!("runs/{number}")), 20, 0.0, true);
    }
    let mut watch = program("dashboard");
    watch.arg(folder.path().join("runs")).args(["--listen", "127.0.0.1:0"]);
    let (_server, address) = address_of(watch);
    let pages: [&dyn Fn() -> Tab; 2] = [&|| open(&browser, &address), &|| report(&browser, folder.path())];
    for open in pages {
        let tab = open();
        let text = "document.querySelector('#pages-text').textContent";
        tab.wait_for(&format!("{text} === 'Runs 7 to 70 of 70'"));
        let first = "document.querySelector('.run .title').textContent";
        tab.wait_for(&format!("{first} === 'runs/7'"));
        tab.evaluate("document.querySelector('#older').click()");
        tab.wait_for(&format!("{text} === 'Runs 1 to 64 of 70' && {first} === 'runs/1'"));
        tab.evaluate("document.querySelector('#newer').click()");
        tab.wait_for(&format!("{text} === 'Runs 7 to 70 of 70' && {first} === 'runs/7'"));
        nothing_is_wrong(&tab);
    }
}
