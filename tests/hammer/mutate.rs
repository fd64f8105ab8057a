//! Makes bad inputs out of good ones: a few blows with a hammer, all of them chosen by a seed.

/// A small generator of numbers (SplitMix64): the same seed gives the same inputs on every machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    /// Any number.
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % (end.max(1) as u64)).expect("it is below a usize")
    }

    /// One of them.
    pub(crate) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What parsers are known to stumble over.
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

/// The largest input that is made, so that a run is about parsing and not about copying.
const LARGEST: usize = 64 * 1024;

/// One bad input, out of one or two good ones.
pub(crate) fn mutate(luck: &mut Luck, good: &[Vec<u8>]) -> Vec<u8> {
    let mut input = luck.one_of(good).clone();
    // Mostly a single blow: an input with many is refused at the first.
    let blows = 1 + luck.below(8).saturating_sub(4);
    for _ in 0..blows {
        strike(luck, &mut input, good);
    }
    input.truncate(LARGEST);
    input
}

fn strike(luck: &mut Luck, input: &mut Vec<u8>, good: &[Vec<u8>]) {
    let at = luck.below(input.len() + 1);
    let end = (at + 1 + luck.below(40)).min(input.len());
    match luck.below(12) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..end)),
        2 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << luck.below(8);
            }
        }
        3 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = luck.number().to_le_bytes()[0];
            }
        }
        4 | 5 => {
            let fragment: &&[u8] = luck.one_of(FRAGMENTS);
            insert(input, at, fragment);
        }
        6 => drop(input.splice(at..end, luck.one_of(FRAGMENTS).iter().copied())),
        7 => {
            let again = input[at..end].to_vec();
            insert(input, luck.below(input.len() + 1), &again);
        }
        8 => {
            let other = luck.one_of(good);
            let from = luck.below(other.len());
            let to = (from + 1 + luck.below(200)).min(other.len());
            insert(input, at, &other[from..to]);
        }
        9 => swap_strings(luck, input),
        10 => {
            let times = 1 << luck.below(12);
            let fragment = luck.one_of(FRAGMENTS).repeat(times);
            insert(input, at, &fragment);
        }
        _ => give_a_field_twice(luck, input),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, what: &[u8]) {
    input.splice(at..at, what.iter().copied());
}

/// Where the strings of a JSON text lie, by its quotes alone.
fn strings(input: &[u8]) -> Vec<(usize, usize)> {
    let quotes: Vec<usize> = input.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at).collect();
    quotes.chunks_exact(2).map(|pair| (pair[0], pair[1] + 1)).collect()
}

/// Puts one string in another's place: valid JSON with the wrong thing in it.
fn swap_strings(luck: &mut Luck, input: &mut Vec<u8>) {
    let strings = strings(input);
    if strings.is_empty() {
        return;
    }
    let (from, to) = *luck.one_of(&strings);
    let what = input[from..to].to_vec();
    let (from, to) = *luck.one_of(&strings);
    input.splice(from..to, what);
}

/// Repeats a key with another value, right before it.
fn give_a_field_twice(luck: &mut Luck, input: &mut Vec<u8>) {
    let strings = strings(input);
    if strings.is_empty() {
        return;
    }
    let (from, to) = *luck.one_of(&strings);
    let (other, end) = *luck.one_of(&strings);
    let mut what = input[from..to].to_vec();
    what.push(b':');
    what.extend_from_slice(&input[other..end]);
    what.push(b',');
    insert(input, from, &what);
}
