//! The order in which rules decide.

use crate::compile::{Candidates, PortRule, PortRules};
use crate::model::Effect;

/// The rule that decided, and what it said: allow or deny.
pub(super) type Decision<'a> = (Effect, &'a PortRule);

/// Asks the candidates in order until one decides. `effect_of` gives what a rule says about the case at hand, `None` if
/// it does not apply.
///
/// A rule that decides ends the evaluation after its precedence. A deny ends it at once, and so does an allow unless
/// `short_circuit` is false. A pass, while nothing has decided, skips to the rules below its tier.
pub(super) fn walk<'a>(
    rules: &'a PortRules,
    candidates: Candidates<'a>,
    short_circuit: bool,
    mut effect_of: impl FnMut(&'a PortRule) -> Option<Effect>,
) -> Option<Decision<'a>> {
    let mut decided: Option<Decision<'a>> = None;
    let mut next = 0;
    let mut step = |index: usize, at: &'a PortRule| {
        if index < next {
            return Step::On;
        }
        if decided.is_some_and(|(_, by)| at.rule.precedence < by.rule.precedence) {
            return Step::End(decided);
        }
        match effect_of(at) {
            // At the precedence of an allow, a pass comes too late.
            Some(Effect::Pass(_)) if decided.is_none() => next = at.pass_to,
            Some(Effect::Pass(_)) | None => {}
            Some(effect) if effect == Effect::Deny || short_circuit => return Step::End(Some((effect, at))),
            Some(effect) => decided = decided.or(Some((effect, at))),
        }
        Step::On
    };
    match candidates {
        Candidates::Mask(mask) => {
            for (index, at) in rules.rules.iter().enumerate() {
                if mask >> at.set & 1 != 0
                    && let Step::End(decision) = step(index, at)
                {
                    return decision;
                }
            }
        }
        Candidates::Listed(class) => {
            for &index in &class.rules {
                let index = index as usize;
                if let Step::End(decision) = step(index, &rules.rules[index]) {
                    return decision;
                }
            }
        }
    }
    decided
}

enum Step<'a> {
    On,
    End(Option<Decision<'a>>),
}
