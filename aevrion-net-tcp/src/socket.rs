//! What every connection's socket is told.

use tokio::net::TcpStream;

/// Bytes that the system takes beyond what is on its way already. All that it has taken goes out in order: with
/// megabytes of it, which it takes by default, news would wait behind as much of a repair. A few chunks of each lane
/// suffice to keep the network busy.
const UNSENT: u32 = 64 << 10;

/// Prepares the socket of a connection.
pub(crate) fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    // Small frames are news: they must not wait for company.
    stream.set_nodelay(true)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // Without it news are slower, no more.
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
