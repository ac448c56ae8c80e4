//! File descriptors: every connection takes one, and a process that has none left can neither accept nor open a file.
//!
//! Systems give a process fewer than it may have: what it is given at first (often 1,024) is less than the limits of
//! this server and of its transports come to, what it may ask for is mostly much more.

use super::limits::DESCRIPTORS;

/// Sees to it that there are as many as the limits can need, or says that there are not.
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

/// There is no such limit.
#[cfg(not(unix))]
pub(super) fn provide() {
    let _ = DESCRIPTORS;
}

/// What to ask for; nothing if there are enough. `None` among the limits is none.
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
