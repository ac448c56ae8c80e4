//! The memory of a process that lives long.

/// Lets all threads allocate from the same few pools.
///
/// The C library gives threads pools of their own, up to eight for each core, and what one has freed no other can use: a
/// node that takes in a year of events was measured at twice what it needs. The number of pools is read once, when a
/// process begins, so the process begins anew. Whoever has set a number keeps it, and where nothing may be executed all
/// goes on as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn share_pools() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::thread::available_parallelism;

    /// See `mallopt(3)`.
    const POOLS: &str = "MALLOC_ARENA_MAX";
    /// Few enough that they do not wait for each other: small pieces each thread keeps at hand in any case.
    const CORES_TO_A_POOL: usize = 4;

    let mut arguments = std::env::args_os();
    let (None, Ok(program), Some(name)) =
        (std::env::var_os(POOLS), std::env::current_exe(), arguments.next())
    else {
        return;
    };
    let pools = available_parallelism().map_or(1, |cores| cores.get().div_ceil(CORES_TO_A_POOL));
    // It comes back only if it fails.
    let _ = Command::new(program).arg0(name).args(arguments).env(POOLS, pools.to_string()).exec();
}

/// Other C libraries have no such pools.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_pools() {}
