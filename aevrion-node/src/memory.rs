//! Memory of a long-lived process.

/// Lets all threads allocate from a few pools.
///
/// The GNU C library gives threads pools of their own, up to eight for each core, and memory freed in one pool cannot
/// be used by another: a node that imported a year of events was measured at twice the memory it needs. The number of
/// pools is read once, at the start of a process, so the process starts itself anew. A number set by the user is kept,
/// and where nothing may be executed the process goes on unchanged.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn share_pools() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::thread::available_parallelism;

    /// See `mallopt(3)`.
    const POOLS: &str = "MALLOC_ARENA_MAX";
    /// Few enough pools to save memory, many enough to avoid contention: each thread caches small pieces in any case.
    const CORES_TO_A_POOL: usize = 4;

    let mut arguments = std::env::args_os();
    let (None, Ok(program), Some(name)) =
        (std::env::var_os(POOLS), std::env::current_exe(), arguments.next())
    else {
        return;
    };
    let pools = available_parallelism().map_or(1, |cores| cores.get().div_ceil(CORES_TO_A_POOL));
    // It returns only on failure.
    let _ = Command::new(program).arg0(name).args(arguments).env(POOLS, pools.to_string()).exec();
}

/// Other C libraries have no such pools.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn share_pools() {}
