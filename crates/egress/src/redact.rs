//! Takes a credential out of what comes back.
//!
//! A provider that refuses a key may repeat it, whole, in its answer. What a sandbox is told goes into
//! its memory, its journal, the record and the page, so the gateway lets no answer through that holds
//! the key. Each byte of it becomes an asterisk: lengths stay what they were said to be.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

/// The shortest key that is looked for. Servers without keys of their own are given a word ("none",
/// "dummy"), and words are what models answer in.
const MIN_LENGTH: usize = 16;
const MASK: u8 = b'*';

/// Looks for a key in a stream of bytes.
pub(crate) struct Redactor {
    key: SecretString,
    /// The end of what came so far, if the key may begin in it.
    held: Vec<u8>,
}

impl Redactor {
    /// None when there is nothing to look for.
    pub(crate) fn new(key: &SecretString) -> Option<Self> {
        (key.expose_secret().len() >= MIN_LENGTH).then(|| Self {
            key: key.clone(),
            held: Vec::new(),
        })
    }

    /// What of the stream can be passed on with the next of its bytes.
    pub(crate) fn push(&mut self, bytes: Bytes) -> Bytes {
        let key = self.key.expose_secret().as_bytes();
        // Nearly always.
        if self.held.is_empty() && find(&bytes, key).is_none() && begun(&bytes, key) == 0 {
            return bytes;
        }
        let mut text = std::mem::take(&mut self.held);
        text.extend_from_slice(&bytes);
        mask(&mut text, key);
        self.held = text.split_off(text.len() - begun(&text, key));
        text.into()
    }

    /// What is left at the end: no whole key.
    pub(crate) fn end(&mut self) -> Bytes {
        std::mem::take(&mut self.held).into()
    }

    /// How many bytes are held back.
    pub(crate) fn held(&self) -> u64 {
        self.held.len() as u64
    }

    /// Takes the key out of the values of headers.
    pub(crate) fn headers(&self, headers: &mut HeaderMap) {
        let key = self.key.expose_secret().as_bytes();
        for value in headers.values_mut() {
            let mut text = value.as_bytes().to_vec();
            if mask(&mut text, key)
                && let Ok(masked) = HeaderValue::from_bytes(&text)
            {
                *value = masked;
            }
        }
    }
}

/// Whether there was anything to mask.
fn mask(text: &mut [u8], key: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = find(&text[from..], key) {
        text[from + at..][..key.len()].fill(MASK);
        from += at + key.len();
    }
    from > 0
}

fn find(text: &[u8], key: &[u8]) -> Option<usize> {
    text.windows(key.len()).position(|window| window == key)
}

/// How many bytes at the end of a text may be the beginning of the key.
fn begun(text: &[u8], key: &[u8]) -> usize {
    let most = text.len().min(key.len() - 1);
    (1..=most)
        .rev()
        .find(|length| text.ends_with(&key[..*length]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-sk-sk-topsecret-sk";

    fn passed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut redactor = Redactor::new(&KEY.into()).unwrap();
        let mut passed = Vec::new();
        for piece in pieces {
            passed.extend_from_slice(&redactor.push(Bytes::copy_from_slice(piece)));
        }
        passed.extend_from_slice(&redactor.end());
        passed
    }

    #[test]
    fn a_key_is_masked_wherever_it_is_cut() {
        let text = format!("sk-{KEY}{KEY} and sk-sk-topsecret, then {KEY}sk-sk");
        let expected = text.replace(KEY, &"*".repeat(KEY.len()));
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(passed(&pieces), expected.as_bytes(), "cut at {first} and {second}");
            }
        }
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(passed(&single), expected.as_bytes());
    }

    #[test]
    fn what_holds_no_key_is_passed_on_at_once() {
        let mut redactor = Redactor::new(&KEY.into()).unwrap();
        assert_eq!(redactor.push(Bytes::from_static(b"data: hello\n\n")), "data: hello\n\n");
        assert_eq!(redactor.push(Bytes::from_static(b"data: sk")), "data: ");
        assert_eq!(redactor.push(Bytes::from_static(b"ip\n\n")), "skip\n\n");
    }

    #[test]
    fn words_are_no_keys() {
        assert!(Redactor::new(&"none".into()).is_none());
        assert!(Redactor::new(&"0123456789abcdef".into()).is_some());
    }

    #[test]
    fn headers_are_masked() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_str(&format!("Bearer {KEY}")).unwrap());
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        Redactor::new(&KEY.into()).unwrap().headers(&mut headers);
        assert_eq!(headers["x-echo"], format!("Bearer {}", "*".repeat(KEY.len())).as_str());
        assert_eq!(headers["content-type"], "text/plain");
    }
}
