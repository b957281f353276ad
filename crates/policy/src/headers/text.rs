//! Header tests in words.

use std::fmt::{self, Display, Formatter};

use crate::headers::action::HeaderAction;
use crate::headers::matcher::{HeaderMatcher, HeaderTest, TextTest};

/// The test alone, for example `prefix "/public/"`.
impl Display for HeaderMatcher {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.invert {
            f.write_str("not ")?;
        }
        match &self.test {
            HeaderTest::Exact(value) => write!(f, "exact {:?}", text(value))?,
            HeaderTest::Range { start, end } => write!(f, "range [{start}, {end})")?,
            HeaderTest::Present(present) => write!(f, "present {present}")?,
            HeaderTest::Text(test) => test.fmt(f)?,
        }
        if self.missing_as_empty { f.write_str(", missing as empty") } else { Ok(()) }
    }
}

impl Display for TextTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (kind, value, ignore_case) = match self {
            Self::Exact { value, ignore_case } => ("exact", text(value), *ignore_case),
            Self::Prefix { value, ignore_case } => ("prefix", text(value), *ignore_case),
            Self::Suffix { value, ignore_case } => ("suffix", text(value), *ignore_case),
            Self::Contains { value, ignore_case } => ("contains", text(value), *ignore_case),
            Self::Regex(regex) => ("regex", regex.as_str().into(), false),
        };
        write!(f, "{kind} {value:?}")?;
        if ignore_case { f.write_str(" without case") } else { Ok(()) }
    }
}

/// What the header is compared with; never a secret's value.
impl Display for HeaderAction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.secret {
            Some(cell) => write!(f, "secret {:?}", cell.name()),
            None if self.value.is_empty() => f.write_str("present"),
            None => write!(f, "value {:?}", text(&self.value)),
        }
    }
}

impl HeaderMatcher {
    /// Pseudo headers carry no credentials, so messages may quote them.
    pub(crate) fn is_pseudo(&self) -> bool {
        self.name.starts_with(':')
    }

    /// Why the test failed, for example `path "/admin" does not match "/public/.*"`.
    /// `unjudged` if the test could not judge the value.
    pub(crate) fn write_failure(&self, f: &mut Formatter<'_>, value: Option<&str>, unjudged: bool) -> fmt::Result {
        let name = match &*self.name {
            ":path" => "path",
            ":method" => "method",
            ":authority" => "authority",
            ":scheme" => "scheme",
            name => {
                write!(f, "header {name:?}")?;
                ""
            }
        };
        f.write_str(name)?;
        match value {
            None if !self.missing_as_empty => return f.write_str(" is missing"),
            Some(value) if self.is_pseudo() => write!(f, " {value:?}")?,
            None | Some(_) => {}
        }
        if unjudged {
            return f.write_str(" is not UTF-8");
        }
        self.write_test(f)
    }

    fn write_test(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (is, verb) = match (&self.test, self.invert) {
            (HeaderTest::Present(present), invert) => {
                return f.write_str(if *present == invert { " is present" } else { " is missing" });
            }
            (HeaderTest::Range { start, end }, false) => return write!(f, " is not a number in [{start}, {end})"),
            (HeaderTest::Range { start, end }, true) => return write!(f, " is a number in [{start}, {end})"),
            (HeaderTest::Exact(_), _) => ("is", "be"),
            (HeaderTest::Text(test), _) => test.verbs(),
        };
        let (value, ignore_case) = match &self.test {
            HeaderTest::Exact(value) => (text(value), false),
            HeaderTest::Text(test) => test.value(),
            HeaderTest::Present(_) | HeaderTest::Range { .. } => return Ok(()),
        };
        match (self.invert, verb) {
            (false, "be") => write!(f, " is not {value:?}")?,
            (false, verb) => write!(f, " does not {verb} {value:?}")?,
            (true, _) => write!(f, " {is} {value:?}")?,
        }
        if ignore_case { f.write_str(", whatever the case") } else { Ok(()) }
    }
}

impl TextTest {
    fn verbs(&self) -> (&'static str, &'static str) {
        match self {
            Self::Exact { .. } => ("is", "be"),
            Self::Prefix { .. } => ("starts with", "start with"),
            Self::Suffix { .. } => ("ends with", "end with"),
            Self::Contains { .. } => ("contains", "contain"),
            Self::Regex(_) => ("matches", "match"),
        }
    }

    fn value(&self) -> (std::borrow::Cow<'_, str>, bool) {
        match self {
            Self::Exact { value, ignore_case }
            | Self::Prefix { value, ignore_case }
            | Self::Suffix { value, ignore_case }
            | Self::Contains { value, ignore_case } => (text(value), *ignore_case),
            Self::Regex(regex) => (regex.as_str().into(), false),
        }
    }
}

fn text(value: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(value)
}
