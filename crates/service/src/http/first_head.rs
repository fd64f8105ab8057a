//! Reads the first request's head of a connection before an HTTP server is made for it, so that idle connections cost little.
//!
//! A flood of clients that connect and send nothing, or half a head, delays neither requests nor departures.

use std::io::Cursor;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Chain, Join, ReadHalf, WriteHalf, join, split};

/// Bytes that are read at once. Most heads are shorter.
const AT_ONCE: usize = 512;

/// A stream that gives the bytes that were already read once more.
pub(super) type Replayed<S> = Join<Chain<Cursor<Vec<u8>>, ReadHalf<S>>, WriteHalf<S>>;

/// Reads until the head is complete or too large. `None`: the client closed the connection before.
pub(super) async fn read_first_head<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, largest: usize) -> Option<Replayed<S>> {
    let mut first = Vec::new();
    loop {
        let mut some = [0; AT_ONCE];
        let count = stream.read(&mut some).await.ok().filter(|count| *count != 0)?;
        let searched = first.len().saturating_sub(3);
        first.extend_from_slice(&some[..count]);
        // Anything else than a request is refused by the HTTP server.
        let is_request = first.first().is_some_and(u8::is_ascii_uppercase);
        if !is_request || largest <= first.len() || has_empty_line(&first[searched..]) {
            let (rest, write) = split(stream);
            return Some(join(Cursor::new(first).chain(rest), write));
        }
    }
}

/// Whether the bytes have an empty line.
fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|four| four == b"\r\n\r\n") || bytes.windows(2).any(|two| two == b"\n\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::time::timeout;

    use super::*;

    const LARGEST: usize = 2_048;

    /// What the server would read after these pieces were sent, if a head is complete within a second.
    async fn replayed(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let (mut client, server) = duplex(64 * 1024);
        for piece in pieces {
            client.write_all(piece).await.expect("there is room");
        }
        let mut stream = timeout(Duration::from_secs(1), read_first_head(server, LARGEST)).await.ok()??;
        drop(client);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.expect("it can be read");
        Some(all)
    }

    #[tokio::test(start_paused = true)]
    async fn no_head_is_passed_on_before_it_is_complete_and_no_byte_is_lost() {
        for half in [&[] as &[&[u8]], &[b"GET /hea"], &[b"GET / HTTP/1.1\r\n", b"host: x\r\n"]] {
            assert_eq!(replayed(half).await, None, "{half:?}");
        }
        let long = [b"GET /".as_slice(), &[b'x'; 3 * AT_ONCE], b" HTTP/1.1\r\n\r\nbody"].concat();
        let larger_than_any = [b"GET /".as_slice(), &[b'x'; LARGEST]].concat();
        let whole: [&[&[u8]]; 5] =
            [&[b"GET / HTTP/1.1\r\n\r", b"\nbody"], &[b"GET /\n\n"], &[b"\x16\x03\x01"], &[&long], &[&larger_than_any]];
        for pieces in whole {
            assert_eq!(replayed(pieces).await, Some(pieces.concat()), "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_closes_before_its_request_has_no_head() {
        let (client, server) = duplex(64);
        drop(client);
        assert!(read_first_head(server, LARGEST).await.is_none());
    }
}
