//! A writer of log lines that nobody waits for: a service that stands still because nobody reads its log loses requests.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait; beyond that they are counted and lost.
const MOST_WAITING: usize = 10_000;
/// Bytes of lines that wait. Whatever strangers have logged, this is all the memory that it takes.
const MOST_BYTES: usize = 1024 * 1024;
/// What a line that waits takes beside its text.
const BESIDE: usize = 64;
/// How long the end of the process waits for lines that are still to be written.
const LAST_LINES: Duration = Duration::from_millis(500);

/// Takes lines, and gives them to a thread that writes them.
#[derive(Debug, Clone)]
pub(super) struct Unhurried {
    lines: SyncSender<Line>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// Lines that were lost since that was last written.
    lost: AtomicU64,
    /// Bytes that wait.
    waiting: AtomicUsize,
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Nothing more comes: whoever asks is told when all before it is written.
    Last(SyncSender<()>),
}

impl Unhurried {
    /// Starts the thread.
    pub(super) fn new(sink: impl Write + Send + 'static) -> Self {
        let (sender, lines) = sync_channel(MOST_WAITING);
        let counts = Arc::<Counts>::default();
        let shared = Arc::clone(&counts);
        // It ends with the process: nobody may wait for a sink that blocks.
        drop(thread::spawn(move || write_all(sink, &lines, &shared)));
        Self { lines: sender, counts }
    }

    /// Waits a moment until what was said is written.
    pub(super) fn finish(&self) {
        let (written, is_written) = sync_channel(1);
        if self.lines.try_send(Line::Last(written)).is_ok() {
            is_written.recv_timeout(LAST_LINES).ok();
        }
    }
}

fn write_all(mut sink: impl Write, lines: &Receiver<Line>, counts: &Counts) {
    while let Ok(line) = lines.recv() {
        match line {
            Line::Text(text) => {
                // There is nobody to tell of a log that cannot be written.
                sink.write_all(&text).ok();
                counts.waiting.fetch_sub(text.len() + BESIDE, Ordering::Relaxed);
                let lost = counts.lost.swap(0, Ordering::Relaxed);
                if 0 < lost {
                    writeln!(sink, "{lost} lines of the log were lost: they were not read in time").ok();
                }
            }
            Line::Last(written) => {
                sink.flush().ok();
                written.send(()).ok();
            }
        }
    }
}

impl Write for Unhurried {
    /// One call is one line: that is how tracing's formatter writes.
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let bytes = text.len() + BESIDE;
        let fits = self.counts.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= MOST_BYTES;
        if !fits || self.lines.try_send(Line::Text(text.to_vec())).is_err() {
            self.counts.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Unhurried {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// A sink that blocks while somebody holds it.
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
    fn nobody_waits_for_a_sink_that_blocks_and_what_is_lost_is_told() {
        let sink = Sink::default();
        let mut writer = Unhurried::new(sink.clone());
        let blocked = sink.0.lock().expect("nobody panicked");
        let began = std::time::Instant::now();
        for number in 0..2 * MOST_WAITING {
            writer.write_all(format!("line {number}\n").as_bytes()).expect("it takes all");
        }
        writer.finish();
        assert!(began.elapsed() < 4 * LAST_LINES, "{:?}", began.elapsed());
        drop(blocked);
        // The queue is full of lines, so that room has to be made for the word to stop.
        while BESIDE < writer.counts.waiting.load(Ordering::Relaxed) {
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
        assert!((MOST_WAITING..2 * MOST_WAITING).contains(&written), "{written}");
    }

    #[test]
    fn lines_of_any_size_wait_in_no_more_than_a_mebibyte() {
        let sink = Sink::default();
        let mut writer = Unhurried::new(sink.clone());
        let blocked = sink.0.lock().expect("nobody panicked");
        let line = vec![b'x'; 31_000];
        for _ in 0..1_000 {
            writer.write_all(&line).expect("it takes all");
        }
        let waiting = writer.counts.waiting.load(Ordering::Relaxed);
        assert!((MOST_BYTES - 2 * line.len()..=MOST_BYTES).contains(&waiting), "{waiting}");
        assert!(900 < writer.counts.lost.load(Ordering::Relaxed));
        drop(blocked);
        let began = std::time::Instant::now();
        while writer.counts.waiting.load(Ordering::Relaxed) != 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "it is not written");
            thread::yield_now();
        }
        // It follows the first line that is written.
        let written = sink.0.lock().expect("nobody panicked").clone();
        assert!(String::from_utf8_lossy(&written).contains("they were not read in time\n"));
    }
}
