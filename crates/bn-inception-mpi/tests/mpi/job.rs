//! Jobs of several ranks.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bn_inception_tests::mpirun;

use crate::child::{CASE, DATA, OUT, RESUME};

/// Longest time that the tests' jobs should take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A job in progress.
pub struct Job(Child);

impl Job {
    /// Starts `ranks` processes that train `case`, or fail as it says, into `out`.
    pub fn start(ranks: usize, case: &str, data: &Path, out: &Path, resume: bool) -> Option<Self> {
        let mut command = mpirun(ranks, out.parent()?)?;
        command.arg(std::env::current_exe().unwrap());
        command.args(["--exact", "--ignored", "child::rank"]);
        command.env(CASE, case).env(DATA, data).env(OUT, out).env("RAYON_NUM_THREADS", "1");
        if resume {
            command.env(RESUME, "1");
        }
        Some(Self(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    /// Waits until `condition` holds while the job runs.
    pub fn until(&mut self, condition: impl Fn() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(self.0.try_wait().unwrap().is_none(), "the job ended early");
            assert!(start.elapsed() < PATIENCE, "nothing happens");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to `mpirun`.
    pub fn signal(&self, signal: &str) {
        kill(signal, self.0.id());
    }

    /// The job's status and standard error, at its end, which has to come within `time`.
    pub fn end(mut self, time: Duration) -> (ExitStatus, String) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                let mut text = String::new();
                self.0.stderr.take().unwrap().read_to_string(&mut text).unwrap();
                return (status, text);
            }
            if start.elapsed() > time {
                let _ = self.0.kill();
                panic!("the job goes on after {} s", time.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for success.
    pub fn finish(self) {
        let (status, text) = self.end(PATIENCE);
        assert!(status.success(), "{status}: {text}");
    }
}

/// Sends a signal to rank `rank` of the job that writes `out`.
pub fn kill_rank(signal: &str, out: &Path, rank: usize) {
    let pid = fs::read_to_string(out.with_extension(format!("{rank}.pid"))).unwrap();
    kill(signal, pid.parse().unwrap());
}

fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status().unwrap().success());
}

/// Steps in the log of the run in `out`.
pub fn steps(out: &Path) -> usize {
    let log = fs::read_to_string(out.join("run.jsonl")).unwrap_or_default();
    log.matches("\"event\":\"step\"").count()
}
