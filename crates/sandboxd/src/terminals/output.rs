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

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut as _, Bytes, BytesMut};

/// Bytes kept of each terminal: tens of thousands of lines of scrollback.
pub(crate) const RING: usize = 2 * 1024 * 1024;
/// How far the first viewer may be behind before the program has to wait. This is also what a
/// person who presses Ctrl-C during a flood still has to see pass, so it is small.
const AHEAD: u64 = 256 * 1024;
/// Where a viewer goes on that was overtaken: this many bytes before the end.
const RESUME_BEFORE_END: u64 = 64 * 1024;
/// The most that a viewer takes at once.
const CHUNK: usize = 32 * 1024;
/// Viewers of one terminal.
pub(crate) const MAX_VIEWERS: usize = 32;

/// One viewer's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ViewerId(u64);

/// What a viewer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// The next bytes.
    Data(Bytes),
    /// Bytes are lost to this viewer; it goes on at this offset.
    Skipped(u64),
    /// It has everything.
    UpToDate,
}

#[derive(Clone, Copy, Debug)]
struct Viewer {
    at: u64,
    /// It took nothing for so long that nobody waits for it.
    given_up: bool,
}

/// The ring and its viewers.
#[derive(Debug, Default)]
pub(crate) struct Output {
    ring: VecDeque<u8>,
    end: u64,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: u64,
}

impl Output {
    /// How many bytes there have ever been.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    fn start(&self) -> u64 {
        self.end - self.ring.len() as u64
    }

    /// Adds what the program said.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.end += bytes.len() as u64;
        let kept = &bytes[bytes.len().saturating_sub(RING)..];
        let overflow = (self.ring.len() + kept.len()).saturating_sub(RING);
        self.ring.drain(..overflow);
        self.ring.extend(kept);
    }

    /// A viewer that has everything before `offset`. None when there are too many; otherwise also
    /// from where it goes on, which is later when the ring no longer has `offset`.
    pub(crate) fn attach(&mut self, offset: u64) -> Option<(ViewerId, u64)> {
        if self.viewers.len() >= MAX_VIEWERS {
            return None;
        }
        let id = ViewerId(self.next_viewer);
        self.next_viewer += 1;
        let at = offset.clamp(self.start(), self.end);
        self.viewers.insert(id, Viewer { at, given_up: false });
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
        let (start, end) = (self.start(), self.end);
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return Take::UpToDate;
        };
        viewer.given_up = false;
        if viewer.at == end {
            return Take::UpToDate;
        }
        if viewer.at < start {
            viewer.at = resume_at(&self.ring, start, end);
            return Take::Skipped(viewer.at);
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

/// Near the end, and at the beginning of a line if there is one, so that no character or escape
/// sequence is cut.
fn resume_at(ring: &VecDeque<u8>, start: u64, end: u64) -> u64 {
    let near = end.saturating_sub(RESUME_BEFORE_END).max(start);
    let line_end = ring.range((near - start) as usize..).position(|byte| *byte == b'\n');
    line_end.map_or(near, |position| near + position as u64 + 1)
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

    /// Bytes that tell their own offset.
    fn numbered(range: std::ops::Range<u64>) -> Vec<u8> {
        range.map(|offset| (offset % 251) as u8).collect()
    }

    fn drain(output: &mut Output, viewer: ViewerId) -> Vec<u8> {
        let mut all = Vec::new();
        while let Take::Data(bytes) = output.take(viewer) {
            all.extend_from_slice(&bytes);
        }
        all
    }

    #[test]
    fn viewers_get_every_byte_from_their_offset() {
        let mut output = Output::default();
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
        let mut output = Output::default();
        let total = RING as u64 * 2 + 12_345;
        for offset in (0..total).step_by(4096) {
            output.append(&numbered(offset..total.min(offset + 4096)));
        }
        let (viewer, from) = output.attach(7).unwrap();
        assert_eq!(from, total - RING as u64);
        assert_eq!(drain(&mut output, viewer), numbered(from..total));
        assert!(output.ring.capacity() <= RING, "{}", output.ring.capacity());
    }

    #[test]
    fn one_append_larger_than_the_ring_is_cut() {
        let mut output = Output::default();
        output.append(&vec![1; RING + 5]);
        assert_eq!((output.start(), output.end()), (5, RING as u64 + 5));
    }

    #[test]
    fn an_offset_from_the_future_is_the_end() {
        let mut output = Output::default();
        output.append(b"abc");
        assert_eq!(output.attach(99).unwrap().1, 3);
    }

    #[test]
    fn the_program_waits_for_the_first_viewer_only() {
        let mut output = Output::default();
        let (slow, _) = output.attach(0).unwrap();
        let (fast, _) = output.attach(0).unwrap();
        for _ in 0..=RING as u64 / AHEAD {
            assert!(output.wants_more());
            output.append(&vec![b'x'; AHEAD as usize]);
            assert!(!output.wants_more());
            drain(&mut output, fast);
        }
        assert!(output.wants_more());
        let end = output.end();
        assert_eq!(output.take(slow), Take::Skipped(end - RESUME_BEFORE_END));
        assert_eq!(drain(&mut output, slow).len() as u64, RESUME_BEFORE_END);
    }

    #[test]
    fn who_is_overtaken_goes_on_at_a_line() {
        let mut output = Output::default();
        let (slow, _) = output.attach(0).unwrap();
        output.append(&vec![b'x'; RING]);
        output.append(b"\nthe end");
        let at = output.end() - 7;
        assert_eq!(output.take(slow), Take::Skipped(at));
        assert_eq!(drain(&mut output, slow), b"the end");
    }

    #[test]
    fn who_takes_nothing_is_given_up_on_until_it_takes_again() {
        let mut output = Output::default();
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
            4 => (0..RING / 2).prop_map(Step::Append),
            1 => any::<u32>().prop_map(|offset| Step::Attach(u64::from(offset))),
            8 => (0..4_usize).prop_map(Step::Take),
            1 => (0..4_usize).prop_map(Step::Leave),
            1 => Just(Step::GiveUp),
        ];
        proptest::collection::vec(step, 1..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever happens in whatever order, each viewer gets the bytes of its offsets, and the
        /// only gaps are those that it is told.
        #[test]
        fn no_byte_is_lost_or_doubled_untold(steps in steps()) {
            let mut output = Output::default();
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
        let mut output = Output::default();
        for _ in 0..MAX_VIEWERS {
            assert!(output.attach(0).is_some());
        }
        assert!(output.attach(0).is_none());
    }
}
