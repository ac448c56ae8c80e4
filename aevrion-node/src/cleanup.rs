//! Cleanup: what would outlive the process, such as a temporary file or a program that it started, is undone if a
//! signal ends the process before its owner could.
//!
//! `main` makes the cleanup of the process and passes it on. A task within the process has a scope of it, so that its
//! end undoes nothing of another task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Undoes something. It may have been undone already.
pub(crate) type Undo = Box<dyn Fn() + Send>;

/// The registered actions. Cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Cleanup(Arc<Mutex<Actions>>);

#[derive(Default)]
struct Actions {
    next: u64,
    by_number: BTreeMap<u64, Undo>,
}

impl Actions {
    fn register(&mut self, undo: Undo) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_number.insert(number, undo);
        number
    }
}

/// Keeps an action registered until it is dropped.
pub(crate) struct Registration {
    cleanup: Cleanup,
    number: u64,
}

/// The cleanup of one task: it runs when the task drops it, and with the cleanup that it is a scope of.
pub(crate) struct CleanupScope {
    own: Cleanup,
    _registration: Registration,
}

/// A cleanup that was run. While this lives, nothing is made that it would have to undo.
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
        let number = actions.register(undo);
        Ok((made, Registration { cleanup: self.clone(), number }))
    }

    /// A scope for one task.
    pub(crate) fn scope(&self) -> CleanupScope {
        let own = Self::default();
        let undo = own.clone();
        let number = self.lock().register(Box::new(move || drop(undo.run())));
        CleanupScope { own, _registration: Registration { cleanup: self.clone(), number } }
    }

    /// Undoes everything that is registered.
    pub(crate) fn run(&self) -> Closed<'_> {
        let actions = self.lock();
        actions.by_number.values().for_each(|undo| undo());
        Closed(actions)
    }

    fn lock(&self) -> MutexGuard<'_, Actions> {
        // The actions are whole whatever happened to the holder of the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        &self.own
    }
}

impl Drop for CleanupScope {
    fn drop(&mut self) {
        drop(self.own.run());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

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
}
