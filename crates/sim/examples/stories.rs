//! Writes the stories of `tests/stories/` again: `cargo run --example stories`, or `just stories`.

#[path = "../tests/stories/mod.rs"]
mod stories;

use std::process::ExitCode;

use stories::{Story, all_stories, seed_of};

/// Seeds that are tried for a story that its own seed no longer tells; the shortest of the first that do is kept.
const SEEDS: u64 = 20_000;
/// How many that tell it are compared.
const ENOUGH: usize = 40;

fn main() -> ExitCode {
    let mut all = true;
    for story in all_stories() {
        match seed(story) {
            Some(seed) => {
                let text = story.text(seed, &story.play(seed));
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

/// The seed that is kept if it still tells the story, else the one with the shortest telling.
fn seed(story: &Story) -> Option<u64> {
    let kept = std::fs::read_to_string(story.path()).ok().and_then(|text| seed_of(&text));
    let tells = |seed: &u64| story.is_told_by(&story.play(*seed));
    kept.filter(tells).or_else(|| (0..SEEDS).filter(tells).take(ENOUGH).min_by_key(|seed| story.play(*seed).trace.len()))
}
