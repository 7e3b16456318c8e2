//! The cells of a screen. A row keeps no more of them than were drawn, so that clearing a screen or
//! scrolling it costs no more than the number of its rows: a program may do nothing else.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use super::pen::Pen;

/// Marks that go with a character, at most: accents, or what joins an emoji.
const MAX_MARKS: usize = 2;

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// None for the right half of a wide character.
    pub(super) text: Option<char>,
    marks: [Option<char>; MAX_MARKS],
    pub(super) pen: Pen,
}

impl Cell {
    pub(super) fn new(text: char, pen: Pen) -> Self {
        Self {
            text: Some(text),
            marks: [None; MAX_MARKS],
            pen,
        }
    }

    pub(super) fn right_half(pen: Pen) -> Self {
        Self {
            text: None,
            ..Self::new(' ', pen)
        }
    }

    fn blank(pen: Pen) -> Self {
        Self::new(' ', pen)
    }

    /// The character; its right half is drawn with it.
    pub(super) fn write(&self, out: &mut String) {
        if let Some(text) = self.text {
            out.push(text);
            out.extend(self.marks.iter().flatten());
        }
    }

    /// Adds a mark if there is room.
    pub(super) fn add(&mut self, mark: char) {
        if let Some(place) = self.marks.iter_mut().find(|place| place.is_none()) {
            *place = Some(mark);
        }
    }
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    /// How the rest, which was never drawn, was erased.
    pub(super) rest: Pen,
}

impl Row {
    fn clear(&mut self, pen: Pen) {
        self.cells.clear();
        self.rest = pen;
    }

    /// Draws a cell. What is left of a wide character that it is drawn over is blank.
    pub(super) fn set(&mut self, col: usize, cell: Cell) {
        // By far the most: text is written to where nothing is.
        if col == self.cells.len() {
            return self.cells.push(cell);
        }
        self.split(col);
        self.split(col + 1);
        self.reach(col + 1);
        self.cells[col] = cell;
    }

    /// Makes the cells before `col` real ones.
    fn reach(&mut self, col: usize) {
        if self.cells.len() < col {
            self.cells.resize(col, Cell::blank(self.rest));
        }
    }

    /// A wide character that `col` would cut becomes two blanks.
    fn split(&mut self, col: usize) {
        if col > 0 && self.cells.get(col).is_some_and(|cell| cell.text.is_none()) {
            for cell in &mut self.cells[col - 1..=col] {
                *cell = Cell::blank(cell.pen);
            }
        }
    }

    /// Erases `from` up to `to`, which is not in it, in a row of `cols`.
    pub(super) fn erase(&mut self, from: usize, to: usize, cols: usize, pen: Pen) {
        self.split(from);
        self.split(to);
        if to >= cols {
            self.reach(from);
            self.cells.truncate(from);
            self.rest = pen;
            return;
        }
        self.reach(to);
        self.cells[from..to].fill(Cell::blank(pen));
    }

    /// Moves what is at `col` and after it to the right.
    pub(super) fn insert(&mut self, col: usize, count: usize, cols: usize, pen: Pen) {
        self.split(col);
        self.reach(col);
        let blanks = std::iter::repeat_n(Cell::blank(pen), count.min(cols - col));
        self.cells.splice(col..col, blanks);
        // Where the rest begins does not move with it: nothing of it was drawn.
        self.cut(cols);
    }

    /// Moves what comes after `count` cells at `col` to the left.
    pub(super) fn delete(&mut self, col: usize, count: usize, cols: usize, pen: Pen) {
        let end = (col + count).min(cols);
        self.split(col);
        self.split(end);
        if end >= cols {
            return self.erase(col, cols, cols, pen);
        }
        self.reach(cols);
        self.cells.drain(col..end);
        self.rest = pen;
    }

    /// Forgets what is right of `cols`.
    pub(super) fn cut(&mut self, cols: usize) {
        self.split(cols);
        self.cells.truncate(cols);
    }
}

/// A screen's rows. There is always one.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) rows: VecDeque<Row>,
}

impl Grid {
    pub(super) fn new(rows: usize) -> Self {
        Self {
            rows: std::iter::repeat_n(Row::default(), rows).collect(),
        }
    }

    pub(super) fn clear(&mut self, rows: impl Iterator<Item = usize>, pen: Pen) {
        for row in rows {
            self.rows[row].clear(pen);
        }
    }

    /// Moves the rows of a region up; empty ones come in below.
    pub(super) fn up(&mut self, region: RangeInclusive<usize>, count: usize, pen: Pen) {
        let (top, bottom) = region.into_inner();
        let count = count.min(bottom - top + 1);
        if (top, bottom) == (0, self.rows.len() - 1) {
            self.rows.rotate_left(count);
        } else {
            self.rows.make_contiguous()[top..=bottom].rotate_left(count);
        }
        self.clear(bottom + 1 - count..=bottom, pen);
    }

    /// Moves the rows of a region down; empty ones come in above.
    pub(super) fn down(&mut self, region: RangeInclusive<usize>, count: usize, pen: Pen) {
        let (top, bottom) = region.into_inner();
        let count = count.min(bottom - top + 1);
        self.rows.make_contiguous()[top..=bottom].rotate_right(count);
        self.clear(top..top + count, pen);
    }

    /// Another size. Rows go from below `keep` first and then from above; answers how many went above.
    pub(super) fn resize(&mut self, cols: usize, rows: usize, keep: usize) -> usize {
        let surplus = self.rows.len().saturating_sub(rows);
        let below = surplus.min(self.rows.len() - 1 - keep);
        let above = surplus - below;
        self.rows.truncate(self.rows.len() - below);
        self.rows.drain(..above);
        self.rows.resize(rows, Row::default());
        for row in &mut self.rows {
            row.cut(cols);
        }
        above
    }
}
