//! A TCP proxy in front of a server that can be cut and restored. A cut breaks open connections and closes new ones at once.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use decamp_sandbox::wire::listen;

/// A proxy in front of one server. It stops when this is dropped.
pub(super) struct ProxyLink {
    /// The address that clients connect to.
    pub(super) address: SocketAddr,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for ProxyLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ProxyLink {
    /// Opens a link to this server.
    ///
    /// # Errors
    /// No port is free.
    pub(super) async fn to(server: SocketAddr) -> io::Result<Self> {
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                if !*is_cut.borrow() {
                    tokio::spawn(carry(stream, server, is_cut.clone()));
                }
            }
        });
        Ok(Self { address, cut, task })
    }

    /// The address that clients connect to, as a URL.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts or restores the link.
    pub(super) fn set_cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

async fn carry(mut here: TcpStream, server: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let Ok(mut there) = TcpStream::connect(server).await else { return };
    here.set_nodelay(true).ok();
    there.set_nodelay(true).ok();
    select! {
        // When either side ends the connection, the other side sees it.
        _ = copy_bidirectional(&mut here, &mut there) => {}
        _ = is_cut.wait_for(|cut| *cut) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_cut_breaks_open_and_new_connections_and_a_restored_link_carries_again() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link = ProxyLink::to(server.local_addr().unwrap()).await.unwrap();
        let echo = tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.ok();
                });
            }
        });
        let mut byte = [0];
        let mut first = TcpStream::connect(link.address).await.unwrap();
        first.write_all(b"x").await.unwrap();
        first.read_exact(&mut byte).await.unwrap();
        link.set_cut(true);
        assert!(first.read_exact(&mut byte).await.is_err());
        let mut second = TcpStream::connect(link.address).await.unwrap();
        second.write_all(b"x").await.ok();
        assert!(second.read_exact(&mut byte).await.is_err());
        link.set_cut(false);
        let mut third = TcpStream::connect(link.address).await.unwrap();
        third.write_all(b"y").await.unwrap();
        third.read_exact(&mut byte).await.unwrap();
        assert_eq!(byte, *b"y");
        echo.abort();
    }
}
