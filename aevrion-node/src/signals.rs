//! The signals that end a process.

use crate::failure::Failure;

/// A received signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// From a service manager, or `kill`.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there it ends the process without a word"))]
    Terminate,
}

impl Signal {
    /// The failure of an interrupted process, with the exit code that shells use.
    pub(crate) fn failure(self) -> Failure {
        match self {
            Self::Interrupt => Failure::interrupted(),
            Self::Terminate => Failure::terminated(),
        }
    }
}

/// A stream of signals, including those that arrived before the wait.
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    pub(crate) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |error| Failure::error(format!("cannot listen for signals: {error}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate()).map_err(failed)? })
    }

    #[cfg(unix)]
    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) -> Signal {
        // Without a handler there is no signal to wait for.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
