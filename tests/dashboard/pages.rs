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

/// The text of the file that an entry of a panel's menu saves.
pub fn saved(tab: &Tab, title: &str, entry: &str) -> String {
    let text = tab.evaluate(&format!(
        "(async () => {{
            let saved = null;
            const original = URL.createObjectURL;
            URL.createObjectURL = (blob) => {{ saved = blob; return 'data:,'; }};
            const entries = [...document.querySelectorAll('[aria-label=\"{title}\"] .menu button')];
            entries.find((button) => button.textContent === '{entry}').click();
            while (!saved) await new Promise((done) => setTimeout(done, 50));
            URL.createObjectURL = original;
            return saved.type.startsWith('image/png') ? saved.type : saved.text();
        }})()"
    ));
    text.as_str().unwrap().to_owned()
}

/// The chart in the panel called `title`.
pub fn chart(title: &str) -> String {
    format!("document.querySelector('[aria-label=\"{title}\"] .chart')?.figure")
}

/// Sets a control of the page.
pub fn choose(tab: &Tab, id: &str, key: &str, value: &str) {
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
    let lines = tab.evaluate(&format!("{}.model.lines.map((line) => line.name)", chart("Loss")));
    assert!(lines.as_array().unwrap().contains(&json!(format!("{shown} training"))), "{lines}");
    for place in [".run .title", "[aria-label=\"Runs\"] th"] {
        assert!(all(place).iter().any(|text| text.contains(shown)), "{place}: {:?}", all(place));
    }
    assert_eq!(tab.evaluate("document.querySelectorAll('svg a, main a[href], main b').length"), 0);
    assert_eq!(tab.evaluate("document.querySelector('main').textContent.includes('\\u202e')"), json!(false));
    // Each class has its own row.
    let rows = tab.evaluate(&format!("{}.model.y", chart("Confusions")));
    let classes = ["crane (class 0)", "crane (class 1)", shown, "plain"];
    assert_eq!(rows, json!(classes));
    let bars = tab.evaluate(&format!("{}.model.bars.map((bar) => [bar.name, bar.value])", chart("Accuracy by class")));
    assert_eq!(bars, json!([[classes[0], 10], [classes[1], 20], [classes[2], 30], [classes[3], 40]]));
    // In a picture, too, they are text.
    let picture = saved(&tab, "Confusions", "Picture (SVG)");
    let parsed = tab.evaluate(&format!(
        "(() => {{ const picture = new DOMParser().parseFromString({}, 'image/svg+xml');
            return [picture.querySelectorAll('parsererror, a, b').length, picture.documentElement.textContent]; }})()",
        json!(picture)
    ));
    assert_eq!(parsed[0], 0);
    assert!(parsed[1].as_str().unwrap().contains("<b>bold<b> a &lt; b <a"), "{parsed}");
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
    tab.wait_for(&format!("{}?.up", chart("Loss")));
    let top = format!("{}.up.high", chart("Loss"));
    assert!(tab.evaluate(&top).as_f64().unwrap() < 5.0, "{}", tab.evaluate(&top));
    let note = tab.evaluate(&format!("{}.note.includes('up to 10,000')", chart("Loss")));
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
    let at =
        "(name) => { const curve = GRAPH.model.lines.find((line) => line.name === `${name} training` && !line.silent);
            return curve.y[curve.x.indexOf(90)]; }";
    let at = at.replace("GRAPH", &chart("Loss"));
    tab.wait_for(&format!("({at})('dense') > 1.2"));
    let value = |name: &str| tab.evaluate(&format!("({at})('{name}')")).as_f64().unwrap();
    let (dense, thin) = (value("dense"), value("thin"));
    assert!((dense - thin).abs() < 0.03, "{dense} {thin}");

    tab.wait_for(&format!("{}.across", chart("Loss")));
    tab.evaluate(&format!(
        "(() => {{ const {{ place, across }} = {};
            const {{ left, top }} = place.getBoundingClientRect();
            place.dispatchEvent(new PointerEvent('pointermove', {{ clientX: left + across.place(50), clientY: top + 100 }})); }})()",
        chart("Loss")
    ));
    let said = "document.querySelector('.tip').textContent";
    tab.wait_for(&format!("{said}.includes('nats')"));
    let said = tab.evaluate(said);
    let said = said.as_str().unwrap();
    // 1 + exp(-1)
    assert!(said.contains("nats (measured 1.368)") && said.contains("dense training"), "{said}");

    choose(&tab, "axis", "value", "'hours'");
    tab.wait_for(&format!("{}.model.xTitle === 'minutes'", chart("Loss")));
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
    for number in 1..=260 {
        write_run(&folder.path().join(format!("runs/{number}")), 20, 0.0, true);
    }
    let mut watch = program("dashboard");
    watch.arg(folder.path().join("runs")).args(["--listen", "127.0.0.1:0"]);
    let (_server, address) = address_of(watch);
    let pages: [&dyn Fn() -> Tab; 2] = [&|| open(&browser, &address), &|| report(&browser, folder.path())];
    for open in pages {
        let tab = open();
        let text = "document.querySelector('#pages-text').textContent";
        tab.wait_for(&format!("{text} === 'Runs 5 to 260 of 260'"));
        let first = "document.querySelector('.run .title').textContent";
        tab.wait_for(&format!("{first} === '5'"));
        tab.evaluate("document.querySelector('#older').click()");
        tab.wait_for(&format!("{text} === 'Runs 1 to 256 of 260' && {first} === '1'"));
        tab.evaluate("document.querySelector('#newer').click()");
        tab.wait_for(&format!("{text} === 'Runs 5 to 260 of 260' && {first} === '5'"));
        nothing_is_wrong(&tab);
    }
}
