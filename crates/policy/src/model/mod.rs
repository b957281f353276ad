//! Policies as data: checked, with patterns compiled. Nothing here decides anything.

mod l7;
mod remotes;
mod tls;

use std::ops::Deref;
use std::sync::Arc;

pub use l7::{GenericRule, KafkaRule};
pub(crate) use l7::{GenericRules, L7Rules, MetadataRule, MetadataRules};
pub(crate) use remotes::{Remotes, slot_of};
pub use tls::TlsContext;

use crate::headers::action::HeaderAction;
use crate::headers::matcher::HeaderMatcher;
use crate::headers::method::Method;
use crate::sni::SniPattern;

/// What a rule says when it matches. In evaluation order at one precedence: deny, allow, pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    Deny,
    Allow,
    /// Goes on with the rules of lower precedence than this.
    Pass(u32),
}

/// A rule of a port: `PortNetworkPolicyRule`.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The rule as it was serialised, without its HTTP rules; equal ones are one object.
    pub source: Box<[u8]>,
    /// Empty: unnamed.
    pub name: Box<str>,
    pub effect: Effect,
    /// Zero: every listener.
    pub proxy_id: u16,
    pub precedence: u32,
    pub remotes: Arc<Remotes>,
    /// Empty: any name, also none.
    pub server_names: Box<[SniPattern]>,
    pub downstream_tls: Option<Arc<TlsContext>>,
    pub upstream_tls: Option<Arc<TlsContext>>,
    /// Empty: every request.
    pub http: Arc<HttpRules>,
    /// Some HTTP rule has actions: all of them are evaluated, whether or not one allows the request.
    pub has_header_actions: bool,
    /// Empty: none.
    pub l7_proto: Box<str>,
    pub l7: L7Rules,
}

/// The alternatives of a rule: `HttpNetworkPolicyRules`.
#[derive(Debug, Default)]
pub(crate) struct HttpRules {
    /// As they were serialised; equal ones are one object.
    pub source: Box<[u8]>,
    rules: Box<[HttpRule]>,
}

/// One alternative of a rule: `HttpNetworkPolicyRule`.
#[derive(Debug)]
pub(crate) struct HttpRule {
    pub headers: Box<[HeaderMatcher]>,
    pub actions: Box<[HeaderAction]>,
    /// The only method of requests that may fit.
    pub method: Option<Method>,
    /// Indices of the other `headers`, cheap tests that many requests fail first.
    order: Box<[u32]>,
}

impl HttpRule {
    pub(crate) fn new(headers: Vec<HeaderMatcher>, actions: Vec<HeaderAction>) -> Self {
        let method = headers.iter().find_map(Method::wanted);
        let others = (0..).zip(&headers).filter(|(_, test)| method.is_none() || Method::wanted(test) != method);
        let mut order: Vec<u32> = others.map(|(index, _)| index).collect();
        order.sort_by_key(|&index| headers[index as usize].cost());
        Self { headers: headers.into(), actions: actions.into(), method, order: order.into() }
    }

    /// All tests but that of `method`, in the order in which they are best tried.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &HeaderMatcher> {
        self.order.iter().map(|&index| &self.headers[index as usize])
    }
}

impl HttpRules {
    pub(crate) fn new(source: &[u8], rules: Vec<HttpRule>) -> Self {
        Self { source: source.into(), rules: rules.into() }
    }
}

impl Deref for HttpRules {
    type Target = [HttpRule];

    fn deref(&self) -> &[HttpRule] {
        &self.rules
    }
}

impl Rule {
    /// Whether the listener's proxy id fits.
    pub(crate) fn covers_proxy(&self, proxy_id: u16) -> bool {
        self.proxy_id == 0 || self.proxy_id == proxy_id
    }

    /// Whether the server name fits.
    pub(crate) fn covers_sni(&self, sni: &str) -> bool {
        self.server_names.is_empty()
            || (!sni.is_empty() && self.server_names.iter().any(|pattern| pattern.matches(sni)))
    }

    pub(crate) fn is_pass(&self) -> bool {
        matches!(self.effect, Effect::Pass(_))
    }

    pub(crate) fn pass_precedence(&self) -> Option<u32> {
        match self.effect {
            Effect::Pass(precedence) => Some(precedence),
            Effect::Deny | Effect::Allow => None,
        }
    }

    /// The rule that keeps the meaning of an entry without rules when it is merged with one that has some.
    pub(crate) fn default_allow() -> Self {
        Self {
            source: Box::default(),
            name: "default allow rule".into(),
            effect: Effect::Allow,
            proxy_id: 0,
            precedence: 0,
            remotes: Arc::new(Remotes::default()),
            server_names: Box::default(),
            downstream_tls: None,
            upstream_tls: None,
            http: Arc::default(),
            has_header_actions: false,
            l7_proto: Box::default(),
            l7: L7Rules::None,
        }
    }
}
