//! Writes the stories of `tests/stories/`: `cargo run --example stories`, or `just stories`.

#[path = "../tests/stories/mod.rs"]
mod stories;

use std::process::ExitCode;

use stories::{Story, all_stories, seed_of};

/// How many seeds are tried for a story whose own seed no longer shows it. The shortest of the first matches is kept.
const SEEDS: u64 = 20_000;
/// How many matching seeds are compared.
const ENOUGH: usize = 40;

fn main() -> ExitCode {
    let mut all = true;
    for story in all_stories() {
        match seed(story) {
            Some(seed) => {
                let text = story.text(seed, &story.run(seed));
                let news =
                    std::fs::read_to_string(story.path()).map_or("new", |old| if old == text { "same" } else { "changed" });
                println!("{:<20} seed {seed:<6} {news}", story.name);
                if let Err(why) = std::fs::write(story.path(), text) {
                    eprintln!("{}: {why}", story.path().display());
                    all = false;
                }
            }
            None => {
                println!("{:<20} no seed below {SEEDS} tells it", story.name);
                all = false;
            }
        }
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The kept seed if it still shows the story, else the seed with the shortest trace.
fn seed(story: &Story) -> Option<u64> {
    let kept = std::fs::read_to_string(story.path()).ok().and_then(|text| seed_of(&text));
    let shows = |seed: &u64| story.is_shown_by(&story.run(*seed));
    kept.filter(shows).or_else(|| (0..SEEDS).filter(shows).take(ENOUGH).min_by_key(|seed| story.run(*seed).trace.len()))
}
