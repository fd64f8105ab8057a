//! A log writer that never blocks: a service that stops because nobody reads its log would lose requests.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// How many lines may be queued. Further lines are dropped and counted.
const MOST_LINES: usize = 10_000;
/// How many bytes may be queued. Unauthenticated requests can cause log lines, so this bounds the memory that they take.
const MOST_BYTES: usize = 1024 * 1024;
/// The memory of a queued line besides its text.
const OVERHEAD: usize = 64;
/// How long the process waits at its end for the queued lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Queues lines for a thread that writes them.
#[derive(Debug, Clone)]
pub(super) struct NonBlocking {
    lines: SyncSender<Line>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines that were dropped since the last line about dropped lines.
    lost: AtomicU64,
    /// Bytes that are queued.
    queued: AtomicUsize,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Asks for an answer when every line before it is written.
    Flush(SyncSender<()>),
}

impl NonBlocking {
    /// Starts the thread.
    pub(super) fn new(sink: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel(MOST_LINES);
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        // The thread is never joined, because its sink may block. It ends with the process.
        drop(thread::spawn(move || write_all(sink, &lines, &shared)));
        Self { lines: sender, counts }
    }

    /// Waits for a short time until all queued lines are written.
    pub(super) fn finish(&self) {
        let (written, is_written) = sync_channel(1);
        if self.lines.try_send(Line::Flush(written)).is_ok() {
            is_written.recv_timeout(FLUSH_TIMEOUT).ok();
        }
    }
}

fn write_all(mut sink: impl Write, lines: &Receiver<Line>, counts: &Counts) {
    while let Ok(line) = lines.recv() {
        match line {
            Line::Text(text) => {
                // A failed write of the log cannot be reported anywhere.
                sink.write_all(&text).ok();
                counts.queued.fetch_sub(text.len() + OVERHEAD, Ordering::Relaxed);
                let lost = counts.lost.swap(0, Ordering::Relaxed);
                if 0 < lost {
                    writeln!(sink, "{lost} lines of the log were lost, because the reader of the log is too slow").ok();
                }
            }
            Line::Flush(written) => {
                sink.flush().ok();
                written.send(()).ok();
            }
        }
    }
}

impl Write for NonBlocking {
    /// Queues one line: tracing's formatter makes one call per line.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let bytes = text.len() + OVERHEAD;
        let fits = self.counts.queued.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_BYTES;
        if !fits || self.lines.try_send(Line::Text(text.to_vec())).is_err() {
            self.counts.queued.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for NonBlocking {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A sink that blocks while its lock is held.
    #[derive(Debug, Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_sink_blocks_no_writer_and_lost_lines_are_counted() {
        let sink = Sink::default();
        let mut writer = NonBlocking::new(sink.clone());
        let blocked = sink.0.lock().expect("nobody panicked");
        let began = std::time::Instant::now();
        for number in 0..2 * MOST_LINES {
            writer.write_all(format!("line {number}\n").as_bytes()).expect("it takes all");
        }
        writer.finish();
        assert!(began.elapsed() < 4 * FLUSH_TIMEOUT, "{:?}", began.elapsed());
        drop(blocked);
        // The queue is full, so there is no room for the request to flush yet.
        while OVERHEAD < writer.counts.queued.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        writer.write_all(b"after\n").expect("it takes all");
        let text = loop {
            writer.finish();
            let text = String::from_utf8(sink.0.lock().expect("nobody panicked").clone()).expect("it is text");
            if text.contains("after") {
                break text;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the last line is not written");
        };
        assert!(text.starts_with("line 0\n") && text.contains("lines of the log were lost"), "{}", &text[..100]);
        let written = text.lines().filter(|line| line.starts_with("line ")).count();
        assert!((MOST_LINES..2 * MOST_LINES).contains(&written), "{written}");
    }

    #[test]
    fn queued_lines_of_any_size_take_at_most_a_mebibyte() {
        let sink = Sink::default();
        let mut writer = NonBlocking::new(sink.clone());
        let blocked = sink.0.lock().expect("nobody panicked");
        let line = vec![b'x'; 31_000];
        for _ in 0..1_000 {
            writer.write_all(&line).expect("it takes all");
        }
        let queued = writer.counts.queued.load(Ordering::Relaxed);
        assert!((MOST_BYTES - 2 * line.len()..=MOST_BYTES).contains(&queued), "{queued}");
        assert!(900 < writer.counts.lost.load(Ordering::Relaxed));
        drop(blocked);
        let began = std::time::Instant::now();
        while writer.counts.queued.load(Ordering::Relaxed) != 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "it is not written");
            thread::yield_now();
        }
        // The count of lost lines follows the first line that is written.
        let written = sink.0.lock().expect("nobody panicked").clone();
        assert!(String::from_utf8_lossy(&written).contains("the reader of the log is too slow\n"));
    }
}
