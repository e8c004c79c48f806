//! What may happen to bytes.

use proptest::{prelude::*, sample::Index};

/// Numbers at which counters and lengths end, or change their sign.
const EXTREMES: [u64; 8] = [0, 1, 0x7f, 0xffff_ffff, 1 << 40, i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX];

/// One thing that is done to bytes; places are anywhere within them.
#[derive(Debug, Clone)]
pub enum Mangling {
    Flip {
        at: Index,
        bit: u8,
    },
    Cut {
        at: Index,
        length: usize,
    },
    CutOff {
        at: Index,
    },
    Insert {
        at: Index,
        bytes: Vec<u8>,
    },
    Swap {
        one: Index,
        other: Index,
    },
    /// Some bytes come many times.
    Lengthen {
        at: Index,
        length: usize,
        times: usize,
    },
    /// A number in digits becomes another one.
    Number {
        at: Index,
        to: u64,
    },
    /// Eight bytes become a number: a length that lies.
    Length {
        at: Index,
        to: u64,
    },
}

impl Mangling {
    pub fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let count = bytes.len();
        match self {
            Self::Flip { at, bit } => bytes[at.index(count)] ^= 1 << bit,
            Self::Cut { at, length } => drop(bytes.drain(range(*at, *length, count))),
            Self::CutOff { at } => bytes.truncate(at.index(count)),
            Self::Insert { at, bytes: more } => {
                let at = at.index(count + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Swap { one, other } => bytes.swap(one.index(count), other.index(count)),
            Self::Lengthen { at, length, times } => {
                let range = range(*at, *length, count);
                let more = bytes[range.clone()].repeat(*times);
                bytes.splice(range.end..range.end, more);
            }
            Self::Number { at, to } => {
                let from = at.index(count);
                let Some(start) = (from..count).find(|at| bytes[*at].is_ascii_digit()) else { return };
                let end = (start..count).find(|at| !bytes[*at].is_ascii_digit()).unwrap_or(count);
                bytes.splice(start..end, to.to_string().into_bytes());
            }
            Self::Length { at, to } => {
                let range = range(*at, size_of::<u64>(), count);
                let to = to.to_le_bytes();
                bytes.splice(range, to);
            }
        }
    }
}

fn range(at: Index, length: usize, count: usize) -> std::ops::Range<usize> {
    let at = at.index(count);
    at..(at + length).min(count)
}

fn mangling() -> impl Strategy<Value = Mangling> {
    let at = || any::<Index>();
    let piece = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 1..8),
        1 => prop::sample::select(vec![&b"\0"[..], b"\"", b"{", b"]", b"\n", b"null", b"-1", b"1e999", "ä".as_bytes()])
            .prop_map(<[u8]>::to_vec),
    ];
    prop_oneof![
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Mangling::Flip { at, bit }),
        2 => (at(), 1_usize..20).prop_map(|(at, length)| Mangling::Cut { at, length }),
        1 => at().prop_map(|at| Mangling::CutOff { at }),
        2 => (at(), piece).prop_map(|(at, bytes)| Mangling::Insert { at, bytes }),
        1 => (at(), at()).prop_map(|(one, other)| Mangling::Swap { one, other }),
        1 => (at(), 1_usize..40, 1_usize..200)
            .prop_map(|(at, length, times)| Mangling::Lengthen { at, length, times }),
        2 => (at(), prop::sample::select(EXTREMES.to_vec())).prop_map(|(at, to)| Mangling::Number { at, to }),
        1 => (at(), prop::sample::select(EXTREMES.to_vec())).prop_map(|(at, to)| Mangling::Length { at, to }),
    ]
}

/// Some of the `valid` ones, mangled one to three times.
pub fn mangled(valid: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(valid), prop::collection::vec(mangling(), 1..4)).prop_map(|(mut bytes, manglings)| {
        manglings.iter().for_each(|mangling| mangling.apply(&mut bytes));
        bytes
    })
}
