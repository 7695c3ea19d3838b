//! Pages of many runs.

use std::path::Path;

use bn_inception_tests::{program, succeed};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::{Browser, Tab};
use crate::pages::{chart, choose, saved};
use crate::process::Running;
use crate::{address_of, nothing_is_wrong, open};

/// Made-up runs: five recipes in turn, the width changes after five runs, the batch after fifteen, the seed after
/// thirty.
pub fn gallery(runs: usize, steps: usize) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    succeed("gallery", &[&path, "--runs", &runs.to_string(), "--steps", &steps.to_string()]);
    folder
}

/// Serves the runs in `folder`.
pub fn serve(folder: &Path) -> (Running, String) {
    let mut watch = program("dashboard");
    watch.arg(folder).args(["--listen", "127.0.0.1:0"]);
    address_of(watch)
}

/// Waits until the loss of `runs` runs is drawn.
pub fn drawn_runs(tab: &Tab, runs: usize) {
    tab.wait_for(&format!("{}?.across && {}.model.lines.filter((line) => !line.silent && line.name.includes('training')).length === {runs}", chart("Loss"), chart("Loss")));
}

fn texts(tab: &Tab, selector: &str) -> Vec<String> {
    let texts = tab.evaluate(&format!("[...document.querySelectorAll('{selector}')].map((it) => it.textContent)"));
    texts.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Sets a control of the list.
fn set(tab: &Tab, name: &str, key: &str, value: &Value) {
    tab.evaluate(&format!(
        "(() => {{ const control = document.querySelector('#list [name={name}]'); control.{key} = {value};
            for (const event of ['input', 'change']) control.dispatchEvent(new Event(event, {{ bubbles: true }})); }})()"
    ));
}

#[test]
fn runs_are_named_by_what_differs_and_grouped() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = gallery(40, 100);
    let (_server, address) = serve(folder.path());
    let tab = open(&browser, &address);
    drawn_runs(&tab, 40);
    // Grouped by recipe without being asked, as there are many; a group's runs have one colour.
    assert_eq!(texts(&tab, "#list .group > span:nth-of-type(2)").len(), 5);
    assert_eq!(texts(&tab, "#list .run .title")[0], "1 · width 0.25 · batch-size 32 · seed 1");
    let colours = format!("new Set({}.model.lines.map((line) => line.colour)).size", chart("Loss"));
    assert_eq!(tab.evaluate(&colours), 5);
    set(&tab, "group", "value", &json!(""));
    tab.wait_for("document.querySelectorAll('#list .group').length === 0");
    assert_eq!(texts(&tab, "#list .run .title")[1], "2 · bn-x30 · width 0.25 · batch-size 32 · seed 1");

    // Sorted, filtered, none and all.
    set(&tab, "sort", "value", &json!("best top-1"));
    tab.wait_for(
        "document.querySelector('#list .run .title').textContent !== '1 · bn-baseline · width 0.25 · batch-size 32 · seed 1'",
    );
    let values: Vec<f64> =
        texts(&tab, "#list .run .value").iter().map(|text| text.trim_end_matches(" %").parse().unwrap()).collect();
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    set(&tab, "filter", "value", &json!("bn-x30 width=0.5"));
    drawn_runs(&tab, 3);
    assert_eq!(texts(&tab, "#list .count"), ["3 of 40 runs"]);
    let click = |name: &str| tab.evaluate(&format!("document.querySelector('#list [name={name}]').click()"));
    click("none");
    tab.wait_for("document.querySelector('#list .count').textContent === '0 of 40 runs'");
    set(&tab, "filter", "value", &json!(""));
    drawn_runs(&tab, 37);
    click("all");
    drawn_runs(&tab, 40);

    // A group shows its mean and how far its runs are apart.
    set(&tab, "group", "value", &json!("recipe"));
    set(&tab, "mean", "checked", &json!(true));
    drawn_runs(&tab, 5);
    let band = format!(
        "{}.model.lines.every((line) => line.low.every((low, i) => low <= line.y[i] && line.y[i] <= line.high[i]))",
        chart("Loss")
    );
    assert_eq!(tab.evaluate(&band), true);
    assert!(texts(&tab, ".tip").len() <= 1);
    let bars = format!("{}.model.bars.map((bar) => bar.name).sort()", chart("Steps to an accuracy"));
    tab.evaluate("document.querySelector('#comparison').scrollIntoView()");
    tab.wait_for(&format!("{}?.model.bars?.length === 5", chart("Steps to an accuracy")));
    assert_eq!(tab.evaluate(&bars), json!(["bn-baseline", "bn-x30", "bn-x5", "bn-x5-sigmoid", "inception"]));
    nothing_is_wrong(&tab);
}

#[test]
fn a_link_shows_what_its_sender_saw() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = gallery(6, 400);
    let (_server, address) = serve(folder.path());
    let tab = open(&browser, &address);
    drawn_runs(&tab, 6);
    assert_eq!(tab.evaluate("location.hash"), "");
    choose(&tab, "axis", "value", "'images'");
    choose(&tab, "smoothing", "value", "'20'");
    tab.evaluate("document.querySelectorAll('#list .run input')[1].click()");
    drawn_runs(&tab, 5);
    // Dragged from one place to another.
    tab.evaluate(&format!(
        "(() => {{ const {{ place, across }} = {};
            place.setPointerCapture = () => {{}};
            const {{ left, top }} = place.getBoundingClientRect();
            const send = (type, x) => place.dispatchEvent(new PointerEvent(type, {{ clientX: left + across.place(x), clientY: top + 60, button: 0 }}));
            send('pointerdown', 3200); send('pointermove', 6400); send('pointerup', 6400); }})()",
        chart("Loss")
    ));
    let range = |title: &str| format!("[{0}.across.low, {0}.across.high].map(Math.round)", chart(title));
    tab.wait_for(&format!("{}.across.high < 7000", chart("Loss")));
    assert_eq!(tab.evaluate(&range("Loss")), json!([3200, 6400]));
    // All charts of training show the same part.
    assert_eq!(tab.evaluate(&range("Top-1 accuracy")), json!([3200, 6400]));
    tab.wait_for("location.hash.includes('zoom=')");
    let link = tab.evaluate("location.href");
    let other = open(&browser, link.as_str().unwrap());
    drawn_runs(&other, 5);
    assert_eq!(other.evaluate(&range("Loss")), json!([3200, 6400]));
    let controls = "['axis', 'smoothing'].map((id) => document.getElementById(id).value)";
    assert_eq!(other.evaluate(controls), json!(["images", "20"]));
    assert_eq!(other.evaluate("document.querySelectorAll('#list .run input')[1].checked"), false);
    assert_eq!(other.evaluate("location.href"), link);
    other.evaluate("document.querySelector('#unzoom').click()");
    other.wait_for(&format!("{}.across.high > 12000", chart("Loss")));
    // What is remembered from the last time is in the address, too.
    let again = open(&browser, &address);
    again.wait_for("location.hash.includes('axis=images&smoothing=20')");
    [tab, other, again].iter().for_each(nothing_is_wrong);
}

#[test]
fn a_closer_look_is_exact() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = gallery(2, 20_000);
    let (_server, address) = serve(folder.path());
    let tab = open(&browser, &format!("{address}#smoothing=off"));
    drawn_runs(&tab, 2);
    let points = format!("{}.model.lines[0].x.filter((x) => x >= 5000 && x <= 5100).length", chart("Loss"));
    tab.wait_for("document.querySelector('#list .count')");
    assert!(tab.evaluate(&points).as_u64().unwrap() < 20);
    let tab = open(&browser, &format!("{address}#smoothing=off&zoom=5000-5100"));
    tab.wait_for(&format!("{}?.model.lines.length && {points} === 101", chart("Loss")));
    nothing_is_wrong(&tab);
}

#[test]
fn panels_are_enlarged_and_saved() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let folder = gallery(2, 100);
    let (_server, address) = serve(folder.path());
    let tab = open(&browser, &address);
    drawn_runs(&tab, 2);
    let data = saved(&tab, "Loss", "Data (CSV)");
    let mut lines = data.lines();
    assert_eq!(lines.next(), Some("curve,optimizer steps,cross-entropy (nats),measured,least,most"));
    assert!(lines.filter(|line| line.starts_with("1 · bn-baseline training,")).count() >= 100, "{data}");
    assert!(saved(&tab, "Loss", "Picture (SVG)").starts_with("<svg xmlns="));
    assert_eq!(saved(&tab, "Loss", "Picture (PNG)"), "image/png");
    let height = format!("{}.place.clientHeight", chart("Loss"));
    let before = tab.evaluate(&height).as_u64().unwrap();
    tab.evaluate("document.querySelector('[aria-label=\"Loss\"] .menu button').click()");
    tab.wait_for(&format!("{height} > {before} + 100"));
    tab.evaluate("document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))");
    tab.wait_for(&format!("{height} === {before}"));
    // The table of runs has values as they are.
    tab.evaluate("document.querySelector('#comparison').scrollIntoView()");
    tab.wait_for("document.querySelector('[aria-label=\"Runs\"].panel table')");
    let data = saved(&tab, "Runs", "Data (CSV)");
    assert!(data.lines().count() == 3 && data.contains("recipe"), "{data}");
    nothing_is_wrong(&tab);
}
