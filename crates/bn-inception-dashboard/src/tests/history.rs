//! Tests of what a page is sent, whenever it is opened.

use super::*;
use crate::{DashboardError, export};

#[test]
fn a_folder_without_a_run_is_refused() {
    let folder = folder();
    let config = DashboardConfig { runs: vec![folder.path().to_owned()], ..DashboardConfig::default() };
    let error = Dashboard::open(config).unwrap_err().to_string();
    assert!(error.contains(&folder.path().display().to_string()), "{error}");
    let report = folder.path().join("report.html");
    assert!(export(vec![folder.path().to_owned()], &report).is_err());
    fs::write(folder.path().join(LOG_FILE), "\u{fffd} no log\n").unwrap();
    let error = export(vec![folder.path().to_owned()], &report);
    assert!(matches!(error, Err(DashboardError::NoRecord { .. })));
    assert!(!report.exists());
}

#[test]
fn a_late_page_sees_all_and_one_that_comes_back_what_is_new() {
    let folder = folder();
    let log = begin(folder.path(), 3);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let run = page.until(3);
    let (first, steps, seen, _) = losses(&dashboard, &run, 0);
    assert_eq!((first, steps), (0, vec![1, 2, 3]));
    log.write(step(4)).unwrap();
    page.until(4);
    let (first, steps, _, voided) = losses(&dashboard, &run, seen);
    assert_eq!((first, steps), (3, vec![4]));
    assert!(voided <= seen, "the page keeps what it has");
    drop((page, dashboard));

    // Another server, as after a restart: offsets still mean something.
    log.write(step(5)).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let again = Page::open(&dashboard).until(5);
    assert_eq!(again["key"], run["key"]);
    let (first, steps, ..) = losses(&dashboard, &run, seen);
    assert_eq!((first, steps), (3, vec![4, 5]));
}

#[test]
fn half_a_line_waits_for_its_end() {
    let folder = folder();
    begin(folder.path(), 2);
    let path = folder.path().join(LOG_FILE);
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.len() - 30;
    fs::write(&path, &whole[..cut]).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let run = page.until(1);
    assert_eq!(losses(&dashboard, &run, 0).1, [1]);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole.as_bytes()[cut..]).unwrap();
    page.until(2);
    assert_eq!(losses(&dashboard, &run, 0).1, [1, 2]);
}

#[test]
fn a_resumed_run_takes_lost_steps_back() {
    let folder = folder();
    let log = begin(folder.path(), 5);
    log.write(validation(5, 0.9)).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let run = page.until(5);
    let (.., seen, _) = losses(&dashboard, &run, 0);
    let device = "flex".to_owned();
    log.write(Event::Resume { step: 3, device }).unwrap();
    log.write(step(4)).unwrap();
    log.write(validation(4, 0.4)).unwrap();
    log.write(Event::Finished { step: 4 }).unwrap();
    page.until(4);
    let mut late = Page::open(&dashboard);
    let run = late.next("run");
    let (first, steps, _, voided) = losses(&dashboard, &run, seen);
    assert_eq!((first, steps), (0, vec![1, 2, 3, 4]));
    assert!(voided >= seen, "the page drops what it had");
    assert_eq!(run["standing"]["images"], 32);
    let records = &run["cells"]["records"];
    assert_eq!((records[0][0].as_u64(), records.as_array().unwrap().len()), (Some(4), 1));
}

#[test]
fn details_come_for_one_run_and_only_what_is_new() {
    let folder = folder();
    let log = begin(folder.path(), 2);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let run = page.until(2);
    let details = |since: u64| question(&dashboard, "/details", &json!({ "run": run["key"], "since": since }));
    let all = details(0);
    assert!(all["cells"].get("labels").is_some() && run["cells"].get("labels").is_none());
    let seen = all["offset"].as_u64().unwrap();
    let message = "a look".to_owned();
    log.write(Event::Warning { step: 2, kind: crate::run_log::WarningKind::Other, message }).unwrap();
    page.next("run");
    let new = details(seen);
    assert_eq!(new["cells"].as_object().unwrap().keys().collect::<Vec<_>>(), ["warnings"]);
    assert_eq!(question(&dashboard, "/details", &json!({ "run": "another", "since": 0 })), Value::Null);
    assert_eq!(ask(&dashboard, "POST /details", &["Host: localhost"]).0, 400);
}

/// A page that looks closer gets the steps as they are in the log, those done again once.
#[test]
fn a_range_of_a_long_run_is_exact() {
    let folder = folder();
    let log = begin(folder.path(), 5000);
    log.write(Event::Resume { step: 4000, device: "flex".to_owned() }).unwrap();
    (4001..=9000).for_each(|number| drop(log.write(step(number)).unwrap()));
    let dashboard = serve(folder.path(), None, None);
    let run = Page::open(&dashboard).until(9000);
    let (_, steps, ..) = losses(&dashboard, &run, 0);
    assert!(steps.len() < 1200, "{}", steps.len());
    for (from, to) in [(4100, 4150), (3990, 4010), (0, 20), (8990, 20_000)] {
        let asked = json!({ "run": run["key"], "names": ["train/loss", "speed"], "from": from, "to": to });
        let answer = question(&dashboard, "/excerpt", &asked);
        let columns = &answer["curves"]["train/loss"][1];
        let steps = steps_of(columns);
        assert!(steps.len() < 100, "{from} to {to}: {} steps", steps.len());
        assert!(steps.windows(2).all(|pair| pair[1] == pair[0] + 1), "{from} to {to}: {steps:?}");
        assert!(steps[0] <= from.max(1) && *steps.last().unwrap() >= to.min(9000), "{from} to {to}: {steps:?}");
        for (step, loss) in steps.iter().zip(columns["mean"].as_array().unwrap()) {
            assert!((loss.as_f64().unwrap() - 1.0 / *step as f64).abs() < 1e-6, "step {step}: {loss}");
        }
        assert_eq!(answer["curves"].as_object().unwrap().len(), 2);
    }
}

#[test]
fn a_new_log_in_the_place_of_an_old_one_is_another_run() {
    let folder = folder();
    begin(folder.path(), 5);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let first = page.next("run");
    fs::remove_file(folder.path().join(LOG_FILE)).unwrap();
    begin(folder.path(), 2);
    let second = page.next("run");
    assert_ne!(first["key"], second["key"]);
    assert_eq!(second["index"], 0);
}

/// As `rsync` does it: a grown copy takes the place of the log.
#[test]
fn a_log_that_is_replaced_by_a_longer_copy_goes_on() {
    let folder = folder();
    begin(folder.path(), 3);
    let path = folder.path().join(LOG_FILE);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let run = page.until(3);
    let (.., mut seen, _) = losses(&dashboard, &run, 0);
    let elsewhere = folder.path().join("copy");
    for number in [4, 5] {
        fs::copy(&path, &elsewhere).unwrap();
        RunLog::open(&elsewhere).unwrap().write(step(number)).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(page.until(number)["key"], run["key"]);
        let (_, steps, offset, _) = losses(&dashboard, &run, seen);
        assert_eq!(steps, [number], "only what is new");
        seen = offset;
    }
    // Another run's log, as long as this one or longer.
    let other = folder.path().join("other");
    begin(&other, 9);
    fs::rename(other.join(LOG_FILE), &path).unwrap();
    assert_ne!(page.until(9)["key"], run["key"]);
}

/// As `cp` does it: the file stays, what is in it is another run's, as long as this one's or longer.
#[test]
fn a_log_that_is_overwritten_in_its_place_is_another_run() {
    let folder = folder();
    begin(&folder.path().join("run"), 3);
    let path = folder.path().join("run").join(LOG_FILE);
    let dashboard = serve(&folder.path().join("run"), None, None);
    let mut page = Page::open(&dashboard);
    let run = page.until(3);
    let other = folder.path().join("other");
    let log = begin(&other, 9);
    fs::write(&path, fs::read(log.path()).unwrap()).unwrap();
    let second = page.until(9);
    assert_ne!(second["key"], run["key"]);
    assert_eq!(losses(&dashboard, &second, 0).1, (1..=9).collect::<Vec<_>>());
    // A grown copy of the same log goes on.
    log.write(step(10)).unwrap();
    fs::write(&path, fs::read(log.path()).unwrap()).unwrap();
    assert_eq!(page.until(10)["key"], second["key"]);
}

#[test]
fn deleted_runs_go_from_the_page() {
    let folder = folder();
    for name in ["1", "2", "3"] {
        begin(&folder.path().join(name), 1);
    }
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(page.next("run")["key"].clone());
    }
    assert_eq!(page.next("runs")["runs"], Value::from(keys.clone()));
    fs::remove_dir_all(folder.path().join("2")).unwrap();
    let list = page.next("runs");
    assert_eq!(list["runs"], Value::from(vec![keys[0].clone(), keys[2].clone()]));
    assert_eq!((&list["total"], &list["complete"]), (&2.into(), &true.into()));
}

#[test]
fn more_runs_than_a_page_holds_are_on_further_pages() {
    let folder = folder();
    for number in 1..=260 {
        begin(&folder.path().join(number.to_string()), 1);
    }
    let dashboard = serve(folder.path(), None, None);
    let names = |older: usize| {
        let request = format!("GET /events?older={older} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let mut page = Page(send(&dashboard, &request));
        let mut names = std::collections::BTreeMap::new();
        loop {
            let (name, data) = page.next_of(&["run", "runs"]);
            if name == "run" {
                let short = data["name"].as_str().unwrap().rsplit('/').next().unwrap().parse::<usize>().unwrap();
                names.insert(data["key"].as_str().unwrap().to_owned(), short);
            } else if data["total"] == 260 {
                let keys = data["runs"].as_array().unwrap();
                break keys.iter().map(|key| names[key.as_str().unwrap()]).collect::<Vec<_>>();
            }
        }
    };
    assert_eq!(names(0), (5..=260).collect::<Vec<_>>());
    assert_eq!(names(1), (1..=256).collect::<Vec<_>>());
}

#[test]
fn pages_see_the_end() {
    let folder = folder();
    let log = begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, Some(Box::new(|| ())));
    let mut page = Page::open(&dashboard);
    page.until(1);
    log.write(Event::Finished { step: 2 }).unwrap();
    drop(dashboard);
    assert_eq!(page.next("run")["standing"]["status"], "finished");
    page.next("bye");
}

#[test]
fn folders_of_runs_and_new_runs_in_them() {
    let folder = folder();
    let mut logs: Vec<_> = ["9", "10"].iter().map(|name| begin(&folder.path().join(name), 1)).collect();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard);
    let names = |page: &mut Page| {
        let name = page.next("run")["name"].as_str().unwrap().to_owned();
        name.rsplit('/').next().unwrap().to_owned()
    };
    assert_eq!([names(&mut page), names(&mut page)], ["9", "10"]);
    logs.push(begin(&folder.path().join("11"), 1));
    assert_eq!(names(&mut page), "11");
}

#[test]
fn a_report_holds_what_the_page_would() {
    let folder = folder();
    begin(&folder.path().join("a"), 3);
    begin(&folder.path().join("b"), 3);
    let path = folder.path().join("report.html");
    let bytes = export(vec![folder.path().to_owned()], &path).unwrap();
    let report = fs::read_to_string(&path).unwrap();
    assert_eq!(bytes, report.len() as u64);
    let data = report.split("id=\"report\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data.as_array().unwrap().len(), 2);
    assert_eq!(steps_of(&data[1]["curves"]["curves"]["train/loss"][1]), [1, 2, 3]);
}
