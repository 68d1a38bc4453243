//! The named moments between system calls, at which tests let others interfere, make a call fail, or kill the process.

use rustix::io::Errno;

/// Marks a moment. Nothing outside tests.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in tests a moment may fail")]
#[inline(always)]
pub(super) const fn step(_name: &'static str) -> Result<(), Errno> {
    Ok(())
}

/// Marks a moment: asks the test's hook, which may do anything, or fail as a system call would.
#[cfg(test)]
pub(super) fn step(name: &'static str) -> Result<(), Errno> {
    // Taken out while it runs, so that a hook may itself use the target.
    let Some(mut hook) = HOOK.with_borrow_mut(Option::take) else { return Ok(()) };
    let result = hook(name);
    HOOK.with_borrow_mut(|slot| {
        slot.get_or_insert(hook);
    });
    result
}

#[cfg(test)]
type Hook = Box<dyn FnMut(&'static str) -> Result<(), Errno>>;

#[cfg(test)]
thread_local! {
    static HOOK: std::cell::RefCell<Option<Hook>> = const { std::cell::RefCell::new(None) };
}

/// Removes the hook at the end of a test.
#[cfg(test)]
pub(super) struct Hooked(());

#[cfg(test)]
impl Drop for Hooked {
    fn drop(&mut self) {
        HOOK.with_borrow_mut(Option::take);
    }
}

/// Sets this thread's hook.
#[cfg(test)]
#[must_use]
pub(super) fn set(hook: impl FnMut(&'static str) -> Result<(), Errno> + 'static) -> Hooked {
    HOOK.with_borrow_mut(|slot| *slot = Some(Box::new(hook)));
    Hooked(())
}
