//! How text is drawn: colours and the like, read from and written as `CSI … m`.

use std::fmt::Write as _;

/// A colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Color {
    #[default]
    Default,
    Indexed(u8),
    Rgb(u8, u8, u8),
}

/// How the next character is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pen {
    foreground: Color,
    pub(super) background: Color,
    /// One bit for each of [`ATTRIBUTES`].
    attributes: u8,
    /// None, single, double, curly, dotted or dashed: the number that sets it.
    underline: u8,
}

/// What sets an attribute, and what ends it.
const ATTRIBUTES: [(u16, u16); 7] = [(1, 22), (2, 22), (3, 23), (5, 25), (7, 27), (8, 28), (9, 29)];

impl Pen {
    /// Of an erased cell: nothing but the background.
    pub(super) fn erasing(self) -> Self {
        Self {
            background: self.background,
            ..Self::default()
        }
    }

    /// Follows the parameters of `CSI … m`.
    pub(super) fn set(&mut self, params: &vte::Params) {
        let mut params = params.iter();
        while let Some(param) = params.next() {
            let &[code, ref rest @ ..] = param else { continue };
            match code {
                0 => *self = Self::default(),
                4 => self.underline = rest.first().map_or(1, |kind| (*kind).min(5) as u8),
                21 => self.underline = 2,
                24 => self.underline = 0,
                30..=37 => self.foreground = Color::Indexed(code as u8 - 30),
                39 => self.foreground = Color::Default,
                40..=47 => self.background = Color::Indexed(code as u8 - 40),
                49 => self.background = Color::Default,
                90..=97 => self.foreground = Color::Indexed(code as u8 - 90 + 8),
                100..=107 => self.background = Color::Indexed(code as u8 - 100 + 8),
                38 | 48 | 58 => {
                    let color = color(rest, &mut params);
                    match (code, color) {
                        (38, Some(color)) => self.foreground = color,
                        (48, Some(color)) => self.background = color,
                        // The colour of an underline is not kept.
                        _ => {}
                    }
                }
                _ => self.attribute(code),
            }
        }
    }

    fn attribute(&mut self, code: u16) {
        for (bit, (on, off)) in ATTRIBUTES.into_iter().enumerate() {
            if code == on {
                self.attributes |= 1 << bit;
            } else if code == off {
                self.attributes &= !(1 << bit);
            }
        }
    }

    /// What makes any pen this one.
    pub(super) fn write(self, out: &mut String) {
        out.push_str("\x1b[0");
        for (bit, (on, _)) in ATTRIBUTES.into_iter().enumerate() {
            if self.attributes & (1 << bit) != 0 {
                let _ = write!(out, ";{on}");
            }
        }
        match self.underline {
            0 => {}
            1 => out.push_str(";4"),
            kind => {
                let _ = write!(out, ";4:{kind}");
            }
        }
        self.foreground.write(out, 38);
        self.background.write(out, 48);
        out.push('m');
    }
}

impl Color {
    /// `code` is 38 or 48.
    fn write(self, out: &mut String, code: u16) {
        // Writing to a string does not fail.
        let _ = match self {
            Self::Default => Ok(()),
            Self::Indexed(index @ 0..8) => write!(out, ";{}", code - 8 + u16::from(index)),
            Self::Indexed(index) => write!(out, ";{code};5;{index}"),
            Self::Rgb(r, g, b) => write!(out, ";{code};2;{r};{g};{b}"),
        };
    }
}

/// `38:2:…` and `38:5:…` say it in one parameter, `38;2;…` and `38;5;…` in several.
fn color<'a>(rest: &[u16], params: &mut impl Iterator<Item = &'a [u16]>) -> Option<Color> {
    let byte = |number: u16| number.min(255) as u8;
    match *rest {
        [5, index, ..] => return Some(Color::Indexed(byte(index))),
        // With the number of a colour space between.
        [2, _, r, g, b, ..] | [2, r, g, b] => return Some(Color::Rgb(byte(r), byte(g), byte(b))),
        [_, ..] => return None,
        [] => {}
    }
    let mut next = || params.next().and_then(|param| param.first()).copied();
    match next()? {
        5 => Some(Color::Indexed(byte(next()?))),
        2 => Some(Color::Rgb(byte(next()?), byte(next()?), byte(next()?))),
        _ => None,
    }
}
