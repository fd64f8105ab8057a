//! The Lambda: event in, answer out, nothing else.

fn main() {}
