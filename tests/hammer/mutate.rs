//! Makes invalid inputs from valid ones by a few random mutations. The seed determines all of them.

/// A small random number generator (SplitMix64). The same seed gives the same inputs on every machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0 if `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % (end.max(1) as u64)).expect("it is below a usize")
    }

    /// One of these items.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Fragments that often break parsers.
const FRAGMENTS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b":",
    b",",
    b"null",
    b"true",
    b"-1",
    b"0",
    b"1e309",
    b"-0.0",
    b"9223372036854775808",
    b"18446744073709551616",
    b"\\u0000",
    b"\\ud800",
    b"\\u0041",
    b"\\",
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xc0\x80",
    b"{}",
    b"[]",
    b"\"\"",
    b"{\"\":",
    b"[[[[[[[[[[[[[[[[",
    b"<",
    b">",
    b"&amp;",
    b"<![CDATA[",
    b"<!--",
    b"<!DOCTYPE x [",
    b"%00",
    b"..",
    b" ",
    b"\t",
    b"i-",
    b"arn:",
    b"autoscaling:TEST_NOTIFICATION",
    b"autoscaling:EC2_INSTANCE_TERMINATING",
    b"autoscaling:EC2_INSTANCE_LAUNCHING",
    b"\"Records\":",
    b"\"detail-type\":",
    b"\"Event\":",
    b"1h",
    b"ns",
    b"-",
    b"0001-01-01T00:00:00Z",
];

/// The largest input, so that a run spends its time on parsing and not on copying.
const LARGEST: usize = 64 * 1024;

/// A mutated input, made from one or two valid ones.
pub(crate) fn mutate(rng: &mut Rng, good: &[Vec<u8>]) -> Vec<u8> {
    let mut input = rng.one_of(good).clone();
    // Mostly a single mutation: an input with many is refused at the first one.
    let mutations = 1 + rng.below(8).saturating_sub(4);
    for _ in 0..mutations {
        mutate_once(rng, &mut input, good);
    }
    input.truncate(LARGEST);
    input
}

fn mutate_once(rng: &mut Rng, input: &mut Vec<u8>, good: &[Vec<u8>]) {
    let at = rng.below(input.len() + 1);
    let end = (at + 1 + rng.below(40)).min(input.len());
    match rng.below(12) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        3 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = rng.number().to_le_bytes()[0];
            }
        }
        4 | 5 => {
            let fragment: &&[u8] = rng.one_of(FRAGMENTS);
            insert(input, at, fragment);
        }
        6 => drop(input.splice(at..end, rng.one_of(FRAGMENTS).iter().copied())),
        7 => {
            let again = input[at..end].to_vec();
            insert(input, rng.below(input.len() + 1), &again);
        }
        8 => {
            let other = rng.one_of(good);
            let from = rng.below(other.len());
            let to = (from + 1 + rng.below(200)).min(other.len());
            insert(input, at, &other[from..to]);
        }
        9 => swap_strings(rng, input),
        10 => {
            let times = 1 << rng.below(12);
            let fragment = rng.one_of(FRAGMENTS).repeat(times);
            insert(input, at, &fragment);
        }
        _ => repeat_key(rng, input),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    input.splice(at..at, what.iter().copied());
}

/// The positions of the strings in a JSON text, found by their quotes.
fn strings(input: &[u8]) -> Vec<(usize, usize)> {
    let quotes: Vec<usize> = input.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at).collect();
    quotes.chunks_exact(2).map(|pair| (pair[0], pair[1] + 1)).collect()
}

/// Replaces one string by another, which gives valid JSON with a wrong value.
fn swap_strings(rng: &mut Rng, input: &mut Vec<u8>) {
    let strings = strings(input);
    if strings.is_empty() {
        return;
    }
    let (from, to) = *rng.one_of(&strings);
    let what = input[from..to].to_vec();
    let (from, to) = *rng.one_of(&strings);
    input.splice(from..to, what);
}

/// Inserts a key with another value before the same key.
fn repeat_key(rng: &mut Rng, input: &mut Vec<u8>) {
    let strings = strings(input);
    if strings.is_empty() {
        return;
    }
    let (from, to) = *rng.one_of(&strings);
    let (other, end) = *rng.one_of(&strings);
    let mut what = input[from..to].to_vec();
    what.push(b':');
    what.extend_from_slice(&input[other..end]);
    what.push(b',');
    insert(input, from, &what);
}
