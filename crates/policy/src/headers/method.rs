//! The usual request methods as numbers: most rules ask for one of them, and most requests have another one.

use crate::headers::matcher::{HeaderMatcher, HeaderTest, Slot, TextTest};

/// A method of RFC 9110 or RFC 5789.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Any other, or none.
    Other,
}

impl Method {
    pub(crate) fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// The only method that passes the test, if it is one of the usual ones.
    pub(crate) fn wanted(matcher: &HeaderMatcher) -> Option<Self> {
        if matcher.slot != Slot::Method || matcher.invert {
            return None;
        }
        let method = match &matcher.test {
            HeaderTest::Exact(value) | HeaderTest::Text(TextTest::Exact { value, ignore_case: false }) => {
                Self::of(value)
            }
            HeaderTest::Text(TextTest::Regex(regex)) => Self::of(regex.as_literal()?),
            _ => return None,
        };
        (method != Self::Other).then_some(method)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Method;
    use crate::headers::matcher::{HeaderMatcher, HeaderTest, Slot, TextTest};
    use crate::headers::{HeaderList, Lookup};
    use crate::model::HttpRule;
    use crate::regex::Regex;

    fn test(test: HeaderTest) -> HeaderMatcher {
        HeaderMatcher {
            name: ":method".into(),
            slot: Slot::Method,
            test,
            by_string_match: false,
            invert: false,
            missing_as_empty: false,
        }
    }

    fn exact(value: &str) -> HeaderMatcher {
        test(HeaderTest::Exact(value.as_bytes().into()))
    }

    #[test]
    fn only_a_test_that_one_usual_method_passes_wants_it() {
        let regex = |pattern| test(HeaderTest::Text(TextTest::Regex(Arc::new(Regex::new(pattern).unwrap()))));
        assert_eq!(Method::wanted(&exact("GET")), Some(Method::Get));
        assert_eq!(Method::wanted(&regex("PATCH")), Some(Method::Patch));
        for other in [exact(""), exact("get"), exact("BREW"), regex("GET|PUT"), test(HeaderTest::Present(true))] {
            assert_eq!(Method::wanted(&other), None, "{other}");
        }
        assert_eq!(Method::wanted(&HeaderMatcher { invert: true, ..exact("GET") }), None);
    }

    #[test]
    fn a_rule_leaves_no_test_of_the_method_out() {
        let fits = |rule: &HttpRule, method: &[(&str, &str)]| {
            let headers: HeaderList = method.iter().copied().collect();
            let mut lookup = Lookup::new(&headers);
            rule.method.is_none_or(|wanted| lookup.method() == wanted) && rule.tests().all(|test| lookup.matches(test))
        };
        let get = HttpRule::new(vec![exact("GET")], vec![]);
        assert!(fits(&get, &[(":method", "GET")]));
        for other in [&[(":method", "PUT")][..], &[(":method", "BREW")], &[], &[(":method", "GET"), (":method", "GET")]]
        {
            assert!(!fits(&get, other), "{other:?}");
        }
        let never = HttpRule::new(vec![exact("GET"), exact("PUT")], vec![]);
        assert!(!fits(&never, &[(":method", "GET")]));
        let twice = HttpRule::new(vec![exact("GET"), exact("GET")], vec![]);
        assert!(fits(&twice, &[(":method", "GET")]));
    }
}
