//! Rules of a port.

use std::sync::Arc;

use cilium_proto::cilium as pb;
use cilium_proto::cilium::port_network_policy_rule::{L7, Verdict};

use crate::decode::l7::{generic_rules, kafka_rules};
use crate::decode::{At, FieldError, Shared};
use crate::model::{Effect, HttpRules, L7Rules, Rule, TlsContext};
use crate::sni::SniPattern;

/// Checks a rule and compiles its patterns. Its HTTP rules are those of `http`, not of the message.
pub(crate) fn rule(
    source: &[u8],
    message: pb::PortNetworkPolicyRule,
    http: Result<Arc<HttpRules>, FieldError>,
    shared: &mut impl Shared,
) -> Result<Rule, FieldError> {
    let enforced = shared.enforced();
    let effect = match effect(&message) {
        Err(_) if !enforced => Effect::Allow,
        effect => effect?,
    };
    let proxy_id = u16::try_from(message.proxy_id)
        .map_err(|_| FieldError::new("proxy_id", format!("{} is above 65535", message.proxy_id)))?;
    let mut server_names = Vec::with_capacity(message.server_names.len());
    for (index, name) in message.server_names.iter().enumerate() {
        if name.is_empty() {
            return Err(FieldError::new("", "must not be empty")).at_index("server_names", index);
        }
        let pattern = SniPattern::new(name).map_err(|error| FieldError::new("", error.to_string()));
        let pattern = pattern.at_index("server_names", index)?;
        if enforced {
            server_names.push(pattern);
        }
    }
    let downstream_tls = match message.downstream_tls_context {
        Some(context) if enforced => Some(shared.downstream_tls(downstream(context).at("downstream_tls_context")?)),
        _ => None,
    };
    let upstream_tls = match message.upstream_tls_context {
        Some(context) if enforced => Some(shared.upstream_tls(upstream(context).at("upstream_tls_context")?)),
        _ => None,
    };
    let http = http.at("http_rules")?;
    let mut l7 = L7Rules::None;
    match message.l7 {
        None | Some(L7::HttpRules(_)) => {}
        Some(L7::KafkaRules(rules)) => l7 = L7Rules::Kafka(kafka_rules(rules.kafka_rules).at("kafka_rules")?),
        Some(L7::L7Rules(rules)) => {
            l7 = L7Rules::Generic(Box::new(generic_rules(rules, !message.l7_proto.is_empty(), shared).at("l7_rules")?));
        }
    }
    Ok(Rule {
        source: source.into(),
        name: message.name.into(),
        effect,
        proxy_id,
        precedence: message.precedence,
        remotes: shared.remotes(message.remote_policies),
        server_names: server_names.into(),
        downstream_tls,
        upstream_tls,
        has_header_actions: http.iter().any(|rule| !rule.actions.is_empty()),
        http,
        l7_proto: message.l7_proto.into(),
        l7,
    })
}

fn effect(message: &pb::PortNetworkPolicyRule) -> Result<Effect, FieldError> {
    Ok(match message.verdict {
        Some(Verdict::PassPrecedence(pass)) if pass > message.precedence => {
            return Err(FieldError::new(
                "pass_precedence",
                format!(
                    "PortNetworkPolicyRule: pass_precedence {pass} must be lower than precedence {}",
                    message.precedence
                ),
            ));
        }
        Some(Verdict::PassPrecedence(pass)) if pass > 0 => Effect::Pass(pass),
        Some(Verdict::Deny(true)) => Effect::Deny,
        Some(Verdict::PassPrecedence(_) | Verdict::Deny(false)) | None => Effect::Allow,
    })
}

fn downstream(context: pb::TlsContext) -> Result<TlsContext, FieldError> {
    if context.tls_sds_secret.is_empty() && context.certificate_chain.is_empty() {
        return Err(FieldError::new("certificate_chain", "Downstream TLS Context: missing certificate chain"));
    }
    common(context)
}

fn upstream(context: pb::TlsContext) -> Result<TlsContext, FieldError> {
    if context.validation_context_sds_secret.is_empty() && context.trusted_ca.is_empty() {
        return Err(FieldError::new("trusted_ca", "Upstream TLS Context: missing trusted CA"));
    }
    if context.server_names.len() > 1 {
        // The certificate is looked at first.
        common(context)?;
        return Err(FieldError::new("server_names", "Upstream TLS Context: more than one server name"));
    }
    common(context)
}

fn common(context: pb::TlsContext) -> Result<TlsContext, FieldError> {
    if context.tls_sds_secret.is_empty() && !context.certificate_chain.is_empty() && context.private_key.is_empty() {
        return Err(FieldError::new("private_key", "TLS Context: missing private key"));
    }
    Ok(context.into())
}
