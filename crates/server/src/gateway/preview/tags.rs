//! Reads the tags of a page as it streams by, and changes what is asked for.
//!
//! A pure reader: bytes in, bytes out, whatever the cut. Only a tag that is not whole yet is held
//! back, up to [`MAX_TAG`]. Comments, scripts and styles pass as they are. Bytes need not be UTF-8:
//! what is looked for is ASCII, and everything else stays what it is.

use std::ops::Range;

/// The longest tag that is looked at, in bytes. Longer ones hold a file in an attribute.
const MAX_TAG: usize = 64 * 1024;
/// Elements whose content is text, whatever it looks like.
const RAW: [&str; 5] = ["script", "style", "textarea", "title", "xmp"];

/// What is done with a page.
pub(super) trait Change {
    /// Text that is not white space comes, outside of every tag.
    fn text(&mut self, out: &mut Vec<u8>);
    /// A begin tag comes: writes it, changed or not.
    fn tag(&mut self, tag: &Tag<'_>, out: &mut Vec<u8>);
    /// The page says that it is a document.
    fn doctype(&mut self);
}

/// A begin tag.
#[derive(Debug)]
pub(super) struct Tag<'a> {
    /// All of it, from `<` to `>`.
    pub(super) bytes: &'a [u8],
    name: Range<usize>,
    attributes: Vec<Attribute>,
}

#[derive(Debug)]
struct Attribute {
    name: Range<usize>,
    /// Without its quotes; empty when there is none.
    value: Range<usize>,
}

impl Tag<'_> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.bytes[self.name.clone()].eq_ignore_ascii_case(name.as_bytes())
    }

    /// An attribute's value, as it is written.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.attributes.iter().find(|attribute| self.is_named(attribute, name));
        found.map(|attribute| &self.bytes[attribute.value.clone()])
    }

    fn is_named(&self, attribute: &Attribute, name: &str) -> bool {
        self.bytes[attribute.name.clone()].eq_ignore_ascii_case(name.as_bytes())
    }

    /// Writes the tag with other values for some attributes.
    pub(super) fn write(&self, out: &mut Vec<u8>, mut change: impl FnMut(&[u8], &[u8]) -> Option<Vec<u8>>) {
        let mut done = 0;
        for attribute in &self.attributes {
            let value = attribute.value.clone();
            let name = self.bytes[attribute.name.clone()].to_ascii_lowercase();
            if let Some(other) = change(&name, &self.bytes[value.clone()]) {
                out.extend_from_slice(&self.bytes[done..value.start]);
                out.extend_from_slice(&other);
                done = value.end;
            }
        }
        out.extend_from_slice(&self.bytes[done..]);
    }
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Text,
    /// Until `-->`.
    Comment,
    /// Until the end tag of this element.
    Raw(&'static str),
    /// In a tag that is too long: until its end, or what looks like it.
    Long,
}

/// The reader.
#[derive(Debug, Default)]
pub(super) struct Tags {
    state: State,
    held: Vec<u8>,
}

impl Tags {
    /// Takes bytes in, and writes what is clear.
    pub(super) fn push(&mut self, bytes: &[u8], change: &mut impl Change, out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut rest = &held[..];
        while let Some(used) = self.step(rest, change, out) {
            rest = &rest[used..];
        }
        self.held = rest.to_vec();
    }

    /// Nothing follows: what was held back is no tag.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    /// Writes one piece; answers its length. None when more bytes are needed.
    fn step(&mut self, rest: &[u8], change: &mut impl Change, out: &mut Vec<u8>) -> Option<usize> {
        if rest.is_empty() {
            return None;
        }
        match self.state {
            State::Text => self.text(rest, change, out),
            State::Comment => self.until(rest, find(rest, b"-->").map(|at| at + 3), 2, out),
            State::Raw(name) => self.until(rest, end_tag(rest, name), name.len() + 2, out),
            State::Long => self.until(rest, find(rest, b">").map(|at| at + 1), 0, out),
        }
    }

    /// Passes everything until `end`; without it, all but the last bytes, which may begin it.
    fn until(&mut self, rest: &[u8], end: Option<usize>, kept: usize, out: &mut Vec<u8>) -> Option<usize> {
        if end.is_some() {
            self.state = State::Text;
        }
        let passed = end.unwrap_or(rest.len().saturating_sub(kept));
        out.extend_from_slice(&rest[..passed]);
        (passed > 0 || end.is_some()).then_some(passed)
    }

    fn text(&mut self, rest: &[u8], change: &mut impl Change, out: &mut Vec<u8>) -> Option<usize> {
        let begin = find(rest, b"<").unwrap_or(rest.len());
        if begin > 0 {
            if !rest[..begin].iter().all(u8::is_ascii_whitespace) {
                change.text(out);
            }
            out.extend_from_slice(&rest[..begin]);
            return Some(begin);
        }
        if rest.starts_with(b"<!--") {
            self.state = State::Comment;
            // `<!-->` is a whole one.
            out.extend_from_slice(&rest[..2]);
            return Some(2);
        }
        if b"<!--".starts_with(rest) {
            return None;
        }
        let length = match rest[1] {
            b'a'..=b'z' | b'A'..=b'Z' => {
                if let Some(tag) = parse(rest) {
                    change.tag(&tag, out);
                    if let Some(name) = RAW.into_iter().find(|name| tag.is(name)) {
                        self.state = State::Raw(name);
                    }
                    return Some(tag.bytes.len());
                }
                None
            }
            b'/' | b'!' | b'?' => {
                let end = find(rest, b">").map(|at| at + 1);
                let begin = rest.get(..9).unwrap_or_default();
                if end.is_some() && begin.eq_ignore_ascii_case(b"<!doctype") {
                    change.doctype();
                }
                end
            }
            _ => Some(1),
        };
        match length {
            Some(length) => {
                out.extend_from_slice(&rest[..length]);
                Some(length)
            }
            None if rest.len() > MAX_TAG => {
                self.state = State::Long;
                Some(0)
            }
            None => None,
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// Where the end tag of an element begins.
fn end_tag(bytes: &[u8], name: &str) -> Option<usize> {
    let length = name.len() + 2;
    bytes.windows(length + 1).position(|window| {
        window.starts_with(b"</")
            && window[2..length].eq_ignore_ascii_case(name.as_bytes())
            && matches!(window[length], b'>' | b'/' | b' ' | b'\t' | b'\n' | b'\r' | 0x0c)
    })
}

/// The begin tag that bytes begin with, if it is whole.
fn parse(bytes: &[u8]) -> Option<Tag<'_>> {
    let skip = |mut at: usize, passes: &dyn Fn(u8) -> bool| {
        while passes(*bytes.get(at)?) {
            at += 1;
        }
        Some(at)
    };
    let end_of_name = skip(1, &|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>'))?;
    let (name, mut at) = (1..end_of_name, end_of_name);
    let mut attributes = Vec::new();
    loop {
        at = skip(at, &|byte| byte.is_ascii_whitespace() || byte == b'/')?;
        if bytes[at] == b'>' {
            let bytes = &bytes[..=at];
            return Some(Tag {
                bytes,
                name,
                attributes,
            });
        }
        // An equals sign that begins a name is part of it.
        let end = skip(at + 1, &|byte| {
            !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>' | b'=')
        })?;
        let name = at..end;
        at = skip(end, &|byte| byte.is_ascii_whitespace())?;
        let mut value = end..end;
        if bytes[at] == b'=' {
            at = skip(at + 1, &|byte| byte.is_ascii_whitespace())?;
            let quote = bytes[at];
            if matches!(quote, b'"' | b'\'') {
                let end = skip(at + 1, &|byte| byte != quote)?;
                value = at + 1..end;
                at = end + 1;
            } else {
                let end = skip(at, &|byte| !byte.is_ascii_whitespace() && byte != b'>')?;
                value = at..end;
                at = end;
            }
        }
        attributes.push(Attribute { name, value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it sees, and writes every `src` in capitals.
    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Change for Seen {
        fn text(&mut self, _: &mut Vec<u8>) {
            self.0.push("text".to_owned());
        }

        fn tag(&mut self, tag: &Tag<'_>, out: &mut Vec<u8>) {
            self.0
                .push(String::from_utf8_lossy(&tag.bytes[tag.name.clone()]).into_owned());
            tag.write(out, |name, value| (name == b"src").then(|| value.to_ascii_uppercase()));
        }

        fn doctype(&mut self) {}
    }

    fn read(parts: &[&[u8]]) -> (String, String) {
        let (mut tags, mut seen, mut out) = (Tags::default(), Seen::default(), Vec::new());
        for part in parts {
            tags.push(part, &mut seen, &mut out);
        }
        tags.end(&mut out);
        seen.0.dedup();
        (String::from_utf8_lossy(&out).into_owned(), seen.0.join(" "))
    }

    const PAGE: &[u8] = b"<!DOCTYPE html><!-- <img src=a> --><html\nlang=en>\n<head><title><img src=b></title>\
        <script SRC=c>if (1<2) '<img src=d>'</script ><img alt=\"a>b\" src='e'><img/src=f/><p>1 < 2 \xff</p><a =x src = g>";

    #[test]
    fn any_cut_gives_the_same_page() {
        let expected = String::from_utf8_lossy(PAGE)
            .replace("SRC=c", "SRC=C")
            .replace("src='e'", "src='E'")
            .replace("src=f/", "src=F/")
            .replace("src = g", "src = G");
        let seen = "html head title script img p text a";
        assert_eq!(read(&[PAGE]), (expected.clone(), seen.to_owned()));
        for cut in 0..PAGE.len() {
            let (page, _) = read(&[&PAGE[..cut], &PAGE[cut..]]);
            assert_eq!(page, expected, "{cut}");
        }
        let bytes: Vec<&[u8]> = PAGE.chunks(1).collect();
        assert_eq!(read(&bytes).0, expected);
    }

    #[test]
    fn what_does_not_end_is_kept() {
        for page in [
            "<",
            "<!",
            "<!-",
            "<img src=a",
            "<img src=\"a>",
            "<!--><img src=a",
            "</",
            "<script>x</scrip",
            "a<",
        ] {
            assert_eq!(read(&[page.as_bytes()]).0, page);
        }
    }

    #[test]
    fn a_tag_that_is_too_long_passes() {
        let page = format!("<img alt='{}' src=a><img src=b>", "x".repeat(2 * MAX_TAG));
        let parts: Vec<&[u8]> = page.as_bytes().chunks(1000).collect();
        assert_eq!(read(&parts).0, page.replace("src=b", "src=B"));
    }

    #[test]
    fn an_empty_comment_ends_at_once() {
        assert_eq!(read(&[b"<!--><img src=a>"]).0, "<!--><img src=A>");
    }
}
