//! What a program has switched that no cell of a screen shows: how the mouse, pastes, keys and the
//! focus are told, and the cursor's shape.

use std::fmt::Write as _;

/// Which events of the mouse are told. Setting one replaces another; resetting any ends them.
const MOUSE: &[u16] = &[9, 1000, 1002, 1003];
/// How they are written. The same.
const MOUSE_FORMAT: &[u16] = &[1005, 1006, 1015, 1016];
/// Modes by themselves: cursor keys, wrapping backwards, keypad, focus, bracketed paste.
const OTHERS: &[u16] = &[1, 45, KEYPAD, 1004, 2004];
/// `ESC =` and `ESC >` are short for it.
pub(super) const KEYPAD: u16 = 66;

/// What is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// In the order in which it was switched on.
    on: Vec<u16>,
    /// `DECSCUSR`, when a program chose it.
    pub(super) cursor_shape: u16,
}

impl Modes {
    /// `CSI ? mode h` and `l`. Modes that are none of these are somebody else's.
    pub(super) fn switch(&mut self, mode: u16, on: bool) {
        let group = [MOUSE, MOUSE_FORMAT].into_iter().find(|group| group.contains(&mode));
        self.on
            .retain(|other| *other != mode && !group.is_some_and(|group| group.contains(other)));
        if on && (group.is_some() || OTHERS.contains(&mode)) {
            self.on.push(mode);
        }
    }

    /// `CSI ! p`, which leaves the mouse alone.
    pub(super) fn soft_reset(&mut self) {
        self.on.retain(|mode| !OTHERS.contains(mode));
    }

    /// What brings a terminal in any state to these.
    pub(super) fn write(&self, out: &mut String) {
        for mode in [MOUSE, MOUSE_FORMAT, OTHERS].concat() {
            let _ = write!(out, "\x1b[?{mode}l");
        }
        for mode in &self.on {
            let _ = write!(out, "\x1b[?{mode}h");
        }
        let _ = write!(out, "\x1b[{} q", self.cursor_shape);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(switched: &[(u16, bool)]) -> Vec<u16> {
        let mut modes = Modes::default();
        for (mode, on) in switched {
            modes.switch(*mode, *on);
        }
        modes.on
    }

    #[test]
    fn one_way_of_the_mouse_replaces_another() {
        assert_eq!(after(&[(1000, true), (1006, true), (1002, true)]), [1006, 1002]);
        assert_eq!(after(&[(1002, true), (1006, true), (1000, false)]), [1006]);
    }

    #[test]
    fn only_what_is_known_is_kept() {
        assert_eq!(after(&[(2004, true), (25, true), (1004, true), (2004, false)]), [1004]);
    }
}
