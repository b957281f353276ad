//! Sets of code points and their encodings.

use regex_syntax::hir::{Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir};

pub(super) const MAX: u32 = 0x10_ffff;
const SURROGATES: (u32, u32) = (0xd800, 0xdfff);
const FIRST_NON_ASCII: u32 = 0x80;

/// Code points, surrogates included, as RE2 has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CharSet {
    /// Sorted, without overlaps and neighbours, after `tidy`.
    ranges: Vec<(u32, u32)>,
}

impl CharSet {
    pub(super) fn of(ranges: &[(u32, u32)]) -> Self {
        let mut set = Self { ranges: ranges.to_vec() };
        set.tidy();
        set
    }

    pub(super) fn everything() -> Self {
        Self { ranges: vec![(0, MAX)] }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.ranges.extend_from_slice(&other.ranges);
        self.tidy();
    }

    fn tidy(&mut self) {
        self.ranges.sort_unstable();
        let mut tidy: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for &(low, high) in &self.ranges {
            match tidy.last_mut() {
                Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
                _ => tidy.push((low, high)),
            }
        }
        self.ranges = tidy;
    }

    pub(super) fn negate(&mut self) {
        let mut negated = Vec::with_capacity(self.ranges.len() + 1);
        let mut next = 0;
        for &(low, high) in &self.ranges {
            if next < low {
                negated.push((next, low - 1));
            }
            next = high + 1;
        }
        if next <= MAX {
            negated.push((next, MAX));
        }
        self.ranges = negated;
    }

    /// Adds what equals a member without case: simple case folding.
    pub(super) fn fold_case(&mut self) -> Result<(), String> {
        let mut class = self.to_class();
        class.try_case_fold_simple().map_err(|error| error.to_string())?;
        self.add(&Self::from(&class));
        Ok(())
    }

    /// Without surrogates, which the type cannot hold.
    fn to_class(&self) -> ClassUnicode {
        let chars = self.ranges.iter().flat_map(|&(low, high)| {
            [(low, high.min(SURROGATES.0 - 1)), (low.max(SURROGATES.1 + 1), high)]
                .into_iter()
                .filter_map(|(low, high)| Some((char::from_u32(low)?, char::from_u32(high)?)))
                .filter(|(low, high)| low <= high)
        });
        ClassUnicode::new(chars.map(|(low, high)| ClassUnicodeRange::new(low, high)))
    }

    fn contains_range(&self, low: u32, high: u32) -> bool {
        self.ranges.iter().any(|range| range.0 <= low && high <= range.1)
    }

    /// One code point in UTF-8. Where a set holds everything beyond ASCII, RE2 also accepts encodings that are too
    /// long or beyond the last code point, and so does this.
    pub(super) fn to_hir(&self) -> Hir {
        if !self.contains_range(FIRST_NON_ASCII, MAX) {
            let mut alternatives = vec![Hir::class(Class::Unicode(self.to_class()))];
            alternatives.extend(self.surrogates());
            return Hir::alternation(alternatives);
        }
        let ascii = self.ranges.iter().filter(|range| range.0 < FIRST_NON_ASCII);
        let ascii = ascii.filter_map(|&(low, high)| Some((byte(low)?, byte(high.min(FIRST_NON_ASCII - 1))?)));
        let next = || bytes(&[(0x80, 0xbf)]);
        Hir::alternation(vec![
            bytes(&ascii.collect::<Vec<_>>()),
            Hir::concat(vec![bytes(&[(0xc2, 0xdf)]), next()]),
            Hir::concat(vec![bytes(&[(0xe0, 0xef)]), next(), next()]),
            Hir::concat(vec![bytes(&[(0xf0, 0xf4)]), next(), next(), next()]),
        ])
    }

    /// Surrogates of the set as RE2 encodes them: three bytes each.
    fn surrogates(&self) -> Vec<Hir> {
        let mut encoded = Vec::new();
        for &(low, high) in &self.ranges {
            let (low, high) = (low.max(SURROGATES.0), high.min(SURROGATES.1));
            // One sequence for each middle byte.
            let mut start = low;
            while start <= high {
                let end = high.min(start | 0x3f);
                let middle = byte(0xa0 + ((start - SURROGATES.0) >> 6));
                let last = (byte(0x80 + (start & 0x3f)), byte(0x80 + (end & 0x3f)));
                if let (Some(middle), (Some(first), Some(last))) = (middle, last) {
                    encoded.push(Hir::concat(vec![
                        bytes(&[(0xed, 0xed)]),
                        bytes(&[(middle, middle)]),
                        bytes(&[(first, last)]),
                    ]));
                }
                start = end + 1;
            }
        }
        encoded
    }
}

impl From<&ClassUnicode> for CharSet {
    fn from(class: &ClassUnicode) -> Self {
        Self { ranges: class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect() }
    }
}

pub(super) fn bytes(ranges: &[(u8, u8)]) -> Hir {
    let ranges = ranges.iter().map(|&(low, high)| ClassBytesRange::new(low, high));
    Hir::class(Class::Bytes(ClassBytes::new(ranges)))
}

fn byte(value: u32) -> Option<u8> {
    u8::try_from(value).ok()
}
