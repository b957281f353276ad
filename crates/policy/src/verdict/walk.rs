//! The order in which rules decide.

use crate::compile::PortRule;
use crate::model::Effect;

/// Asks rules in order until one decides. `effect_of` gives what a rule says about the case at hand, `None` if it does
/// not apply.
///
/// A rule that decides ends the evaluation after its precedence. A deny ends it at once, and so does an allow unless
/// `short_circuit` is false. A pass, while nothing has decided, skips to the rules below its tier.
pub(super) fn walk<'a>(
    rules: &'a [PortRule],
    short_circuit: bool,
    mut effect_of: impl FnMut(&'a PortRule) -> Option<Effect>,
) -> Option<(Effect, &'a PortRule)> {
    let mut decided: Option<(Effect, &PortRule)> = None;
    let mut next = 0;
    while let Some(at) = rules.get(next) {
        if decided.is_some_and(|(_, by)| at.rule.precedence < by.rule.precedence) {
            break;
        }
        next += 1;
        match effect_of(at) {
            None => {}
            // At the precedence of an allow, a pass comes too late.
            Some(Effect::Pass(_)) => {
                if decided.is_none() {
                    next = at.pass_to;
                }
            }
            Some(effect) => {
                if effect == Effect::Deny || short_circuit {
                    return Some((effect, at));
                }
                decided = decided.or(Some((effect, at)));
            }
        }
    }
    decided
}
