//! Values of headers as the matchers compare them.

use crate::headers::Headers;
use crate::headers::matcher::{HeaderMatcher, Slot};
use crate::headers::method::Method;

/// All values of one header, joined with `,` where there are several (as Envoy compares them). One value, the usual
/// case, is borrowed.
pub(crate) enum View<'h> {
    Missing,
    One(&'h [u8]),
    Joined(Vec<u8>),
}

impl<'h> View<'h> {
    pub(crate) fn of<H: Headers>(headers: &'h H, name: &'h str) -> Self {
        let mut values = headers.values(name);
        let Some(first) = values.next() else { return Self::Missing };
        let Some(second) = values.next() else { return Self::One(first) };
        let mut joined = [first, second].join(&b","[..]);
        for value in values {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Self::Joined(joined)
    }

    pub(crate) fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Missing => None,
            Self::One(value) => Some(value),
            Self::Joined(value) => Some(value),
        }
    }
}

/// Headers that do not change while they are looked at: the usual ones are looked up once.
pub(crate) struct Lookup<'h, H> {
    headers: &'h H,
    path: Option<View<'h>>,
    method: Option<View<'h>>,
    authority: Option<View<'h>>,
    usual_method: Option<Method>,
}

impl<'h, H: Headers> Lookup<'h, H> {
    pub(crate) fn new(headers: &'h H) -> Self {
        Self { headers, path: None, method: None, authority: None, usual_method: None }
    }

    pub(crate) fn path(&mut self) -> Option<&[u8]> {
        self.path.get_or_insert_with(|| View::of(self.headers, ":path")).get()
    }

    pub(crate) fn method(&mut self) -> Method {
        let Self { headers, method, usual_method, .. } = self;
        *usual_method.get_or_insert_with(|| {
            Method::of(method.get_or_insert_with(|| View::of(*headers, ":method")).get().unwrap_or_default())
        })
    }

    pub(crate) fn matches(&mut self, matcher: &HeaderMatcher) -> bool {
        let headers = self.headers;
        let value = match matcher.slot {
            Slot::Path => self.path.get_or_insert_with(|| View::of(headers, ":path")),
            Slot::Method => self.method.get_or_insert_with(|| View::of(headers, ":method")),
            Slot::Authority => self.authority.get_or_insert_with(|| View::of(headers, ":authority")),
            Slot::Other => return matcher.matches(View::of(headers, &matcher.name).get()),
        };
        matcher.matches(value.get())
    }
}
