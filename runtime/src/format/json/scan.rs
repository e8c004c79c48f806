//! The grammar: a cursor over one record, which is known to be UTF-8.

/// Why a record does not fit, for people.
#[derive(Debug)]
pub(super) struct Wrong(pub String);

pub(super) type Parse<T> = Result<T, Wrong>;

/// Objects and arrays in each other, at most, in a field that is skipped.
const DEPTH: u32 = 128;

#[derive(Debug)]
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    #[inline]
    pub(super) fn blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let eaten = self.peek() == Some(byte);
        self.at += usize::from(eaten);
        eaten
    }

    /// Eats `literal` if it stands here.
    #[inline]
    pub(super) fn eat_all(&mut self, literal: &[u8]) -> bool {
        let eaten = self.text.get(self.at..).is_some_and(|rest| begins(rest, literal));
        if eaten {
            self.at += literal.len();
        }
        eaten
    }

    #[cold]
    pub(super) fn expected(&self, what: &str) -> Wrong {
        match self.text.get(self.at..).filter(|rest| !rest.is_empty()) {
            None => Wrong(format!("expected {what}, found the end of the record")),
            Some(rest) => Wrong(format!("expected {what} at byte {}, found `{}`", self.at, excerpt(rest))),
        }
    }

    /// The text of a string without its quotes. Borrowed from the record when nothing in it is escaped, else written to
    /// `scratch`.
    #[inline]
    pub(super) fn string<'s>(&mut self, scratch: &'s mut Vec<u8>) -> Parse<&'s [u8]>
    where
        'a: 's,
    {
        if !self.eat(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        self.at = plain_end(self.text, start);
        let plain = self.text.get(start..self.at).unwrap_or_default();
        if self.eat(b'"') {
            return Ok(plain);
        }
        scratch.clear();
        scratch.extend_from_slice(plain);
        self.escaped(Some(&mut *scratch))?;
        Ok(scratch)
    }

    /// The rest of a string from its first character that needs a look, up to and with the closing quote.
    fn escaped(&mut self, mut out: Option<&mut Vec<u8>>) -> Parse<()> {
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(out.as_deref_mut())?;
                }
                Some(byte) if byte < 0x20 => return Err(self.expected("no control character in a string")),
                Some(_) => {}
                None => return Err(self.expected("the end of a string")),
            }
            let start = self.at;
            self.at = plain_end(self.text, start);
            if let Some(out) = &mut out {
                out.extend_from_slice(self.text.get(start..self.at).unwrap_or_default());
            }
        }
    }

    fn escape(&mut self, out: Option<&mut Vec<u8>>) -> Parse<()> {
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                self.at += 1;
                let first = self.hex()?;
                let Some(out) = out else { return Ok(()) };
                let code = match first {
                    0xD800..=0xDBFF if self.eat_all(b"\\u") => match self.hex()? {
                        second @ 0xDC00..=0xDFFF => 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                        _ => return Err(self.expected("a pair of surrogates before this")),
                    },
                    other => other,
                };
                let letter = char::from_u32(code).ok_or_else(|| self.expected("no lone surrogate before this"))?;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(self.expected("an escape sequence")),
        };
        self.at += 1;
        if let Some(out) = out {
            out.push(plain);
        }
        Ok(())
    }

    fn hex(&mut self) -> Parse<u32> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.expected("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(value)
    }

    /// The digits standing here.
    #[inline]
    pub(super) fn digits(&mut self) -> &'a [u8] {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default()
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was read since `start`.
    pub(super) fn since(&self, start: usize) -> &'a [u8] {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Goes over one value of any kind, checking the grammar.
    pub(super) fn skip(&mut self) -> Parse<()> {
        // One bit a level: 1 = object, 0 = array.
        let (mut levels, mut depth) = (0_u128, 0_u32);
        loop {
            match self.peek() {
                Some(b'"') => self.skip_string()?,
                Some(b'-' | b'0'..=b'9') => super::number::skip(self)?,
                Some(open @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.blanks();
                    let object = open == b'{';
                    if !self.eat(if object { b'}' } else { b']' }) {
                        if depth == DEPTH {
                            return Err(self.expected("at most 128 objects and arrays in each other"));
                        }
                        depth += 1;
                        levels = levels << 1 | u128::from(object);
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                }
                _ if self.eat_all(b"null") || self.eat_all(b"true") || self.eat_all(b"false") => {}
                _ => return Err(self.expected("a value")),
            }
            // A value has ended: close what ends with it.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = levels & 1 == 1;
                self.blanks();
                if self.eat(b',') {
                    self.blanks();
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                if !self.eat(if object { b'}' } else { b']' }) {
                    return Err(self.expected(if object { "`,` or `}`" } else { "`,` or `]`" }));
                }
                levels >>= 1;
                depth -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Parse<()> {
        self.skip_string()?;
        self.blanks();
        if !self.eat(b':') {
            return Err(self.expected("`:`"));
        }
        self.blanks();
        Ok(())
    }

    fn skip_string(&mut self) -> Parse<()> {
        if !self.eat(b'"') {
            return Err(self.expected("a field name in quotes"));
        }
        self.at = plain_end(self.text, self.at);
        if self.eat(b'"') { Ok(()) } else { self.escaped(None) }
    }
}

/// The first place from `from` on where a string needs a look: a quote, a backslash, a control character, or the end.
/// Eight bytes at a time, by the usual trick for finding a byte in a word.
#[inline]
fn plain_end(text: &[u8], from: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut at = from;
    while let Some(chunk) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5c);
        let found = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let found = found & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).unwrap_or(rest.len())
}

/// Whether `text` begins with `literal`. As `starts_with`, with words in place of a call where the literal is as long as
/// names of fields mostly are: two that overlap in the middle.
#[inline]
fn begins(text: &[u8], literal: &[u8]) -> bool {
    fn ends_agree<const N: usize>(text: &[u8], literal: &[u8]) -> bool {
        text.first_chunk::<N>() == literal.first_chunk::<N>() && text.last_chunk::<N>() == literal.last_chunk::<N>()
    }
    let Some(text) = text.get(..literal.len()) else { return false };
    match literal.len() {
        8..=16 => ends_agree::<8>(text, literal),
        4..=7 => ends_agree::<4>(text, literal),
        _ => text == literal,
    }
}

/// The beginning of some text, for an error.
pub(super) fn excerpt(text: &[u8]) -> String {
    const LENGTH: usize = 40;
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::begins;

    #[test]
    fn a_literal_is_compared_to_its_last_byte() {
        for length in 0..40 {
            let literal: Vec<u8> = (0..length).collect();
            let text = [&literal[..], b"x"].concat();
            assert!(begins(&text, &literal) && begins(&literal, &literal));
            for other in 0..literal.len() {
                let mut text = text.clone();
                text[other] ^= 0x80;
                assert!(!begins(&text, &literal), "{length} bytes, the one at {other} differs");
                assert!(!begins(&literal[..other], &literal), "{length} bytes, {other} are there");
            }
        }
    }
}
