//! HTTP alternatives that ask for one exact path, by that path.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::compile::PortRule;
use crate::headers::matcher::{HeaderTest, Slot, TextTest};
use crate::model::{Effect, HttpRule};

/// Below this many alternatives with an exact path, trying one after the other is as fast.
const WORTHWHILE: usize = 3;

/// One HTTP alternative of a port: rule, then alternative in the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alternative {
    pub rule: u32,
    pub http: u32,
}

/// The HTTP rules of a port by exact path.
#[derive(Debug)]
pub(crate) struct PathIndex {
    /// Ascending.
    by_path: HashMap<Box<[u8]>, Box<[Alternative]>, foldhash::fast::RandomState>,
    /// Per rule, the alternatives that ask for no exact path.
    others: Box<[Box<[u32]>]>,
    /// Rules that may decide without an exact path: those with such alternatives, and those without HTTP rules.
    pub unindexed: Box<[u32]>,
}

impl PathIndex {
    /// `None` if the rules hold too few exact paths.
    pub(crate) fn new(rules: &[PortRule]) -> Option<Self> {
        let mut by_path: BTreeMap<Box<[u8]>, Vec<Alternative>> = BTreeMap::new();
        let mut others = Vec::with_capacity(rules.len());
        let mut unindexed = Vec::new();
        let mut count = 0;
        for (rule, at) in (0u32..).zip(rules) {
            let is_http = at.rule.effect == Effect::Allow && !at.rule.http.is_empty();
            let mut rest = Vec::new();
            for (number, http) in (0u32..).zip(at.rule.http.iter()) {
                match exact_path(http) {
                    Some(path) if is_http => {
                        count += 1;
                        by_path.entry(path.into()).or_default().push(Alternative { rule, http: number });
                    }
                    _ => rest.push(number),
                }
            }
            if !is_http || !rest.is_empty() {
                unindexed.push(rule);
            }
            others.push(rest.into_boxed_slice());
        }
        if count < WORTHWHILE {
            return None;
        }
        let by_path = by_path.into_iter().map(|(path, list)| (path, list.into_boxed_slice())).collect();
        Some(Self { by_path, others: others.into(), unindexed: unindexed.into() })
    }

    pub(crate) fn find(&self, path: Option<&[u8]>) -> &[Alternative] {
        path.and_then(|path| self.by_path.get(path)).map_or(&[], |list| list)
    }

    pub(crate) fn others(&self, rule: u32) -> &[u32] {
        &self.others[rule as usize]
    }
}

fn exact_path(http: &HttpRule) -> Option<&[u8]> {
    http.headers.iter().filter(|matcher| matcher.slot == Slot::Path && !matcher.invert).find_map(|matcher| {
        let path: &[u8] = match &matcher.test {
            HeaderTest::Exact(path) | HeaderTest::Text(TextTest::Exact { value: path, ignore_case: false }) => path,
            HeaderTest::Text(TextTest::Regex(regex)) => regex.as_literal()?,
            _ => return None,
        };
        Some(path).filter(|path| !path.is_empty())
    })
}
