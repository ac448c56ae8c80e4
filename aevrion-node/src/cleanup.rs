//! Cleanup: a temporary file or a started program would outlive the process, and is undone if a signal ends the process
//! before its owner could.
//!
//! `main` makes the cleanup of the process and passes it on. A task within the process has a scope of it, so that its
//! end undoes nothing of another task. All scopes share one lock, so that a signal stops every task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Undoes something. It may have been undone already.
pub(crate) type Undo = Box<dyn Fn() + Send>;

/// The registered actions. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Cleanup {
    actions: Arc<Mutex<Actions>>,
    /// The scope that this registers for.
    scope: u64,
}

#[derive(Default)]
struct Actions {
    /// The last number of an action or a scope; the scope of the process is 0.
    last: u64,
    by_number: BTreeMap<u64, Action>,
}

struct Action {
    scope: u64,
    undo: Undo,
}

impl Actions {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Keeps an action registered until it is dropped.
pub(crate) struct Registration {
    cleanup: Cleanup,
    number: u64,
}

/// The cleanup of one task: its actions run when the task drops it, or with all others.
pub(crate) struct CleanupScope(Cleanup);

/// A cleanup that was run. While this lives, every task that makes something waits.
#[must_use]
pub(crate) struct Closed<'c>(#[expect(dead_code, reason = "it holds the lock")] MutexGuard<'c, Actions>);

impl Cleanup {
    /// Makes something, and registers the action that undoes it. The lock covers both: a signal sees the thing either
    /// not made, or registered.
    pub(crate) fn make<T, E>(
        &self,
        make: impl FnOnce() -> Result<(T, Undo), E>,
    ) -> Result<(T, Registration), E> {
        let mut actions = self.lock();
        let (made, undo) = make()?;
        let number = actions.number();
        actions.by_number.insert(number, Action { scope: self.scope, undo });
        Ok((made, Registration { cleanup: self.clone(), number }))
    }

    /// A scope for one task.
    pub(crate) fn scope(&self) -> CleanupScope {
        let scope = self.lock().number();
        CleanupScope(Self { actions: Arc::clone(&self.actions), scope })
    }

    /// Undoes everything that is registered, in every scope.
    pub(crate) fn run(&self) -> Closed<'_> {
        let actions = self.lock();
        actions.by_number.values().for_each(|action| (action.undo)());
        Closed(actions)
    }

    fn lock(&self) -> MutexGuard<'_, Actions> {
        // The actions are whole even if the holder of the lock has panicked.
        self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registration {
    /// Does the last step, after which there is nothing to undo. A signal sees either both or neither of the two.
    pub(crate) fn finish<T>(self, last_step: impl FnOnce() -> T) -> T {
        let mut actions = self.cleanup.lock();
        actions.by_number.remove(&self.number);
        last_step()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.cleanup.lock().by_number.remove(&self.number);
    }
}

impl CleanupScope {
    /// The cleanup of this task alone.
    pub(crate) fn cleanup(&self) -> &Cleanup {
        &self.0
    }
}

impl Drop for CleanupScope {
    fn drop(&mut self) {
        self.0.lock().by_number.retain(|_, action| {
            let ended = action.scope == self.0.scope;
            if ended {
                (action.undo)();
            }
            !ended
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc::{RecvTimeoutError, channel};
    use std::time::Duration;

    use super::*;

    fn make(cleanup: &Cleanup, undone: &Arc<AtomicUsize>) -> Registration {
        let undone = Arc::clone(undone);
        let undo: Undo = Box::new(move || {
            undone.fetch_add(1, Relaxed);
        });
        cleanup.make(|| Ok::<_, ()>(((), undo))).unwrap_or_else(|()| unreachable!()).1
    }

    #[test]
    fn the_end_of_a_task_undoes_nothing_of_another() {
        let [first, second] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let counts = || (first.load(Relaxed), second.load(Relaxed));
        let process = Cleanup::default();
        let (one, other) = (process.scope(), process.scope());
        let _kept = (make(one.cleanup(), &first), make(other.cleanup(), &second));
        drop(one);
        assert_eq!(counts(), (1, 0));
        drop(process.run());
        assert_eq!(counts(), (1, 1));
    }

    #[test]
    fn what_is_finished_or_dropped_is_not_undone() {
        let undone = Arc::new(AtomicUsize::new(0));
        let process = Cleanup::default();
        assert_eq!(make(&process, &undone).finish(|| 7), 7);
        drop(make(&process, &undone));
        drop(process.run());
        assert_eq!(undone.load(Relaxed), 0);
    }

    #[test]
    fn nothing_is_made_in_any_scope_after_a_signal() {
        let undone = Arc::new(AtomicUsize::new(0));
        let process = Cleanup::default();
        let scope = process.scope();
        let (say, made) = channel();
        std::thread::scope(|threads| {
            let closed = process.run();
            threads.spawn(|| say.send(make(scope.cleanup(), &undone)));
            let early = made.recv_timeout(Duration::from_millis(100));
            assert!(matches!(early, Err(RecvTimeoutError::Timeout)), "the task waits");
            drop(closed);
            drop(made.recv().unwrap());
        });
    }
}
