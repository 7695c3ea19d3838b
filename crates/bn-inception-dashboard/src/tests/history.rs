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
    let mut page = Page::open(&dashboard, "");
    let (seen, curve) = page.until(3);
    assert_eq!(curve, [1, 2, 3]);
    log.write(step(4)).unwrap();
    let (_, run) = page.next("run");
    assert_eq!(run["reset"], false);
    assert_eq!(run["series"]["train/loss"][1].as_array().unwrap().len(), 1);
    drop((page, dashboard));

    // Another server, as after a restart: the id still means something.
    log.write(step(5)).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let (_, all) = Page::open(&dashboard, "").until(5);
    assert_eq!(all, [1, 2, 3, 4, 5]);
    let mut page = Page::open(&dashboard, &seen);
    let (_, run) = page.next("run");
    assert_eq!(run["reset"], false);
    let change = &run["series"]["train/loss"];
    assert_eq!((&change[0], change[1].as_array().unwrap().len()), (&3.into(), 2));
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
    let mut page = Page::open(&dashboard, "");
    assert_eq!(page.until(1).1, [1]);
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&whole.as_bytes()[cut..]).unwrap();
    assert_eq!(page.until(2).1.last(), Some(&2));
}

#[test]
fn a_resumed_run_takes_lost_steps_back() {
    let folder = folder();
    let log = begin(folder.path(), 5);
    log.write(validation(5, 0.9)).unwrap();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    page.until(5);
    let device = "flex".to_owned();
    log.write(Event::Resume { step: 3, device }).unwrap();
    log.write(step(4)).unwrap();
    log.write(validation(4, 0.4)).unwrap();
    log.write(Event::Finished { step: 4 }).unwrap();
    let (_, curve) = page.until(4);
    assert_eq!(curve, [1, 2, 3, 4]);
    let mut late = Page::open(&dashboard, "");
    let (_, run) = late.next("run");
    assert_eq!(run["standing"]["images"], 32);
    let records = &run["cells"]["records"];
    assert_eq!((records[0][0].as_u64(), records.as_array().unwrap().len()), (Some(4), 1));
}

#[test]
fn a_new_log_in_the_place_of_an_old_one_is_another_run() {
    let folder = folder();
    begin(folder.path(), 5);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    let (_, first) = page.next("run");
    fs::remove_file(folder.path().join(LOG_FILE)).unwrap();
    begin(folder.path(), 2);
    let (_, second) = page.next("run");
    assert_ne!(first["key"], second["key"]);
    assert_eq!((&second["index"], &second["reset"]), (&0.into(), &true.into()));
}

/// As `rsync` does it: a grown copy takes the place of the log.
#[test]
fn a_log_that_is_replaced_by_a_longer_copy_goes_on() {
    let folder = folder();
    begin(folder.path(), 3);
    let path = folder.path().join(LOG_FILE);
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    assert_eq!(page.until(3).1, [1, 2, 3]);
    let elsewhere = folder.path().join("copy");
    for steps in [4, 5] {
        fs::copy(&path, &elsewhere).unwrap();
        RunLog::open(&elsewhere).unwrap().write(step(steps)).unwrap();
        fs::rename(&elsewhere, &path).unwrap();
        let (_, run) = page.next("run");
        assert_eq!((&run["standing"]["step"], &run["reset"]), (&steps.into(), &false.into()));
        assert_eq!(run["series"]["train/loss"][1].as_array().unwrap().len(), 1, "only what is new");
    }
    // Another run's log, as long as this one or longer.
    let other = folder.path().join("other");
    begin(&other, 9);
    fs::rename(other.join(LOG_FILE), &path).unwrap();
    let mut run = page.next("run").1;
    assert_eq!(run["reset"], true);
    while run["standing"]["step"] != 9 {
        run = page.next("run").1;
    }
}

#[test]
fn deleted_runs_go_from_the_page() {
    let folder = folder();
    for name in ["1", "2", "3"] {
        begin(&folder.path().join(name), 1);
    }
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(page.next("run").1["key"].clone());
    }
    assert_eq!(page.next("runs").1["runs"], Value::from(keys.clone()));
    fs::remove_dir_all(folder.path().join("2")).unwrap();
    let (_, list) = page.next("runs");
    assert_eq!(list["runs"], Value::from(vec![keys[0].clone(), keys[2].clone()]));
    assert_eq!((&list["total"], &list["complete"]), (&2.into(), &true.into()));
}

#[test]
fn more_runs_than_a_page_holds_are_on_further_pages() {
    let folder = folder();
    for number in 1..=70 {
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
            } else if data["total"] == 70 {
                let keys = data["runs"].as_array().unwrap();
                break keys.iter().map(|key| names[key.as_str().unwrap()]).collect::<Vec<_>>();
            }
        }
    };
    assert_eq!(names(0), (7..=70).collect::<Vec<_>>());
    assert_eq!(names(1), (1..=64).collect::<Vec<_>>());
}

#[test]
fn pages_see_the_end() {
    let folder = folder();
    let log = begin(folder.path(), 1);
    let dashboard = serve(folder.path(), None, Some(Box::new(|| ())));
    let mut page = Page::open(&dashboard, "");
    page.until(1);
    log.write(Event::Finished { step: 2 }).unwrap();
    drop(dashboard);
    assert_eq!(page.next("run").1["standing"]["status"], "finished");
    page.next("bye");
}

#[test]
fn folders_of_runs_and_new_runs_in_them() {
    let folder = folder();
    let mut logs: Vec<_> = ["9", "10"].iter().map(|name| begin(&folder.path().join(name), 1)).collect();
    let dashboard = serve(folder.path(), None, None);
    let mut page = Page::open(&dashboard, "");
    let names = |page: &mut Page| {
        let name = page.next("run").1["name"].as_str().unwrap().to_owned();
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
    assert_eq!(data[1]["series"]["train/loss"][1].as_array().unwrap().len(), 3);
}
