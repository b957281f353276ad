//! Secrets by name. A cell is shared by every rule that refers to the secret, in every snapshot, so a delivered value
//! counts at once everywhere. Workers read a cell without locks.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};
use subtle::ConstantTimeEq;

/// One secret: its name is public, its value is never printed.
pub(crate) struct SecretCell {
    name: String,
    value: ArcSwapOption<Box<[u8]>>,
}

impl SecretCell {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), value: ArcSwapOption::empty() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The delivered value, or nothing yet.
    pub(crate) fn load(&self) -> Guard<Option<Arc<Box<[u8]>>>> {
        self.value.load()
    }
}

/// Two cells are equal if they are one: a name has one cell.
impl PartialEq for SecretCell {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for SecretCell {}

impl Hash for SecretCell {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for SecretCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?}, [redacted])", self.name)
    }
}

/// All cells, by name. Lives with the owner of the policies.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    cells: BTreeMap<String, Arc<SecretCell>>,
}

impl Secrets {
    /// The cell of that name, made on first use.
    pub(crate) fn cell(&mut self, name: &str) -> Arc<SecretCell> {
        if let Some(cell) = self.cells.get(name) {
            return Arc::clone(cell);
        }
        let cell = Arc::new(SecretCell::new(name));
        self.cells.insert(name.to_owned(), Arc::clone(&cell));
        cell
    }

    pub(crate) fn set(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.cell(name).value.store(Some(Arc::new(value.into())));
        } else {
            if let Some(cell) = self.cells.get(name) {
                cell.value.store(None);
            }
            self.forget_unused();
        }
    }

    /// Drops cells without a value that no rule refers to.
    pub(crate) fn forget_unused(&mut self) {
        self.cells.retain(|_, cell| Arc::strong_count(cell) > 1 || cell.load().is_some());
    }
}

/// Compares without telling, by the time taken, how much of `expected` was guessed; its length is not hidden.
pub(crate) fn same(actual: &[u8], expected: &[u8]) -> bool {
    actual.ct_eq(expected).into()
}
