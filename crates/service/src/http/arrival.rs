//! A connection whose first request has not come yet: it is read here until its head is whole, so that those that stay idle cost little.
//!
//! A server of HTTP is made for a connection only then. A crowd of strangers that connect and send nothing, or half a head, keeps
//! neither requests nor departures waiting for its turn.

use std::io::Cursor;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Chain, Join, ReadHalf, WriteHalf, join, split};

/// How much is read at once. Most heads are shorter.
const AT_ONCE: usize = 512;

/// A stream whose first bytes were read already and are read again first.
pub(super) type Arrived<S> = Join<Chain<Cursor<Vec<u8>>, ReadHalf<S>>, WriteHalf<S>>;

/// Reads until a head may be whole, or is larger than it may be. `None`: the other end has closed before.
pub(super) async fn arrived<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, largest: usize) -> Option<Arrived<S>> {
    let mut first = Vec::new();
    loop {
        let mut some = [0; AT_ONCE];
        let count = stream.read(&mut some).await.ok().filter(|count| *count != 0)?;
        let searched = first.len().saturating_sub(3);
        first.extend_from_slice(&some[..count]);
        // What begins no request is refused by whoever reads requests.
        let is_request = first.first().is_some_and(u8::is_ascii_uppercase);
        if !is_request || largest <= first.len() || ends(&first[searched..]) {
            let (rest, write) = split(stream);
            return Some(join(Cursor::new(first).chain(rest), write));
        }
    }
}

/// Whether an empty line is in it.
fn ends(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| four == b"\r\n\r\n") || bytes.windows(2).any(|two| two == b"\n\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::timeout;

    use super::*;

    const LARGEST: usize = 2_048;

    /// What is handed on after these pieces were sent, if it is within a second.
    async fn handed_on(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut client, server) = duplex(64 * 1024);
        for piece in pieces {
            client.write_all(piece).await.expect("there is room");
        }
        let mut arrived = timeout(Duration::from_secs(1), arrived(server, LARGEST)).await.ok()??;
        drop(client);
        let mut all = Vec::new();
        arrived.read_to_end(&mut all).await.expect("it can be read");
        Some(all)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_handed_on_before_a_head_is_whole_and_nothing_of_it_is_lost() {
        for half in [&[] as &[&[u8]], &[b"GET /hea"], &[b"GET / HTTP/1.1\r\n", b"host: x\r\n"]] {
            assert_eq!(handed_on(half).await, None, "{half:?}");
        }
        let long = [b"GET /".as_slice(), &[b'x'; 3 * AT_ONCE], b" HTTP/1.1\r\n\r\nbody"].concat();
        let larger_than_any = [b"GET /".as_slice(), &[b'x'; LARGEST]].concat();
        let whole: [&[&[u8]]; 5] =
            [&[b"GET / HTTP/1.1\r\n\r", b"\nbody"], &[b"GET /\n\n"], &[b"\x16\x03\x01"], &[&long], &[&larger_than_any]];
        for pieces in whole {
            assert_eq!(handed_on(pieces).await, Some(pieces.concat()), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_before_its_request_came_is_over() {
        let (client, server) = duplex(64);
        drop(client);
        assert!(arrived(server, LARGEST).await.is_none());
    }
}
