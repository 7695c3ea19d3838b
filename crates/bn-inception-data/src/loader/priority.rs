//! Scheduling priority of the loader's threads.

/// Gives the calling thread a tenth of a core that it shares with threads of normal priority, such as those of the
/// network's kernels. A core that these leave idle, because they wait for data or have no work, it has to itself.
///
/// On Linux only: elsewhere the call would concern the whole process.
pub(super) fn lower_priority() {
    #[cfg(target_os = "linux")]
    {
        /// Weight 110 of the scheduler, where normal threads have 1024.
        const NICE: i32 = 10;
        let thread = Some(rustix::thread::gettid());
        if rustix::process::getpriority_process(thread).is_ok_and(|nice| nice < NICE) {
            // If it is refused, loading is as good, and training a little slower.
            let _ = rustix::process::setpriority_process(thread, NICE);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::getpriority_process;
    use rustix::thread::gettid;

    #[test]
    fn only_the_calling_thread_is_concerned() {
        let priority = || getpriority_process(Some(gettid())).unwrap();
        let before = priority();
        let lowered = std::thread::spawn(move || {
            lower_priority();
            priority()
        });
        assert!(lowered.join().unwrap() >= before.max(10));
        assert_eq!(priority(), before);
    }
}
