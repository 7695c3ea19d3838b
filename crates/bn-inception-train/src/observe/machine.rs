//! Samples of the machine's load, on a thread of their own.

use std::process;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bn_inception_dashboard::run_log::{Event, GpuSample, Journal, SystemSample};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Interval between two samples.
const INTERVAL: Duration = Duration::from_secs(5);

/// Logs a sample every few seconds until it is dropped.
pub(crate) struct Monitor {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Starts sampling into `journal`. If the system refuses the thread, nothing is sampled.
    pub(crate) fn start(journal: Journal) -> Self {
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut machine = Machine::new();
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Some(sample) = machine.sample() {
                    // A log that cannot be written stops the run at its next event.
                    let _ = journal.record(Event::System(sample));
                }
            }
        };
        let thread = thread::Builder::new().name("machine monitor".to_owned());
        Self { stop: Some(stop), thread: thread.spawn(watch).ok() }
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Machine {
    system: System,
    process: Pid,
    /// NVIDIA's library, if the machine has it.
    nvml: Option<Nvml>,
}

impl Machine {
    fn new() -> Self {
        let mut machine =
            Self { system: System::new(), process: Pid::from_u32(process::id()), nvml: Nvml::init().ok() };
        // Usage is measured from one refresh to the next.
        machine.refresh();
        machine
    }

    fn refresh(&mut self) {
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        self.system.refresh_processes_specifics(
            ProcessesToUpdate::Some(&[self.process]),
            true,
            ProcessRefreshKind::nothing().with_cpu().with_memory(),
        );
    }

    /// A sample; `None` if the system reports none.
    fn sample(&mut self) -> Option<SystemSample> {
        self.refresh();
        let process = self.system.process(self.process)?;
        let sample = SystemSample {
            cpu_percent: self.system.global_cpu_usage(),
            process_cpu_percent: process.cpu_usage(),
            process_bytes: process.memory(),
            available_bytes: self.system.available_memory(),
            total_bytes: self.system.total_memory(),
            gpus: self.nvml.as_ref().map(gpus).unwrap_or_default(),
        };
        let finite = sample.cpu_percent.is_finite() && sample.process_cpu_percent.is_finite();
        finite.then_some(sample)
    }
}

fn gpus(nvml: &Nvml) -> Vec<GpuSample> {
    let one = |index| -> Result<GpuSample, NvmlError> {
        let gpu = nvml.device_by_index(index)?;
        let memory = gpu.memory_info()?;
        Ok(GpuSample {
            name: gpu.name()?,
            percent: gpu.utilization_rates()?.gpu as f32,
            used_bytes: memory.used,
            total_bytes: memory.total,
        })
    };
    let count = nvml.device_count().unwrap_or(0);
    (0..count).filter_map(|index| one(index).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_plausible() {
        let mut machine = Machine::new();
        let sample = machine.sample().unwrap();
        assert!(sample.process_bytes > 1 << 20, "{sample:?}");
        assert!(sample.process_bytes < sample.total_bytes, "{sample:?}");
        assert!(sample.available_bytes <= sample.total_bytes, "{sample:?}");
        assert!((0.0..=100.0).contains(&sample.cpu_percent), "{sample:?}");
    }
}
