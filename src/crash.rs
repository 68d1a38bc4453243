//! Kills the process at a chosen durable step, so that a test can restart it from every one of them.
//!
//! Exists in debug builds only; in a release nothing of it is left. `HOLDFAST_TEST_CRASH=n` kills at the n-th step, counted
//! from 1; 0 never kills, and [`report`] tells how many steps there were, which is how a test learns how far to count.

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static STEPS: AtomicU64 = AtomicU64::new(0);

    /// Returns the step to die at, if the test wants steps counted at all.
    fn chosen() -> Option<u64> {
        static CHOSEN: OnceLock<Option<u64>> = OnceLock::new();
        *CHOSEN.get_or_init(|| std::env::var("HOLDFAST_TEST_CRASH").ok()?.trim().parse().ok())
    }

    pub fn step(name: &str) {
        let Some(at) = chosen() else { return };
        let step = STEPS.fetch_add(1, Ordering::SeqCst) + 1;
        if step == at {
            eprintln!("holdfast-test-crash: step {step} ({name})");
            // SIGKILL rather than abort: nothing may run any more, no handler and no destructor.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    }

    pub fn report() {
        if chosen().is_some() {
            eprintln!("holdfast-test-steps: {}", STEPS.load(Ordering::SeqCst));
        }
    }
}

/// Passes a durable step: something outside this process is about to change for good, or just did.
#[cfg(debug_assertions)]
pub fn step(name: &str) {
    armed::step(name);
}

/// Tells on standard error how many steps were passed, if `HOLDFAST_TEST_CRASH` is set; call it at a normal exit.
#[cfg(debug_assertions)]
pub fn report() {
    armed::report();
}

/// Does nothing in a release.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn step(_name: &str) {}

/// Does nothing in a release.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn report() {}
