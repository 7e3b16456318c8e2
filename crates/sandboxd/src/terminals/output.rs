//! What a terminal has said, and how far each viewer is: pure, without tasks or clocks.
//!
//! The last [`RING`] bytes are kept under their absolute offsets. Viewers take at their own pace:
//!
//! - Without viewers the program never waits: what nobody reads is overwritten.
//! - With viewers it waits for the one that is furthest ahead ([`Output::wants_more`]), so that one
//!   reader gets every byte and a program can't outrun everybody. Others lag behind without
//!   holding anything up; one that is overtaken by the ring skips to near the end and is told so.
//! - When nobody takes anything for a while the caller gives up on them ([`Output::give_up`]):
//!   a page that sleeps must not stop a build. Each counts again when it takes again.
//!
//! Bytes from the middle of a stream mean nothing by themselves: the program may have switched to
//! the alternate screen long before, or be within a character. So a headless [`Screen`] follows the
//! output, and every [`STEP`] bytes a [`Mark`] keeps what brings any terminal to the screen at that
//! byte. The ring begins at a mark, and whoever does not go on where it was begins at one:
//!
//! ```text
//!        ring: mark ──────── mark ──────── mark ─────── end ◄─ screen
//!               ▲                           ▲
//!               a new viewer                a viewer that was overtaken
//! ```
//!
//! What a mark holds is no output of the program: it has no offset and a viewer does not count it.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut as _, Bytes, BytesMut};
use mistle_protocol::control::TerminalSize;

use super::screen::Screen;

/// Bytes kept of each terminal: tens of thousands of lines of scrollback.
pub(crate) const RING: usize = 2 * 1024 * 1024;
/// How far the first viewer may be behind before the program has to wait. This is also what a
/// person who presses Ctrl-C during a flood still has to see pass, so it is small.
const AHEAD: u64 = 256 * 1024;
/// The least from one mark to the next: so much is read again by a viewer that was overtaken, and
/// so much of the ring goes at once.
const STEP: usize = 128 * 1024;
/// The most that a viewer takes at once.
const CHUNK: usize = 32 * 1024;
const ESCAPE: u8 = 0x1b;
/// Viewers of one terminal.
pub(crate) const MAX_VIEWERS: usize = 32;

/// One viewer's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ViewerId(u64);

/// What a viewer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// What makes its screen look as this one did at the offset where it goes on. Not output.
    Screen(Bytes),
    /// The next bytes.
    Data(Bytes),
    /// Bytes are lost to this viewer; it goes on at this offset.
    Skipped(u64),
    /// It has everything.
    UpToDate,
}

/// A place where a viewer can begin.
#[derive(Clone, Debug, Default)]
struct Mark {
    at: u64,
    /// Brings any terminal to the screen before the byte `at`. Empty at the very beginning.
    screen: Bytes,
}

#[derive(Clone, Debug, Default)]
struct Viewer {
    at: u64,
    /// What it gets before the byte `at`.
    screen: Bytes,
    /// It took nothing for so long that nobody waits for it.
    given_up: bool,
}

/// The ring and its viewers.
#[derive(Debug)]
pub(crate) struct Output {
    ring: VecDeque<u8>,
    end: u64,
    /// At `end`.
    screen: Screen,
    /// The ring's start.
    first: Mark,
    /// Those within the ring, by offset.
    marks: VecDeque<Mark>,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: u64,
}

impl Output {
    /// Nothing yet, on a screen of this size.
    pub(crate) fn new(size: TerminalSize) -> Self {
        Self {
            ring: VecDeque::new(),
            end: 0,
            screen: Screen::new(size),
            first: Mark::default(),
            marks: VecDeque::new(),
            viewers: BTreeMap::new(),
            next_viewer: 0,
        }
    }

    /// How many bytes there have ever been.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// What follows was said to a screen of this size.
    pub(crate) fn resize(&mut self, size: TerminalSize) {
        self.screen.resize(size);
    }

    /// Adds what the program said.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(STEP) {
            while self.ring.len() + bytes.len() > RING {
                self.forget();
            }
            let last = self.last();
            // A long mark stands for as much output, so that all of them together are no longer
            // than the ring, and writing them costs no more than reading it.
            let due = last.at + STEP.max(last.screen.len()) as u64;
            let place = if self.end >= due + STEP as u64 {
                character(bytes)
            } else {
                beginning(bytes).filter(|place| self.end + *place as u64 >= due)
            };
            let (before, after) = bytes.split_at(place.unwrap_or_default());
            self.add(before);
            if place.is_some() {
                self.marks.push_back(self.here());
            }
            self.add(after);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.screen.feed(bytes);
        self.ring.extend(bytes);
        self.end += bytes.len() as u64;
    }

    /// Lets go of the ring up to the next mark. Output in which there was no place for one is no text,
    /// and goes at once.
    fn forget(&mut self) {
        let next = self.marks.pop_front().unwrap_or_else(|| self.here());
        self.ring.drain(..(next.at - self.first.at) as usize);
        self.first = next;
    }

    fn here(&self) -> Mark {
        Mark {
            at: self.end,
            screen: self.screen.restored(),
        }
    }

    fn last(&self) -> &Mark {
        self.marks.back().unwrap_or(&self.first)
    }

    /// A viewer that has everything before `offset`. None when there are too many; otherwise also
    /// from where it goes on, which is later when the ring no longer has `offset`: then it gets the
    /// screen that was there first.
    pub(crate) fn attach(&mut self, offset: u64) -> Option<(ViewerId, u64)> {
        if self.viewers.len() >= MAX_VIEWERS {
            return None;
        }
        let id = ViewerId(self.next_viewer);
        self.next_viewer += 1;
        let viewer = if offset < self.first.at {
            Viewer::at(&self.first)
        } else {
            Viewer {
                at: offset.min(self.end),
                ..Viewer::default()
            }
        };
        let at = viewer.at;
        self.viewers.insert(id, viewer);
        Some((id, at))
    }

    /// Forgets a viewer.
    pub(crate) fn detach(&mut self, id: ViewerId) {
        self.viewers.remove(&id);
    }

    /// Whether somebody looks.
    pub(crate) fn is_viewed(&self) -> bool {
        !self.viewers.is_empty()
    }

    /// The next bytes for a viewer.
    pub(crate) fn take(&mut self, id: ViewerId) -> Take {
        let (start, end) = (self.first.at, self.end);
        let last = self.marks.back().unwrap_or(&self.first);
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return Take::UpToDate;
        };
        viewer.given_up = false;
        if viewer.at < start {
            *viewer = Viewer::at(last);
            return Take::Skipped(viewer.at);
        }
        if !viewer.screen.is_empty() {
            let length = viewer.screen.len().min(CHUNK);
            return Take::Screen(viewer.screen.split_to(length));
        }
        if viewer.at == end {
            return Take::UpToDate;
        }
        let from = (viewer.at - start) as usize;
        let to = self.ring.len().min(from + CHUNK);
        viewer.at += (to - from) as u64;
        Take::Data(copy(&self.ring, from, to))
    }

    /// Whether the program's output should be read now.
    pub(crate) fn wants_more(&self) -> bool {
        let first = self
            .viewers
            .values()
            .filter(|viewer| !viewer.given_up)
            .map(|viewer| viewer.at)
            .max();
        first.is_none_or(|first| self.end - first < AHEAD)
    }

    /// Nobody has taken anything for too long: don't wait for those who are behind.
    pub(crate) fn give_up(&mut self) {
        let end = self.end;
        for viewer in self.viewers.values_mut().filter(|viewer| viewer.at < end) {
            viewer.given_up = true;
        }
    }
}

impl Viewer {
    fn at(mark: &Mark) -> Self {
        Self {
            at: mark.at,
            screen: mark.screen.clone(),
            given_up: false,
        }
    }
}

/// The last place in `bytes` where reading can begin: no character goes across it, and no sequence
/// that was begun before goes on after it. `ESC` ends every other one, and the ends of lines are not
/// within one.
fn beginning(bytes: &[u8]) -> Option<usize> {
    let escape = bytes.iter().rposition(|byte| *byte == ESCAPE);
    escape.or_else(|| Some(bytes.iter().rposition(|byte| *byte == b'\n')? + 1))
}

/// Where the last character in `bytes` begins: a place to begin in a line that does not end.
fn character(bytes: &[u8]) -> Option<usize> {
    bytes.iter().rposition(|byte| byte & 0xc0 != 0x80)
}

fn copy(ring: &VecDeque<u8>, from: usize, to: usize) -> Bytes {
    let (front, back) = ring.as_slices();
    let mut bytes = BytesMut::with_capacity(to - from);
    bytes.put_slice(&front[from.min(front.len())..to.min(front.len())]);
    bytes.put_slice(&back[from.saturating_sub(front.len())..to.saturating_sub(front.len())]);
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn output() -> Output {
        Output::new(TerminalSize { cols: 80, rows: 24 })
    }

    /// Bytes that tell their own offset.
    fn numbered(range: std::ops::Range<u64>) -> Vec<u8> {
        range.map(|offset| (offset % 251) as u8).collect()
    }

    fn drain(output: &mut Output, viewer: ViewerId) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match output.take(viewer) {
                Take::Data(bytes) => all.extend_from_slice(&bytes),
                Take::Screen(_) => assert!(all.is_empty(), "a screen within the output"),
                Take::Skipped(_) | Take::UpToDate => return all,
            }
        }
    }

    #[test]
    fn viewers_get_every_byte_from_their_offset() {
        let mut output = output();
        output.append(&numbered(0..100_000));
        let (late, from) = output.attach(70_000).unwrap();
        assert_eq!(from, 70_000);
        let (early, _) = output.attach(0).unwrap();
        output.append(&numbered(100_000..150_000));
        assert_eq!(drain(&mut output, late), numbered(70_000..150_000));
        assert_eq!(drain(&mut output, early), numbered(0..150_000));
        assert_eq!(output.take(early), Take::UpToDate);
    }

    #[test]
    fn the_ring_keeps_the_last_bytes_only() {
        let mut output = output();
        let total = RING as u64 * 2 + 12_345;
        for offset in (0..total).step_by(4096) {
            output.append(&numbered(offset..total.min(offset + 4096)));
        }
        let (viewer, from) = output.attach(7).unwrap();
        assert!(
            (total - RING as u64..total - (RING - STEP) as u64).contains(&from),
            "{from}"
        );
        assert_eq!(drain(&mut output, viewer), numbered(from..total));
        assert!(output.ring.capacity() <= RING, "{}", output.ring.capacity());
    }

    #[test]
    fn one_append_larger_than_the_ring_is_cut() {
        let mut output = output();
        output.append(&vec![1; RING + 5]);
        assert_eq!(output.end(), RING as u64 + 5);
        assert_eq!(output.first.at + output.ring.len() as u64, output.end());
        // A line without an end has fewer places to begin.
        assert!((RING / 2..=RING).contains(&output.ring.len()), "{}", output.ring.len());
    }

    #[test]
    fn an_offset_from_the_future_is_the_end() {
        let mut output = output();
        output.append(b"abc");
        assert_eq!(output.attach(99).unwrap().1, 3);
    }

    #[test]
    fn the_program_waits_for_the_first_viewer_only() {
        let mut output = output();
        let (slow, _) = output.attach(0).unwrap();
        let (fast, _) = output.attach(0).unwrap();
        for _ in 0..=RING as u64 / AHEAD {
            assert!(output.wants_more());
            output.append(&vec![b'x'; AHEAD as usize]);
            assert!(!output.wants_more());
            drain(&mut output, fast);
        }
        assert!(output.wants_more());
        let Take::Skipped(at) = output.take(slow) else {
            panic!("it was not overtaken")
        };
        assert!(output.end() - at <= 4 * STEP as u64, "{at} of {}", output.end());
        assert_eq!(drain(&mut output, slow).len() as u64, output.end() - at);
    }

    /// What a terminal draws that gets these bytes.
    fn drawn(bytes: &[u8]) -> Bytes {
        let mut screen = Screen::new(TerminalSize { cols: 80, rows: 24 });
        screen.feed(bytes);
        screen.restored()
    }

    fn draw(output: &mut Output, viewer: ViewerId, mut bytes: Vec<u8>) -> Bytes {
        loop {
            match output.take(viewer) {
                Take::Data(more) | Take::Screen(more) => bytes.extend_from_slice(&more),
                Take::Skipped(_) => {}
                Take::UpToDate => return drawn(&bytes),
            }
        }
    }

    #[test]
    fn who_begins_late_or_was_overtaken_sees_what_the_others_see() {
        let mut output = output();
        let (slow, _) = output.attach(0).unwrap();
        let begin = "\x1b[?1049h\x1b[?1002;1006hthe \x1b[38;2;1;2;3mframe 日本\x1b[3;10r";
        output.append(begin.as_bytes());
        let Take::Data(seen) = output.take(slow) else {
            panic!("no data")
        };
        let mut whole = begin.as_bytes().to_vec();
        for step in 0..RING / 20 {
            let line = format!("\x1b[5;1Hstep {step} of 日本\n");
            whole.extend_from_slice(line.as_bytes());
            output.append(line.as_bytes());
        }
        let (late, from) = output.attach(0).unwrap();
        assert!(from > 0);
        assert_eq!(draw(&mut output, late, Vec::new()), drawn(&whole));
        assert_eq!(draw(&mut output, slow, seen.to_vec()), drawn(&whole));
    }

    #[test]
    fn who_comes_back_within_the_ring_gets_no_screen() {
        let mut output = output();
        output.append(&vec![b'x'; RING * 2]);
        let (viewer, at) = output.attach(output.first.at).unwrap();
        assert_eq!(at, output.first.at);
        assert!(matches!(output.take(viewer), Take::Data(_)));
    }

    #[test]
    fn marks_are_no_longer_than_the_ring() {
        let mut output = Output::new(TerminalSize { cols: 200, rows: 100 });
        let mut colour = 0_u32;
        while output.end() < 3 * RING as u64 {
            let [_, r, g, b] = colour.to_be_bytes();
            output.append(format!("\x1b[38;2;{r};{g};{b}mx").as_bytes());
            colour += 77;
        }
        let marks = output.marks.iter().map(|mark| mark.screen.len()).sum::<usize>();
        assert!(marks > 0 && marks <= RING, "{marks} bytes");
    }

    #[test]
    fn who_takes_nothing_is_given_up_on_until_it_takes_again() {
        let mut output = output();
        let (asleep, _) = output.attach(0).unwrap();
        output.append(&vec![b'x'; AHEAD as usize]);
        assert!(!output.wants_more());
        output.give_up();
        assert!(output.wants_more());
        assert!(matches!(output.take(asleep), Take::Data(_)));
        output.append(&vec![b'x'; AHEAD as usize]);
        assert!(!output.wants_more());
        output.detach(asleep);
        assert!(output.wants_more());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append(usize),
        Attach(u64),
        Take(usize),
        Leave(usize),
        GiveUp,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..RING / 6).prop_map(Step::Append),
            1 => any::<u32>().prop_map(|offset| Step::Attach(u64::from(offset))),
            8 => (0..4_usize).prop_map(Step::Take),
            1 => (0..4_usize).prop_map(Step::Leave),
            1 => Just(Step::GiveUp),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Whatever happens in whatever order, each viewer gets the bytes of its offsets, and the
        /// only gaps are those that it is told.
        #[test]
        fn no_byte_is_lost_or_doubled_untold(steps in steps()) {
            let mut output = output();
            let mut viewers: Vec<(ViewerId, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Append(length) => output.append(&numbered(output.end()..output.end() + length as u64)),
                    Step::Attach(offset) => viewers.extend(output.attach(offset)),
                    Step::Take(index) => if let Some((id, at)) = viewers.get_mut(index) {
                        match output.take(*id) {
                            Take::Data(bytes) => {
                                prop_assert!(!bytes.is_empty());
                                let end = *at + bytes.len() as u64;
                                prop_assert!(bytes == numbered(*at..end));
                                *at = end;
                            }
                            Take::Screen(bytes) => prop_assert!(!bytes.is_empty()),
                            Take::Skipped(to) => {
                                prop_assert!(to > *at && to <= output.end());
                                *at = to;
                            }
                            Take::UpToDate => prop_assert_eq!(*at, output.end()),
                        }
                    },
                    Step::Leave(index) => if index < viewers.len() {
                        output.detach(viewers.swap_remove(index).0);
                    },
                    Step::GiveUp => {
                        output.give_up();
                        prop_assert!(output.wants_more());
                    }
                }
                prop_assert!(output.ring.len() <= RING);
            }
        }
    }

    #[test]
    fn viewers_are_limited() {
        let mut output = output();
        for _ in 0..MAX_VIEWERS {
            assert!(output.attach(0).is_some());
        }
        assert!(output.attach(0).is_none());
    }
}
