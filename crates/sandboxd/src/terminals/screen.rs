//! The screen of a terminal without anybody looking at it: what its output has drawn, and what makes
//! another terminal look the same.
//!
//! It follows what programs use of xterm: both screens with their saved cursors, colours and
//! attributes, wide characters and their marks, margins, line drawing, and the [`Modes`]. Tab stops are
//! every eighth column, and lines are cut instead of wrapped anew when the width changes. The output
//! is hostile: whatever it is, memory is bounded by the size, and each sequence costs no more than a
//! row or the number of rows.

mod grid;
mod modes;
mod pen;

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use bytes::Bytes;
use mistle_protocol::control::TerminalSize;
use unicode_width::UnicodeWidthChar as _;

use grid::{Cell, Grid};
use modes::{KEYPAD, Modes};
use pen::Pen;

/// Cells that are kept, at most: more than a screen has that a person reads. Of a larger one the
/// lower rows are left out.
const MAX_CELLS: usize = 50_000;
/// The longest picture, in bytes. One that would be longer, with another colour in every cell of a
/// large screen, is left out: what draws such pictures draws them again.
const MAX_PICTURE: usize = 512 * 1024;
const TAB: usize = 8;

/// Ends whatever was being said, and makes any terminal's ordinary screen an empty one.
const BLANK: &str = "\x18\x1b[?47l\x1b[r\x1b[?6l\x1b[?7h\x1b[?25h\x1b[4l\x1b(B\x1b)B\x0f\x1b[m\x1b[H\x1b[2J";

/// What `ESC ( 0` makes of the characters from `_` to `~`.
const LINE_DRAWING: &str = " ◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·";

/// One terminal's.
pub(crate) struct Screen {
    parser: vte::Parser,
    picture: Picture,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

impl Screen {
    /// An empty one.
    pub(crate) fn new(size: TerminalSize) -> Self {
        Self {
            parser: vte::Parser::new(),
            picture: Picture::new(size),
        }
    }

    /// Draws.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.parser.advance(&mut self.picture, bytes);
    }

    /// Takes another size.
    pub(crate) fn resize(&mut self, size: TerminalSize) {
        self.picture.resize(size);
    }

    /// What brings a terminal in any state to this one, as it is between two sequences.
    pub(crate) fn restored(&self) -> Bytes {
        let mut out = BLANK.to_owned();
        self.picture.modes.write(&mut out);
        let blank = out.len();
        self.picture.write(&mut out);
        if out.len() > MAX_PICTURE {
            out.truncate(blank);
            self.picture.write_without_cells(&mut out);
        }
        out.into()
    }
}

/// Where text goes and how: what a program saves with `ESC 7`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cursor {
    /// The number of columns when the last column was drawn: the next character begins a line.
    col: usize,
    row: usize,
    pen: Pen,
    /// Whether G0 and G1 are line drawing.
    charsets: [bool; 2],
    /// Whether G1 is used.
    shifted: bool,
}

/// One of the two screens.
#[derive(Clone, Debug)]
struct Page {
    grid: Grid,
    saved: Cursor,
}

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a mode that a program switches by itself"
)]
struct Picture {
    cols: usize,
    rows: usize,
    /// The ordinary one and the alternate one.
    pages: [Page; 2],
    /// Which is seen.
    alternate: bool,
    cursor: Cursor,
    margins: (usize, usize),
    /// Whether rows are counted from the upper margin.
    origin: bool,
    wraps: bool,
    inserts: bool,
    visible: bool,
    modes: Modes,
    /// What `CSI … b` repeats.
    last: Option<char>,
}

fn extent(size: TerminalSize) -> (usize, usize) {
    let cols = usize::from(size.cols).max(1);
    (cols, usize::from(size.rows).clamp(1, (MAX_CELLS / cols).max(1)))
}

impl Picture {
    fn new(size: TerminalSize) -> Self {
        let (cols, rows) = extent(size);
        let page = Page {
            grid: Grid::new(rows),
            saved: Cursor::default(),
        };
        Self {
            cols,
            rows,
            pages: [page.clone(), page],
            alternate: false,
            cursor: Cursor::default(),
            margins: (0, rows - 1),
            origin: false,
            wraps: true,
            inserts: false,
            visible: true,
            modes: Modes::default(),
            last: None,
        }
    }

    fn resize(&mut self, size: TerminalSize) {
        let (cols, rows) = extent(size);
        let keep = self.cursor.row;
        for (index, page) in self.pages.iter_mut().enumerate() {
            let above = page.grid.resize(cols, rows, keep);
            if index == usize::from(self.alternate) {
                self.cursor.row -= above;
            }
            page.saved.row = page.saved.row.saturating_sub(above).min(rows - 1);
            page.saved.col = page.saved.col.min(cols - 1);
        }
        (self.cols, self.rows) = (cols, rows);
        self.cursor.col = self.cursor.col.min(cols - 1);
        self.cursor.row = self.cursor.row.min(rows - 1);
        self.margins = (0, rows - 1);
    }

    fn page(&mut self) -> &mut Page {
        &mut self.pages[usize::from(self.alternate)]
    }

    fn grid(&mut self) -> &mut Grid {
        &mut self.page().grid
    }

    fn erasing(&self) -> Pen {
        self.cursor.pen.erasing()
    }

    /// The column of the cursor's cell.
    fn col(&self) -> usize {
        self.cursor.col.min(self.cols - 1)
    }

    fn region(&self) -> RangeInclusive<usize> {
        self.margins.0..=self.margins.1
    }

    fn draw(&mut self, text: char) {
        let text = self.translated(text);
        let width = match text.width() {
            Some(0) => return self.add(text),
            Some(width) if width <= self.cols => width,
            // Wider than the screen, or nothing to see.
            _ => return,
        };
        if self.cursor.col + width > self.cols {
            if self.wraps {
                self.cursor.col = 0;
                self.down();
            } else {
                self.cursor.col = self.cols - width;
            }
        }
        let Cursor { row, col, pen, .. } = self.cursor;
        let (cols, inserts, erasing) = (self.cols, self.inserts, self.erasing());
        let cells = &mut self.grid().rows[row];
        if inserts {
            cells.insert(col, width, cols, erasing);
        }
        cells.set(col, Cell::new(text, pen));
        if width == 2 {
            cells.set(col + 1, Cell::right_half(pen));
        }
        self.cursor.col = col + width;
        self.last = Some(text);
    }

    /// A mark goes with the character before it.
    fn add(&mut self, mark: char) {
        let Cursor { row, col, .. } = self.cursor;
        let cells = &mut self.grid().rows[row].cells;
        let head = cells
            .get_mut(..col)
            .and_then(|before| before.iter_mut().rfind(|cell| cell.text.is_some()));
        if let Some(cell) = head {
            cell.add(mark);
        }
    }

    fn translated(&self, text: char) -> char {
        if !self.cursor.charsets[usize::from(self.cursor.shifted)] {
            return text;
        }
        let place = (text as usize).checked_sub('_' as usize);
        place.and_then(|place| LINE_DRAWING.chars().nth(place)).unwrap_or(text)
    }

    /// A line down; at the lower margin the region moves up.
    fn down(&mut self) {
        self.cursor.col = self.col();
        if self.cursor.row == self.margins.1 {
            let (region, pen) = (self.region(), self.erasing());
            self.grid().up(region, 1, pen);
        } else {
            self.cursor.row = (self.cursor.row + 1).min(self.rows - 1);
        }
    }

    fn up(&mut self) {
        self.cursor.col = self.col();
        if self.cursor.row == self.margins.0 {
            let (region, pen) = (self.region(), self.erasing());
            self.grid().down(region, 1, pen);
        } else {
            self.cursor.row = self.cursor.row.saturating_sub(1);
        }
    }

    /// Moves by rows, not beyond the margins when it is within them.
    fn move_rows(&mut self, by: isize) {
        let (top, bottom) = self.margins;
        let row = self.cursor.row;
        let to = row.saturating_add_signed(by);
        self.cursor.row = if by < 0 {
            to.max(if row >= top { top } else { 0 })
        } else {
            to.min(if row <= bottom { bottom } else { self.rows - 1 })
        };
        self.cursor.col = self.col();
    }

    fn move_to_col(&mut self, col: usize) {
        self.cursor.col = col.min(self.cols - 1);
    }

    fn move_to_row(&mut self, row: usize) {
        let (first, last) = if self.origin { self.margins } else { (0, self.rows - 1) };
        self.cursor.row = row.saturating_add(first).min(last);
        self.cursor.col = self.col();
    }

    fn home(&mut self) {
        self.move_to_row(0);
        self.cursor.col = 0;
    }

    fn tabs(&mut self, by: isize) {
        let stop = (self.col() / TAB).saturating_add_signed(by);
        // Backwards, the stop before is the one that was just passed.
        let stop = stop + usize::from(by < 0 && !self.col().is_multiple_of(TAB));
        self.move_to_col(stop.saturating_mul(TAB));
    }

    fn erase_line(&mut self, what: usize) {
        let (col, cols, pen) = (self.col(), self.cols, self.erasing());
        let (from, to) = match what {
            0 => (col, cols),
            1 => (0, col + 1),
            2 => (0, cols),
            _ => return,
        };
        let row = self.cursor.row;
        self.grid().rows[row].erase(from, to, cols, pen);
    }

    fn erase_screen(&mut self, what: usize) {
        let (row, rows, pen) = (self.cursor.row, self.rows, self.erasing());
        match what {
            0 => self.grid().clear(row + 1..rows, pen),
            1 => self.grid().clear(0..row, pen),
            2 => return self.grid().clear(0..rows, pen),
            _ => return,
        }
        self.erase_line(what);
    }

    /// Changes the cursor's row from its column on.
    fn edit(&mut self, edit: impl FnOnce(&mut grid::Row, usize, usize, Pen)) {
        let (row, col, cols, pen) = (self.cursor.row, self.col(), self.cols, self.erasing());
        edit(&mut self.grid().rows[row], col, cols, pen);
        self.cursor.col = col;
    }

    /// Inserts lines at the cursor or removes them, when it is within the margins.
    fn move_lines(&mut self, change: fn(&mut Grid, RangeInclusive<usize>, usize, Pen), count: usize) {
        let (row, pen) = (self.cursor.row, self.erasing());
        if self.region().contains(&row) {
            let region = row..=self.margins.1;
            change(self.grid(), region, count, pen);
            self.cursor.col = 0;
        }
    }

    fn set_margins(&mut self, top: usize, bottom: usize) {
        let bottom = bottom.min(self.rows);
        if top < bottom {
            self.margins = (top - 1, bottom - 1);
            self.home();
        }
    }

    fn show(&mut self, alternate: bool) {
        if alternate && !self.alternate {
            let (rows, pen) = (self.rows, self.erasing());
            self.pages[1].grid.clear(0..rows, pen);
        }
        self.alternate = alternate;
    }

    fn save(&mut self) {
        let cursor = self.cursor;
        self.page().saved = cursor;
    }

    fn restore(&mut self) {
        self.cursor = self.page().saved;
        if self.origin {
            self.cursor.row = self.cursor.row.clamp(self.margins.0, self.margins.1);
        }
    }

    fn switch(&mut self, mode: u16, on: bool) {
        match (mode, on) {
            (6, _) => {
                self.origin = on;
                self.home();
            }
            (7, _) => self.wraps = on,
            (25, _) => self.visible = on,
            (47 | 1047, _) => self.show(on),
            (1048, true) => self.save(),
            (1048, false) => self.restore(),
            (1049, true) => {
                self.save();
                self.show(true);
            }
            (1049, false) => {
                self.show(false);
                self.restore();
            }
            _ => self.modes.switch(mode, on),
        }
    }

    fn soft_reset(&mut self) {
        self.modes.soft_reset();
        self.cursor = Cursor {
            col: self.cursor.col,
            row: self.cursor.row,
            ..Cursor::default()
        };
        self.page().saved = Cursor::default();
        self.margins = (0, self.rows - 1);
        (self.origin, self.wraps, self.inserts, self.visible) = (false, true, false, true);
    }

    fn reset(&mut self) {
        *self = Self::new(TerminalSize {
            cols: self.cols as u16,
            rows: self.rows as u16,
        });
    }
}

impl vte::Perform for Picture {
    fn print(&mut self, text: char) {
        self.draw(text);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            0x08 => self.cursor.col = self.col().saturating_sub(1),
            b'\t' => self.tabs(1),
            b'\n' | 0x0b | 0x0c | 0x84 => self.down(),
            b'\r' => self.cursor.col = 0,
            0x0e => self.cursor.shifted = true,
            0x0f => self.cursor.shifted = false,
            0x85 => {
                self.cursor.col = 0;
                self.down();
            }
            0x8d => self.up(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        match (intermediates, byte) {
            ([], b'7') => self.save(),
            ([], b'8') => self.restore(),
            ([], b'D') => self.execute(0x84),
            ([], b'E') => self.execute(0x85),
            ([], b'M') => self.execute(0x8d),
            ([], b'=') => self.modes.switch(KEYPAD, true),
            ([], b'>') => self.modes.switch(KEYPAD, false),
            ([], b'c') => self.reset(),
            ([b'('], set) => self.cursor.charsets[0] = set == b'0',
            ([b')'], set) => self.cursor.charsets[1] = set == b'0',
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &vte::Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore {
            return;
        }
        let given = |index| params.iter().nth(index).and_then(|param| param.first()).copied();
        // A missing number and a zero are the same.
        let number = |index, default| usize::from(given(index).filter(|number| *number > 0).unwrap_or(default));
        let count = number(0, 1);
        let steps = count.cast_signed();
        let (region, pen) = (self.region(), self.erasing());
        match (intermediates, action) {
            ([], '@') => self.edit(|row, col, cols, pen| row.insert(col, count, cols, pen)),
            ([], 'A') => self.move_rows(-steps),
            ([], 'B' | 'e') => self.move_rows(steps),
            ([], 'C' | 'a') => self.move_to_col(self.cursor.col + count),
            ([], 'D') => self.move_to_col(self.col().saturating_sub(count)),
            ([], 'E') => {
                self.move_rows(steps);
                self.cursor.col = 0;
            }
            ([], 'F') => {
                self.move_rows(-steps);
                self.cursor.col = 0;
            }
            ([], 'G' | '`') => self.move_to_col(count - 1),
            ([], 'H' | 'f') => {
                self.move_to_row(count - 1);
                self.move_to_col(number(1, 1) - 1);
            }
            ([], 'I') => self.tabs(steps),
            ([], 'J') => self.erase_screen(number(0, 0)),
            ([], 'K') => self.erase_line(number(0, 0)),
            ([], 'L') => self.move_lines(Grid::down, count),
            ([], 'M') => self.move_lines(Grid::up, count),
            ([], 'P') => self.edit(|row, col, cols, pen| row.delete(col, count, cols, pen)),
            ([], 'S') => self.grid().up(region, count, pen),
            ([], 'T') => self.grid().down(region, count, pen),
            ([], 'X') => self.edit(|row, col, cols, pen| row.erase(col, (col + count).min(cols), cols, pen)),
            ([], 'Z') => self.tabs(-steps),
            ([], 'b') => {
                // Nobody repeats a character beyond its line.
                for _ in 0..count.min(self.cols) {
                    let Some(text) = self.last else { break };
                    self.draw(text);
                }
            }
            ([], 'd') => self.move_to_row(count - 1),
            ([], 'h' | 'l') if given(0) == Some(4) => self.inserts = action == 'h',
            ([], 'm') => self.cursor.pen.set(params),
            ([], 'r') => self.set_margins(count, number(1, self.rows as u16)),
            ([], 's') => self.save(),
            ([], 'u') => self.restore(),
            ([b'?'], 'h' | 'l') => {
                for mode in params.iter().filter_map(|param| param.first()) {
                    self.switch(*mode, action == 'h');
                }
            }
            ([b'!'], 'p') => self.soft_reset(),
            ([b' '], 'q') => self.modes.cursor_shape = given(0).unwrap_or_default(),
            _ => {}
        }
    }
}

/// Writing down.
impl Picture {
    fn write(&self, out: &mut String) {
        for (index, page) in self.pages.iter().enumerate() {
            if index == 1 {
                if !self.alternate {
                    break;
                }
                out.push_str("\x1b[m\x1b[?47h");
            }
            self.write_cells(&page.grid, out);
            self.write_saved(page, out);
        }
        self.write_cursor(out);
    }

    /// The same with both screens empty.
    fn write_without_cells(&self, out: &mut String) {
        self.write_saved(&self.pages[0], out);
        if self.alternate {
            out.push_str("\x1b[m\x1b[?47h");
            self.write_saved(&self.pages[1], out);
        }
        self.write_cursor(out);
    }

    fn write_cells(&self, grid: &Grid, out: &mut String) {
        let mut pen = Pen::default();
        let mut take = |out: &mut String, next: Pen| {
            if pen != next {
                next.write(out);
                pen = next;
            }
        };
        out.push_str("\x1b[m");
        for (index, row) in grid.rows.iter().enumerate() {
            if row.cells.is_empty() && row.rest == Pen::default() {
                continue;
            }
            let _ = write!(out, "\x1b[{}H", index + 1);
            for cell in &row.cells {
                take(out, cell.pen);
                cell.write(out);
            }
            if row.cells.len() < self.cols && row.rest != Pen::default() {
                take(out, row.rest);
                out.push_str("\x1b[K");
            }
        }
    }

    /// For the screen that is seen.
    fn write_saved(&self, page: &Page, out: &mut String) {
        let col = page.saved.col.min(self.cols - 1);
        let _ = write!(out, "\x1b[{};{}H", page.saved.row + 1, col + 1);
        write_look(&page.saved, out);
        out.push_str("\x1b7\x1b(B\x1b)B\x0f");
    }

    fn write_cursor(&self, out: &mut String) {
        let Cursor { row, col, .. } = self.cursor;
        let (top, bottom) = self.margins;
        if (top, bottom) != (0, self.rows - 1) {
            let _ = write!(out, "\x1b[{};{}r", top + 1, bottom + 1);
        }
        if self.origin {
            out.push_str("\x1b[?6h");
        }
        let row_said = if self.origin { row.saturating_sub(top) } else { row };
        let cells = &self.pages[usize::from(self.alternate)].grid.rows[row].cells;
        let last = cells.iter().rposition(|cell| cell.text.is_some());
        match last.filter(|_| col == self.cols && cells.len() == self.cols) {
            // Only drawing in the last column takes the cursor beyond it.
            Some(last) => {
                let _ = write!(out, "\x1b[{};{}H", row_said + 1, last + 1);
                cells[last].pen.write(out);
                cells[last].write(out);
            }
            None => {
                let _ = write!(out, "\x1b[{};{}H", row_said + 1, self.col() + 1);
            }
        }
        write_look(&self.cursor, out);
        for (differs, sequence) in [
            (!self.wraps, "\x1b[?7l"),
            (self.inserts, "\x1b[4h"),
            (!self.visible, "\x1b[?25l"),
        ] {
            if differs {
                out.push_str(sequence);
            }
        }
    }
}

/// All of a cursor but its place.
fn write_look(cursor: &Cursor, out: &mut String) {
    cursor.pen.write(out);
    for (draws_lines, set) in cursor.charsets.into_iter().zip(["\x1b(0", "\x1b)0"]) {
        if draws_lines {
            out.push_str(set);
        }
    }
    if cursor.shifted {
        out.push('\x0e');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn screen(cols: u16, rows: u16, output: &str) -> Screen {
        let mut screen = Screen::new(TerminalSize { cols, rows });
        screen.feed(output.as_bytes());
        screen
    }

    /// The rows as text.
    fn text(screen: &Screen) -> Vec<String> {
        let page = &screen.picture.pages[usize::from(screen.picture.alternate)];
        let line = |row: &grid::Row| {
            let mut line = String::new();
            row.cells.iter().for_each(|cell| cell.write(&mut line));
            line
        };
        page.grid.rows.iter().map(line).collect()
    }

    #[track_caller]
    fn shows(output: &str, expected: [&str; 3]) {
        let screen = screen(10, 3, output);
        assert_eq!(text(&screen), expected);
        let restored = String::from_utf8(screen.restored().to_vec()).unwrap();
        assert_eq!(text(&self::screen(10, 3, &restored)), expected);
    }

    #[test]
    fn text_wraps_and_scrolls() {
        shows("one\r\ntwo\r\nthree\r\nfour", ["two", "three", "four"]);
        shows("0123456789ab", ["0123456789", "ab", ""]);
        shows("0123456789\r\nab", ["0123456789", "ab", ""]);
        shows("a\tb\x08c", ["a       c", "", ""]);
    }

    #[test]
    fn wide_characters_take_two_cells_and_marks_none() {
        shows("日本語e\u{301}👍x", ["日本語e\u{301}👍x", "", ""]);
        shows("012345678日", ["012345678", "日", ""]);
        shows("日本\x1b[2Gx", [" x本", "", ""]);
        shows("日本\x1b[3Gx", ["日x ", "", ""]);
        shows("日本\x1b[2G\x1b[P", [" 本      ", "", ""]);
    }

    #[test]
    fn lines_are_drawn() {
        shows("\x1b(0lqk\x1b(Blqk", ["┌─┐lqk", "", ""]);
    }

    #[test]
    fn the_margins_hold_what_is_outside_of_them() {
        shows("top\x1b[2;3r\x1b[2Ha\r\nb\r\nc\r\nd", ["top", "c", "d"]);
        shows("a\r\nb\r\nc\x1b[1H\x1b[L", ["", "a", "b"]);
        shows("a\r\nb\r\nc\x1b[1H\x1b[M", ["b", "c", ""]);
    }

    #[test]
    fn the_screen_before_comes_back_with_its_cursor() {
        let program = "before\x1b[?1049h\x1b[2;2Hprogram";
        shows(program, ["", " program", ""]);
        let mut restored = screen(10, 3, "");
        restored.feed(&screen(10, 3, program).restored());
        restored.feed(b"\x1b[?1049l!");
        assert_eq!(text(&restored), ["before!", "", ""]);
    }

    #[test]
    fn another_size_keeps_the_cursor_s_line() {
        let mut screen = screen(10, 3, "one\r\ntwo\r\nthree\x1b[2;3H");
        screen.resize(TerminalSize { cols: 2, rows: 1 });
        screen.feed(b"!");
        assert_eq!(text(&screen), ["t!"]);
    }

    #[test]
    fn a_picture_of_many_colours_is_bounded() {
        let mut screen = screen(1000, 1000, "\x1b[?1049h");
        for colour in 0..60_000_u32 {
            let [_, _, green, blue] = colour.to_be_bytes();
            screen.feed(format!("\x1b[38;2;200;{green};{blue};48;2;100;{blue};{green}m日").as_bytes());
        }
        let restored = screen.restored();
        assert!(restored.len() <= MAX_PICTURE, "{} bytes", restored.len());
        let mut again = self::screen(1000, 1000, "");
        again.feed(&restored);
        assert!(again.picture.alternate);
    }

    /// Sequences of all kinds, with numbers in range and out of it.
    fn output() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[a-z ]{1,12}|日本|👍|e\u{301}",
            2 => "\r\n|\n|\r|\t|\x08|\x0e|\x0f|\x7f",
            3 => "\x1b\\[([0-9]|1[0-9]|65535)?(;[0-9]{1,2})?[@A-HIJKLMPSTXZ`a-fmr]",
            2 => "\x1b\\[(0|1|7|3[0-9]|4[0-9]|38;5;9|48:2::1:2:3|58;5;1|4:3|100)(;22)?m",
            2 => "\x1b\\[\\?(1|6|7|25|47|1000|1006|1047|1048|1049|2004)[hl]",
            1 => "\x1b([78DEMc=>]|[()][0B])|\x1b\\[(4[hl]|s|u|!p|5 q)|\x1b\\]0;title\x07",
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever was drawn, and whatever is on the screen where it is restored.
        #[test]
        fn what_is_restored_is_the_same(output in output(), before in output(), cols in 1..20_u16, rows in 1..10_u16) {
            let restored = screen(cols, rows, &output).restored();
            let mut other = screen(cols, rows, &before);
            other.feed(&restored);
            prop_assert_eq!(other.restored(), restored);
        }

        /// Bytes that are no text, in any pieces, on a screen that changes its size.
        #[test]
        fn nothing_breaks_it(
            pieces in proptest::collection::vec((any::<Vec<u8>>(), output(), 1..=1000_u16, 1..=1000_u16), 1..8),
        ) {
            let mut screen = screen(1, 1, "");
            for (bytes, output, cols, rows) in pieces {
                screen.feed(&bytes);
                screen.feed(output.as_bytes());
                screen.resize(TerminalSize { cols, rows });
                screen.feed(output.as_bytes());
                screen.restored();
            }
        }
    }
}
