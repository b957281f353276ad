//! Expressions as a table of states: one look-up per byte of the subject, nothing to allocate or to lock.

use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::Hir;

/// Largest table, in bytes. Methods and paths with a few classes take one to three thousand.
const MAX_TABLE: usize = 32 << 10;
/// Memory for making a table.
const MAX_MAKING: usize = 256 << 10;
/// Largest program to make a table of; larger ones are not likely to fit.
const MAX_NFA: usize = 64 << 10;
/// A table, entered after the literal that every match begins with.
pub(super) struct Table {
    literal: Box<[u8]>,
    after_literal: StateID,
    dfa: dense::DFA<Vec<u32>>,
}

impl Table {
    /// The table of an expression that holds for whole subjects and begins with a literal, perhaps an empty one.
    /// `None` if it would be too large.
    pub(super) fn new(whole: &Hir, literal: &[u8]) -> Option<Self> {
        let nfa = thompson::Config::new().utf8(false).which_captures(WhichCaptures::None).nfa_size_limit(Some(MAX_NFA));
        let nfa = thompson::Compiler::new().configure(nfa).build_from_hir(whole).ok()?;
        let config = dense::Config::new()
            .match_kind(MatchKind::All)
            .start_kind(StartKind::Anchored)
            .accelerate(false)
            .dfa_size_limit(Some(MAX_TABLE))
            .determinize_size_limit(Some(MAX_MAKING));
        let dfa = dense::Builder::new().configure(config).build_from_nfa(&nfa).ok()?;
        let start = dfa.start_state(&start::Config::new().anchored(Anchored::Yes)).ok()?;
        let after_literal = literal.iter().fold(start, |state, &byte| dfa.next_state(state, byte));
        Some(Self { literal: literal.into(), after_literal, dfa })
    }

    pub(super) fn is_match(&self, subject: &[u8]) -> bool {
        let Some(rest) = subject.strip_prefix(&*self.literal) else { return false };
        let mut state = self.after_literal;
        for &byte in rest {
            state = self.dfa.next_state(state, byte);
            if self.dfa.is_dead_state(state) {
                return false;
            }
        }
        self.dfa.is_match_state(self.dfa.next_eoi_state(state))
    }
}
