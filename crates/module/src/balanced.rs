//! Verdicts on destinations that load balancing chose: the egress policy of the local endpoint, if there is one, then
//! the load balancer's own policies, if it has some. All must allow.

use std::net::SocketAddr;

use cilium_channel::State;
use cilium_policy::{Direction, HeaderLog, Headers, PortPolicy, Verdict};

use crate::metadata::Context;

/// A connection whose destination is known now.
pub(crate) struct Balanced<'c> {
    pub(crate) context: &'c Context<'c>,
    pub(crate) state: &'c State,
    pub(crate) host: SocketAddr,
    /// Identity of the host.
    pub(crate) identity: u32,
}

/// What the policies say.
pub(crate) struct Judged<'c> {
    /// The policy that was asked last.
    pub(crate) policy_name: &'c str,
    /// The rule that allowed, if it has a name; or the reason for the denial.
    pub(crate) outcome: Result<Option<String>, String>,
}

/// One of the policies to ask.
pub(crate) struct Question<'c> {
    pub(crate) name: &'c str,
    pub(crate) direction: Direction,
    pub(crate) port_number: u16,
    pub(crate) port: PortPolicy<'c>,
    pub(crate) remote: u32,
}

impl<'c> Balanced<'c> {
    pub(crate) fn new(context: &'c Context<'c>, state: &'c State, host: SocketAddr) -> Self {
        Self { context, state, host, identity: context.identity(state, host.ip()) }
    }

    /// May the connection be made?
    pub(crate) fn connection(&self, sni: &str) -> Judged<'c> {
        self.ask(|question| question.port.network(self.context.proxy_id, question.remote, sni))
    }

    /// May the request be made, on a connection that may?
    pub(crate) fn request<H: Headers>(&self, headers: &mut H, log: &mut HeaderLog) -> Judged<'c> {
        self.ask(|question| question.port.http(self.context.proxy_id, question.remote, headers, log))
    }

    fn ask(&self, mut verdict: impl FnMut(&Question<'c>) -> Verdict<'c>) -> Judged<'c> {
        let mut judged = Judged { policy_name: self.context.pod, outcome: Ok(None) };
        for question in self.questions() {
            judged.policy_name = question.name;
            let verdict = verdict(&question);
            if !verdict.allowed {
                judged.outcome = Err(verdict.reason.describe(question.name).to_string());
                break;
            }
            if let Some(rule) = verdict.reason.rule() {
                judged.outcome = Ok(Some(rule.to_owned()));
            }
        }
        judged
    }

    /// The policies to ask, in order.
    pub(crate) fn questions(&self) -> impl Iterator<Item = Question<'c>> {
        let Context { pod, ingress_policy, ingress_source_identity, port, .. } = *self.context;
        let ask = |name, direction, port, remote| Question {
            name,
            direction,
            port_number: port,
            port: self.context.policy(self.state, name).port(direction, port),
            remote,
        };
        let local = (!pod.is_empty()).then(|| ask(pod, Direction::Egress, self.host.port(), self.identity));
        let balancer = !ingress_policy.is_empty();
        let enters = (balancer && ingress_source_identity != 0)
            .then(|| ask(ingress_policy, Direction::Ingress, port, ingress_source_identity));
        let leaves = balancer.then(|| ask(ingress_policy, Direction::Egress, self.host.port(), self.identity));
        [local, enters, leaves].into_iter().flatten()
    }
}
