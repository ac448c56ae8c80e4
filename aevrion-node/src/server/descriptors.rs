//! File descriptors: every connection takes one, and a process without free ones can neither accept nor open a file.
//!
//! The initial (soft) limit of a process is often 1,024, less than the limits of this server and of its transports add
//! up to; the hard limit is mostly much higher.

use super::limits::DESCRIPTORS;

/// Raises the soft limit to the number that the limits can need, or warns that it is too low.
#[cfg(unix)]
pub(super) fn provide() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let given = getrlimit(Resource::Nofile);
    let Some(wanted) = raised(given.current, given.maximum) else { return };
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: given.maximum });
    let has = if raised.is_ok() { wanted } else { given.current.unwrap_or(wanted) };
    if has < DESCRIPTORS {
        tracing::warn!(
            "this process may have {has} files and connections open, and its limits allow for {DESCRIPTORS}: under many \
             connections some will not be accepted. Raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
}

/// No such limit on this system.
#[cfg(not(unix))]
pub(super) fn provide() {
    let _ = DESCRIPTORS;
}

/// The soft limit to request; nothing if the current one suffices. A limit of `None` is unlimited.
#[cfg(unix)]
fn raised(current: Option<u64>, most: Option<u64>) -> Option<u64> {
    let current = current.filter(|current| *current < DESCRIPTORS)?;
    Some(most.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS)).max(current))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_needed_and_may_be_had() {
        assert_eq!(raised(None, None), None);
        assert_eq!(raised(Some(DESCRIPTORS), Some(DESCRIPTORS)), None);
        assert_eq!(raised(Some(256), Some(1 << 20)), Some(DESCRIPTORS));
        assert_eq!(raised(Some(256), None), Some(DESCRIPTORS));
        assert_eq!(raised(Some(256), Some(512)), Some(512));
        assert_eq!(raised(Some(256), Some(256)), Some(256));
    }
}
