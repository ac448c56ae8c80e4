//! Telling the service manager how it stands (`sd_notify(3)`): one datagram to the socket that it names.

/// Tells whoever started this process, if they want to know. That they cannot be told changes nothing.
#[cfg(target_os = "linux")]
pub(super) fn tell(state: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    // A name that begins with `@` stands for no file.
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(&name),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// There is nobody to tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn tell(_: &str) {}
