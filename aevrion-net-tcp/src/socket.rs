//! Socket options of all connections.

use tokio::net::TcpStream;

/// Bytes the system takes beyond those in flight. It sends all of them in order: with its default of megabytes, new
/// events would wait behind as many bytes of a repair. A few chunks of each lane suffice to keep the network busy.
const UNSENT: u32 = 64 << 10;

/// Sets the options of a connection's socket.
pub(crate) fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Small frames carry new events: Nagle's algorithm would delay them.
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // Best effort: without it new events are only slower.
        let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = UNSENT;
    Ok(())
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_is_told_to_take_little() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        prepare(&stream).unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert_eq!((socket.tcp_nodelay().unwrap(), socket.tcp_notsent_lowat().unwrap()), (true, UNSENT));
    }
}
